'use strict';

/**
 * Real mediasoup-workers, of this host and of an agent, whose load decides.
 */

const { createSocket } = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { Horizontal, LocalConnection } = require('../..');
const { stubPath } = require('../../js/native');
const { AgentProcess } = require('../processes/lib/agent-process');
const { until, within } = require('../processes/lib/deadline');
const { MARK, marked, newMark, realWorkers } = require('../processes/lib/process-table');

/** @import { types } from 'mediasoup-upstream' */
/** @import { HorizontalOptions } from '../../js/horizontal' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(120_000);

/** @type {types.RouterRtpCodecCapability[]} */
const CODECS = [{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 }];

/** @type {types.RtpParameters} */
const OPUS = {
  mid: '0',
  codecs: [{ mimeType: 'audio/opus', payloadType: 100, clockRate: 48000, channels: 2 }],
  encodings: [{ ssrc: 11111111 }],
};

/** @type {types.PlainTransportOptions} */
const PLAIN = { listenInfo: { protocol: 'udp', ip: '127.0.0.1' } };

/** @type {string} */
let mark;
/** @type {AgentProcess | undefined} */
let agent;
/** @type {Horizontal | undefined} */
let horizontal;
/** @type {import('node:dgram').Socket[]} */
let sockets = [];

beforeEach(() => {
  mark = newMark();
  // All that is started from here on carries it.
  process.env[MARK] = mark;
});

afterEach(async () => {
  horizontal?.close();
  horizontal = undefined;
  await agent?.stop();
  agent = undefined;
  for (const socket of sockets) {
    socket.close();
  }
  sockets = [];
  await until(
    () => marked(mark).length === 0,
    () => `the end of ${JSON.stringify(marked(mark))}`,
    20_000,
  );
});

/**
 * @param {'this host' | 'an agent'} where
 * @param {HorizontalOptions} options
 */
async function open(where, options) {
  if (where === 'an agent') {
    agent = await AgentProcess.start({ args: ['--max-workers', '3'] });
    horizontal = new Horizontal([await agent.url()], options);
  } else {
    horizontal = new Horizontal([new LocalConnection()], { workersPerHost: 3, ...options });
  }
  const worker = await within(horizontal.mediasoup.createWorker(), 'a Worker', 20_000);
  const router = await worker.createRouter({ mediaCodecs: CODECS });

  return { worker, router };
}

/** @param {types.Router} router */
function transport(router) {
  return within(router.createPlainTransport(PLAIN), 'a transport', 20_000);
}

/** Consumers of one Producer: each packet of it costs the app one call and the worker this many. */
const LISTENERS = 100;

/**
 * Media that keeps the home busy however slow the app is.
 *
 * @param {types.Router} router
 * @param {types.PlainTransport} outlet
 */
async function startMedia(router, outlet) {
  const inlet = await router.createDirectTransport();
  const producer = await inlet.produce({ kind: 'audio', rtpParameters: OPUS });
  const packet = Buffer.alloc(160);
  let number = 0;

  packet[0] = 0x80;
  packet[1] = 100;
  packet.writeUInt32BE(11111111, 8);
  await Promise.all(
    Array.from({ length: LISTENERS }, () =>
      outlet.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities }),
    ),
  );

  return {
    /** Plays for about a second, as fast as the worker can. */
    async play() {
      for (const end = Date.now() + 1_000; Date.now() < end; ) {
        for (let index = 0; index < 10; index += 1) {
          number += 1;
          packet.writeUInt16BE(number % 2 ** 16, 2);
          packet.writeUInt32BE((number * 960) % 2 ** 32, 4);
          producer.send(packet);
        }
        // Answered once all that was sent is through.
        await inlet.getStats();
      }
    },
  };
}

