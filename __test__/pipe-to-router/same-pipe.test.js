'use strict';

const mediasoup = require('mediasoup-upstream');
const { installedWorker } = require('../../js/worker-binary/paths');
const {
  LOOPBACK,
  OURS,
  World,
  countPipes,
  outcome,
  pipeData,
  pipeMedia,
  produce,
  produceData,
} = require('./lib/world');

/** @import { types } from 'mediasoup-upstream' */

/** More than one wait in it may take. */
jest.setTimeout(30_000);

test('Routers of mediasoup itself keep its pipeToRouter()', async () => {
  const world = await World.open(/** @type {any} */ (OURS[0]));
  const worker = await mediasoup.createWorker({ workerBin: installedWorker(mediasoup.version) });

  try {
    const theirs = await worker.createRouter();
    const [own] = await world.routers(1);
    const prototype = Object.getPrototypeOf(theirs);

    expect(Object.hasOwn(theirs, 'pipeToRouter')).toBe(false);
    expect(Object.hasOwn(/** @type {object} */ (own), 'pipeToRouter')).toBe(true);
    expect(Object.keys(/** @type {object} */ (own))).toEqual(Object.keys(theirs));
    expect(Object.getPrototypeOf(own)).toBe(prototype);
    expect(own?.pipeToRouter).not.toBe(prototype.pipeToRouter);
  } finally {
    worker.close();
    await world.close();
  }
});

describe.each(OURS)('$name', (kind) => {
  /** @type {World} */
  let world;
  /** @type {types.Router} */
  let a;
  /** @type {types.Router} */
  let b;

  beforeAll(async () => {
    world = await World.open(kind);
  });

  beforeEach(async () => {
    [a, b] = /** @type {[types.Router, types.Router]} */ (await world.routers(2));
  });

  afterAll(() => world?.close());

  test.each([
    ['keepId', { keepId: false }],
    ['enableRtx', { enableRtx: true }],
    ['listenInfo', { listenInfo: { ...LOOPBACK, announcedAddress: '192.0.2.1' } }],
    ['enableSctp, maxSendMessageSize', { enableSctp: false, maxSendMessageSize: 1000 }],
  ])('other options for a piped producer reject: %s', async (names, options) => {
    const { id: producerId } = await produce(a);
    const { id: dataProducerId } = await produceData(a);

    for (const [noun, what] of /** @type {const} */ ([
      ['Producer', { producerId }],
      ['DataProducer', { dataProducerId }],
    ])) {
      const id = Object.values(what)[0];
      const first = a.pipeToRouter({ ...what, router: b });
      const error =
        `TypeError: ${noun} "${id}" is already piped to that Router with other options ` +
        `(${names})`;

      expect(await outcome(a.pipeToRouter({ ...what, router: b, ...options }))).toBe(error);
      await first;
      expect(await outcome(a.pipeToRouter({ ...what, router: b, ...options }))).toBe(error);
    }
    expect([await countPipes(a), await countPipes(b)]).toEqual([1, 1]);
  });

  test('options that mean the same are equal, also once the app changes its objects', async () => {
    const { id: producerId } = await produce(a);
    const listenInfo = { ...LOOPBACK, announcedIp: '127.0.0.1' };
    const first = await pipeMedia(a, { producerId, router: b, listenInfo });

    listenInfo.announcedIp = '192.0.2.1';

    for (const options of [
      { listenIp: { ip: '127.0.0.1', announcedIp: '127.0.0.1' } },
      { listenInfo: { ...LOOPBACK, announcedAddress: '127.0.0.1' }, enableSctp: true },
      { listenInfo: { ...LOOPBACK, announcedAddress: '127.0.0.1', port: 0 }, keepId: true },
    ]) {
      expect(await pipeMedia(a, { producerId, router: b, ...options })).toEqual(first);
    }
  });

  test.each(['pipeConsumer', 'pipeProducer'])('a new pipe follows a closed %s', async (end) => {
    const { id: producerId } = await produce(a);
    const first = await pipeMedia(a, { producerId, router: b });

    first[/** @type {'pipeConsumer' | 'pipeProducer'} */ (end)].close();

    const second = await pipeMedia(a, { producerId, router: b, keepId: true });

    expect(second.pipeConsumer).not.toBe(first.pipeConsumer);
    expect(second.pipeProducer).not.toBe(first.pipeProducer);
    expect(second.pipeProducer).toMatchObject({ id: producerId, closed: false });
    expect([await countPipes(a), await countPipes(b)]).toEqual([1, 1]);
  });

  test('a new pair follows a closed transport', async () => {
    const { id: dataProducerId } = await produceData(a);
    const first = await pipeData(a, { dataProducerId, router: b });

    for (const transport of /** @type {any} */ (b).transportsForTesting.values()) {
      transport.close();
    }
    expect(first.pipeDataConsumer.closed).toBe(true);

    const second = await pipeData(a, { dataProducerId, router: b });

    expect(second.pipeDataConsumer.closed).toBe(false);
    expect([await countPipes(a), await countPipes(b)]).toEqual([1, 1]);
  });

  test('both directions share a pair', async () => {
    const [one, other] = [await produce(a), await produce(b)];

    await Promise.all([
      a.pipeToRouter({ producerId: one.id, router: b }),
      b.pipeToRouter({ producerId: other.id, router: a }),
    ]);
    expect([await countPipes(a), await countPipes(b)]).toEqual([1, 1]);
  });

  test('a listener of the app that throws changes nothing', async () => {
    // Nobody can listen earlier.
    mediasoup.observer.once('newworker', ({ observer }) => {
      observer.on('newrouter', (router) => {
        router.observer.on('newtransport', () => {
          throw new Error('newtransport');
        });
        throw new Error('newrouter');
      });
    });

    const worker = await world.newWorker();
    const router = await worker.createRouter({ mediaCodecs: world.mediaCodecs });
    const { id: producerId } = await produce(router);
    const first = await pipeMedia(router, { producerId, router: b });

    expect(await pipeMedia(router, { producerId, router: b })).toEqual(first);
  });
});
