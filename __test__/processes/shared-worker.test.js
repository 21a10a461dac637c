'use strict';

const dgram = require('node:dgram');
const { once } = require('node:events');
const { Horizontal } = require('../..');
const { parseRtp } = require('../../examples/lib/rtp-packet');
const { eventOf } = require('../support/events');
const { AgentProcess } = require('./lib/agent-process');
const { until, within } = require('./lib/deadline');
const { MARK, gone, newMark, realWorkers } = require('./lib/process-table');
const { Tone } = require('./lib/tone');

/** @import { types } from 'mediasoup-upstream' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const LOOPBACK = '127.0.0.1';

/** @type {types.TransportListenInfo} */
const LISTEN_INFO = { protocol: 'udp', ip: LOOPBACK };

/** @type {types.RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 }];

/**
 * What one Router lets out of a Producer that is piped to it.
 *
 * @typedef {object} Outlet
 * @property {types.Worker} worker
 * @property {types.Router} router
 * @property {types.Consumer} consumer
 * @property {types.AudioLevelObserver} observer
 * @property {Buffer[]} received Payloads.
 * @property {dgram.Socket} socket
 */

/** @type {string} */
let mark;
/** @type {AgentProcess} */
let agent;
/** @type {Horizontal} */
let horizontal;
/** @type {{ close: () => void }[]} */
let open;

beforeEach(async () => {
  mark = newMark();
  // All that is started from here on carries it.
  process.env[MARK] = mark;
  agent = await AgentProcess.start({ args: ['--max-workers', '1'] });
  horizontal = new Horizontal([await agent.url()]);
  open = [];
});

afterEach(async () => {
  for (const closable of open) {
    closable.close();
  }
  horizontal.close();
  await agent.stop();
  await until(() => realWorkers(mark).length === 0, 'the end of all workers');
});

/**
 * @param {number} count
 * @returns {Promise<types.Worker[]>}
 */
function createWorkers(count) {
  const each = () => horizontal.mediasoup.createWorker({ logLevel: 'warn' });

  return within(Promise.all(Array.from({ length: count }, each)), 'createWorker', 20_000);
}

/** @returns {number} The only worker process. */
function realPid() {
  const [pid, ...others] = realWorkers(mark);

  expect(others).toEqual([]);

  return /** @type {number} */ (pid);
}

/** @param {types.Worker} worker */
async function closeWorker(worker) {
  const closed = once(worker, 'subprocessclose');

  worker.close();
  await within(closed, 'subprocessclose');
}

/**
 * Pipes a Producer to a Router on that Worker and consumes it there.
 *
 * @param {types.Worker} worker
 * @param {types.Router} from
 * @param {types.Producer} producer
 * @returns {Promise<Outlet>}
 */
async function outletOf(worker, from, { id: producerId }) {
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  const { pipeProducer } = await from.pipeToRouter({ producerId, router });

  expect(pipeProducer?.id).toBe(producerId);

  const socket = dgram.createSocket('udp4');

  open.push(socket);
  socket.bind(0, LOOPBACK);
  await once(socket, 'listening');

  const transport = await router.createPlainTransport({ listenInfo: LISTEN_INFO });

  await transport.connect({ ip: LOOPBACK, port: socket.address().port });

  const { rtpCapabilities } = router;
  const consumer = await transport.consume({ producerId, rtpCapabilities });
  const observer = await router.createAudioLevelObserver({ threshold: -80, interval: 250 });

  await observer.addProducer({ producerId });

  /** @type {Buffer[]} */
  const received = [];
  const ssrc = consumer.rtpParameters.encodings?.[0]?.ssrc;

  socket.on('message', (data) => {
    const packet = parseRtp(data);

    if (packet?.ssrc === ssrc && packet) {
      received.push(packet.payload);
    }
  });

  return { worker, router, consumer, observer, received, socket };
}

/**
 * Waits for more payloads: those that were sent, without a gap.
 *
 * @param {Outlet} outlet
 * @param {Tone} tone
 * @param {number} count
 */
