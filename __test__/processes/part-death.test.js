'use strict';

const { once } = require('node:events');
const { Horizontal, LocalConnection } = require('../..');
const { until, within } = require('./lib/deadline');
const { MARK, newMark, realWorkers } = require('./lib/process-table');

/** @import { types } from 'mediasoup-upstream' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const LISTEN = { listenInfos: [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }] };

/** @type {types.RouterRtpCodecCapability} */
const OPUS = {
  kind: 'audio',
  mimeType: 'audio/opus',
  clockRate: 48_000,
  channels: 2,
  preferredPayloadType: 100,
};

/** @type {string} */
let mark;
/** @type {Horizontal} */
let horizontal;

/** @param {'continue' | 'died'} [onPartLost] */
function open(onPartLost) {
  mark = newMark();
  process.env[MARK] = mark;
  horizontal = new Horizontal([new LocalConnection()], {
    placement: 'scatter',
    onPartLost,
    // Each part gets a worker of its own, however few cores there are.
    workersPerHost: 64,
  });

  return horizontal.mediasoup.createWorker();
}

afterEach(async () => {
  horizontal.close();
  await until(() => realWorkers(mark).length === 0, 'the end of all workers');
});

/**
 * The worker that something new was made on, which is the first to be there.
 *
 * @template T
 * @param {() => Promise<T>} make
 */
async function onNewPart(make) {
  const before = realWorkers(mark);
  const made = await make();
  const [pid] = realWorkers(mark).filter((other) => !before.includes(other));

  expect(pid).toBeDefined();

  return { made, pid };
}

test('costs what lived there, and nothing else', async () => {
  const worker = await open();
  const router = await worker.createRouter({ mediaCodecs: [OPUS] });
  const { made: lost, pid } = await onNewPart(() => router.createWebRtcTransport(LISTEN));
  const { made: kept } = await onNewPart(() => router.createWebRtcTransport(LISTEN));
  const producer = await lost.produce({
    kind: 'audio',
    rtpParameters: {
      codecs: [{ mimeType: 'audio/opus', clockRate: 48_000, channels: 2, payloadType: 111 }],
      encodings: [{ ssrc: 1 }],
    },
  });
  const consumer = await kept.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  const observer = await router.createAudioLevelObserver();

  await observer.addProducer({ producerId: producer.id });
  const events = Promise.all([
    once(lost, 'icestatechange'),
    once(lost, 'dtlsstatechange'),
    once(consumer, 'producerclose'),
  ]);

  process.kill(pid, 'SIGKILL');

  expect(await within(events, 'the events of the loss')).toEqual([
    ['disconnected'],
    ['closed'],
    [],
  ]);
  expect(worker).toMatchObject({ closed: false, died: false });
  await expect(producer.pause()).rejects.toThrow(`handler with ID ${producer.id} not found`);
  const next = await router.createWebRtcTransport(LISTEN);
  const { transportIds, rtpObserverIds } = await router.dump();

  expect(new Set(transportIds)).toEqual(new Set([kept.id, next.id]));
  expect(rtpObserverIds).toEqual([observer.id]);
});

test.each(/** @type {const} */ ([undefined, 'died']))(
  'ends a Worker with a DirectTransport there if onPartLost is %s',
  async (onPartLost) => {
    const worker = await open(onPartLost);
    const router = await worker.createRouter();
    const { pid } = await onNewPart(() => router.createDirectTransport());
    const died = once(worker, 'died');

    process.kill(pid, 'SIGKILL');
    const [error] = await within(died, 'died');

    expect(error.message).toContain('SIGKILL');
    expect(worker).toMatchObject({ closed: true, died: true });
  },
);

test('goes on without a DirectTransport if onPartLost is continue', async () => {
  const worker = await open('continue');
  const router = await worker.createRouter();
  const { made: lost, pid } = await onNewPart(() => router.createDirectTransport());

  process.kill(pid, 'SIGKILL');
  // Only its worker can answer this, and it is gone sooner or later.
  await until(
    async () => (await lost.dump().catch(({ message }) => message)).includes?.('not found'),
    'the end of the transport',
  );
  expect(worker).toMatchObject({ closed: false, died: false });
  expect((await router.dump()).transportIds).toEqual([]);
});

test('refuses other choices', async () => {
  const refusal = 'MEDIASOUP_HORIZONTAL_ON_PART_LOST=weep: neither continue nor died';

  process.env.MEDIASOUP_HORIZONTAL_ON_PART_LOST = 'weep';

  try {
    expect(() => open()).toThrow(refusal);
  } finally {
    delete process.env.MEDIASOUP_HORIZONTAL_ON_PART_LOST;
  }
  expect(() => open(/** @type {any} */ ('weep'))).toThrow(
    "onPartLost must be 'continue' or 'died'",
  );
  await open('died');
});