describe.each(/** @type {const} */ (['this host', 'an agent']))('workers of %s', (where) => {
  test('below the watermark a Router has one', async () => {
    const { router } = await open(where, {});

    for (let index = 0; index < 10; index += 1) {
      await transport(router);
    }
    expect(realWorkers(mark)).toHaveLength(1);
  });

  test('a busy home makes the next transport go to another one', async () => {
    const { worker, router } = await open(where, { watermark: 0.1 });
    const outlet = await transport(router);
    const sink = createSocket('udp4');

    sockets.push(sink);
    await once(sink.bind(0, '127.0.0.1'), 'listening');
    await outlet.connect({ ip: '127.0.0.1', port: sink.address().port });
    const media = await startMedia(router, outlet);

    expect(realWorkers(mark)).toHaveLength(1);
    await until(
      async () => {
        await media.play();
        // One each second costs next to nothing by itself.
        await transport(router);

        return realWorkers(mark).length > 1;
      },
      'a further mediasoup-worker',
      60_000,
    );
    expect((await worker.dump()).routerIds).toEqual([router.id]);
  });

  test('what is on several is one Router to the app', async () => {
    const { worker, router } = await open(where, { watermark: 0, maxParts: 3 });
    const transports = [await transport(router), await transport(router), await transport(router)];

    expect(realWorkers(mark)).toHaveLength(3);
    const producer = await transports[0].produce({ kind: 'audio', rtpParameters: OPUS });
    const consumers = await Promise.all(
      transports
        .slice(1)
        .map((one) =>
          one.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities }),
        ),
    );
    const paused = consumers.map(
      (consumer) =>
        new Promise((resolve) => {
          consumer.once('producerpause', () => resolve(consumer.producerPaused));
        }),
    );

    await producer.pause();
    expect(await within(Promise.all(paused), 'producerpause')).toEqual([true, true]);
    const dump = await router.dump();

    expect(dump.transportIds.sort()).toEqual(transports.map(({ id }) => id).sort());
    worker.close();
    await until(() => realWorkers(mark).length === 0, 'the end of all of them');
  });
});

test('workersPerHost bounds them', async () => {
  const { router } = await open('this host', { watermark: 0, workersPerHost: 2 });

  for (let index = 0; index < 5; index += 1) {
    await transport(router);
  }
  expect(realWorkers(mark)).toHaveLength(2);
});

describe('the process that mediasoup spawns', () => {
  /** @param {number} pid */
  const program = (pid) => path.basename(fs.readlinkSync(`/proc/${pid}/exe`));

  test.each([
    ['waits beside the worker, which may get company', {}, undefined, path.basename(stubPath)],
    ['becomes the worker that stays alone', { placement: 'home' }, undefined, 'mediasoup-worker'],
    ['becomes the only part', { maxParts: 1 }, undefined, 'mediasoup-worker'],
    ['becomes the worker where it is told to', { watermark: 0 }, true, 'mediasoup-worker'],
    ['waits where it is told to', { placement: 'home' }, false, path.basename(stubPath)],
  ])('%s', async (_, options, execInPlace, name) => {
    horizontal = new Horizontal(
      [new LocalConnection({ execInPlace })],
      /** @type {HorizontalOptions} */ (options),
    );
    const worker = await horizontal.mediasoup.createWorker();
    const router = await worker.createRouter();

    expect(program(worker.pid)).toBe(name);
    await transport(router);
    await transport(router);
    expect(realWorkers(mark)).toHaveLength(1);
  });
});

describe('the stub under an unmodified mediasoup', () => {
  /**
   * @param {Record<string, string>} variables
   */
  async function createWorker(variables) {
    Object.assign(process.env, variables);

    try {
      return await within(mediasoup.createWorker({ workerBin: stubPath }), 'a Worker', 20_000);
    } finally {
      for (const name of Object.keys(variables)) {
        delete process.env[name];
      }
    }
  }

  test.each([
    [1, { MEDIASOUP_HORIZONTAL_WATERMARK: '0' }],
    [2, { MEDIASOUP_HORIZONTAL_WATERMARK: '0', MEDIASOUP_HORIZONTAL_MAX_PARTS: '2' }],
  ])('has %i, told by %j', async (count, variables) => {
    const worker = await createWorker(variables);
    const router = await worker.createRouter();

    await transport(router);
    await transport(router);
    expect(realWorkers(mark)).toHaveLength(count);
    worker.close();
  });
});