async function hears({ received, socket }, tone, count) {
  const enough = received.length + count;

  while (received.length < enough) {
    await eventOf(socket, 'message');
  }

  const [first] = received;
  const start = tone.sent.findIndex((payload) => payload.equals(/** @type {Buffer} */ (first)));
  const sent = tone.sent.slice(start, start + received.length);

  expect(Buffer.concat(received).equals(Buffer.concat(sent))).toBe(true);
}

test('several Workers on one worker carry the same Producer', async () => {
  const workers = await createWorkers(3);
  const [sourceWorker, left, right] = /** @type {types.Worker[]} */ (workers);
  const pid = realPid();

  expect(new Set(workers.map((worker) => worker.pid)).size).toBe(3);

  const source = await /** @type {types.Worker} */ (sourceWorker).createRouter({
    mediaCodecs: MEDIA_CODECS,
  });
  const ingest = await source.createPlainTransport({ listenInfo: LISTEN_INFO, comedia: true });
  const producer = await ingest.produce(Tone.PRODUCER);
  const tone = new Tone(ingest.tuple.localPort);

  open.push(tone);

  const outlets = [
    await outletOf(/** @type {types.Worker} */ (left), source, producer),
    await outletOf(/** @type {types.Worker} */ (right), source, producer),
  ];

  for (const outlet of outlets) {
    await hears(outlet, tone, 50);

    const [volumes] = await eventOf(outlet.observer, 'volumes');

    expect(volumes[0].producer.id).toBe(producer.id);
    expect(volumes[0].volume).toBe(-Tone.LEVEL);

    const { router, consumer, worker } = outlet;

    expect((await router.dump()).mapProducerIdConsumerIds).toEqual([
      { key: producer.id, values: [consumer.id] },
    ]);
    expect(await consumer.dump()).toMatchObject({ id: consumer.id, producerId: producer.id });

    const dump = await worker.dump();

    expect(dump).toMatchObject({ pid: worker.pid, routerIds: [router.id] });
    expect(dump.channelMessageHandlers.channelRequestHandlers).toContain(producer.id);
    expect(dump.channelMessageHandlers.channelRequestHandlers).not.toContain(source.id);
  }

  const paused = outlets.map(({ consumer }) => eventOf(consumer, 'producerpause'));

  await producer.pause();
  await Promise.all(paused);

  const resumed = outlets.map(({ consumer }) => eventOf(consumer, 'producerresume'));

  await producer.resume();
  await Promise.all(resumed);

  const [first, second] = /** @type {[Outlet, Outlet]} */ (outlets);

  await closeWorker(first.worker);
  first.received.length = 0;
  second.received.length = 0;
  await hears(second, tone, 50);
  expect(first.received).toEqual([]);
  expect(realPid()).toBe(pid);

  const closed = eventOf(second.consumer, 'producerclose');

  producer.close();
  await closed;
  await closeWorker(second.worker);
  await closeWorker(/** @type {types.Worker} */ (sourceWorker));
  await gone(pid);
});

test('a Worker that is killed takes no other along', async () => {
  const [first, second] = /** @type {[types.Worker, types.Worker]} */ (await createWorkers(2));
  const pid = realPid();

  await first.createRouter();

  const router = await second.createRouter();
  const died = eventOf(first, 'died');

  process.kill(first.pid, 'SIGKILL');
  await died;
  expect((await second.dump()).routerIds).toEqual([router.id]);
  expect(realPid()).toBe(pid);
  // The place of the one that was killed is free again, and nothing of it is left.
  const [third] = /** @type {[types.Worker]} */ (await createWorkers(1));

  expect((await third.dump()).routerIds).toEqual([]);
  expect(realPid()).toBe(pid);
});

test('the death of the worker is the death of all its Workers', async () => {
  const workers = await createWorkers(2);
  const deaths = workers.map((worker) => eventOf(worker, 'died'));

  process.kill(realPid(), 'SIGKILL');

  for (const [index, [error]] of (await Promise.all(deaths)).entries()) {
    expect(error.message).toBe(`[pid:${workers[index]?.pid}, code:null, signal:SIGKILL]`);
  }
});

test('a Worker with other settings has no place there', async () => {
  await createWorkers(1);
  await expect(horizontal.mediasoup.createWorker({ logLevel: 'none' })).rejects.toThrow(
    'it runs 1 of 1 workers',
  );
});
