'use strict';

const { eventOf } = require('../support/events');
const { EventLog } = require('./lib/event-log');
const {
  LOOPBACK,
  OURS,
  UPSTREAM,
  World,
  heard,
  outcome,
  pipeData,
  pipeMedia,
  produce,
  produceData,
} = require('./lib/world');

/** @import { types } from 'mediasoup-upstream' */

/** More than one wait in it may take. */
jest.setTimeout(30_000);

/** @type {World} */
let upstream;

beforeAll(async () => {
  upstream = await World.open(UPSTREAM);
});

afterAll(() => upstream?.close());

/**
 * Two Routers with a pipe for media and one for data, and all that happened to them since.
 *
 * @param {World} world
 * @param {Partial<types.PipeToRouterOptions>} [options]
 */
async function openPipes(world, options) {
  const [workerA, workerB] = [await world.newWorker(), await world.newWorker()];
  const codecs = { mediaCodecs: world.mediaCodecs };
  const [a, b] = [await workerA.createRouter(codecs), await workerB.createRouter(codecs)];
  const log = new EventLog();
  const producer = await produce(a);
  const dataProducer = await produceData(a);

  log.watch('A', a);
  log.watch('B', b);
  log.watch('source', producer);
  log.watch('data source', dataProducer);

  const media = await pipeMedia(a, { producerId: producer.id, router: b, ...options });
  const first = log.take();
  const data = await pipeData(a, { dataProducerId: dataProducer.id, router: b, ...options });
  const second = log.take();

  log.watch('pipeDataConsumer', data.pipeDataConsumer);
  log.watch('pipeDataProducer', data.pipeDataProducer);

  return {
    ...{ workerA, workerB, a, b, log, first, second },
    ...{ producer, dataProducer, ...media, ...data },
    local: pipeTransportOf(a),
    remote: pipeTransportOf(b),
    sourceTransport: [.../** @type {any} */ (a).transportsForTesting.values()][0],
  };
}

/**
 * @param {types.Router} router
 * @returns {types.PipeTransport}
 */
function pipeTransportOf(router) {
  const transports = [.../** @type {any} */ (router).transportsForTesting.values()];

  return transports.find(({ type }) => type === 'pipe');
}

/** @typedef {Awaited<ReturnType<typeof openPipes>>} Pipes */

/**
 * @param {World} world
 * @param {(pipes: Pipes) => unknown} act
 * @returns {Promise<string[]>} What happened.
 */
async function logOf(world, act) {
  const pipes = await openPipes(world);

  await act(pipes);

  return pipes.log.take();
}

/** @typedef {{ producer: types.Producer, data: types.DataProducer }} Sources */

/** @param {types.Producer | types.DataProducer} producer */
function closed(producer) {
  producer.close();

  return producer.id;
}

/** @type {Record<string, (router: types.Router, sources: Sources) => any>} */
const WRONG = {
  'no options': () => undefined,
  nothing: () => ({}),
  'both forms of listening': () => ({ listenInfo: LOOPBACK, listenIp: '127.0.0.1' }),
  'both ids': (_, { producer, data }) => ({ producerId: producer.id, dataProducerId: data.id }),
  'no router': (_, { producer }) => ({ producerId: producer.id }),
  'its own router': (router, { producer }) => ({ producerId: producer.id, router }),
  'no router and an unknown producer': () => ({ producerId: 'unknown' }),
  'an unknown producer': () => ({ producerId: 'unknown', router: 'B' }),
  'an unknown data producer': () => ({ dataProducerId: 'unknown', router: 'B' }),
  'a closed producer': (_, { producer }) => ({ producerId: closed(producer), router: 'B' }),
  'a closed data producer': (_, { data }) => ({ dataProducerId: closed(data), router: 'B' }),
  'the id of the other kind': (_, { data }) => ({ producerId: data.id, router: 'B' }),
  'no listening address': (_, { producer }) => ({
    producerId: producer.id,
    listenIp: {},
    router: 'B',
  }),
  'a bad address': (_, { producer }) => ({
    producerId: producer.id,
    listenIp: 'nowhere',
    router: 'B',
  }),
  TCP: (_, { producer }) => ({
    producerId: producer.id,
    listenInfo: { ...LOOPBACK, protocol: 'tcp' },
    router: 'B',
  }),
  'data without SCTP': (_, { data }) => ({
    dataProducerId: data.id,
    enableSctp: false,
    router: 'B',
  }),
};

/** @type {Record<string, (pipes: Pipes) => unknown>} All in one go, whatever the distance. */
const SYNC_CASCADES = {
  'pipeConsumer.close()': ({ pipeConsumer }) => pipeConsumer.close(),
  'pipeProducer.close()': ({ pipeProducer }) => pipeProducer.close(),
  'pipeDataConsumer.close()': ({ pipeDataConsumer }) => pipeDataConsumer.close(),
  'pipeDataProducer.close()': ({ pipeDataProducer }) => pipeDataProducer.close(),
  'localPipe.close()': ({ local }) => local.close(),
  'remotePipe.close()': ({ remote }) => remote.close(),
  'local router.close()': ({ a }) => a.close(),
  'remote router.close()': ({ b }) => b.close(),
  'local worker.close()': ({ workerA }) => workerA.close(),
  'remote worker.close()': ({ workerB }) => workerB.close(),
};

describe.each(OURS)('$name', (kind) => {
  /** @type {World} */
  let world;

  beforeAll(async () => {
    world = await World.open(kind);
  });

  afterAll(() => world?.close());

  test.each(Object.entries(WRONG))('refuses %s as mediasoup does', async (_, make) => {
    const errors = [];

    for (const one of [upstream, world]) {
      const [a, b] = /** @type {[types.Router, types.Router]} */ (await one.routers(2));
      const sources = { producer: await produce(a), data: await produceData(a) };
      const options = make(a, sources);

      if (options?.router === 'B') {
        options.router = b;
      }

      const error = await outcome(a.pipeToRouter(options));

      errors.push(error.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID'));
    }

    expect(errors[0]).not.toBe('done');
    expect(errors[1]).toBe(errors[0]);
  });

  test('refuses a closed Router as mediasoup does', async () => {
    const errors = [];

    for (const one of [upstream, world]) {
      const [a, b] = /** @type {[types.Router, types.Router]} */ (await one.routers(2));
      const { id: producerId } = await produce(a);

      b.close();
      errors.push((await outcome(a.pipeToRouter({ producerId, router: b }))).replace(b.id, 'ID'));
    }

    expect(errors[0]).toMatch('NotFoundError');
    expect(errors[1]).toBe(errors[0]);
  });

  test('gives the same objects with the same events', async () => {
    const [theirs, own] = [await openPipes(upstream), await openPipes(world)];

    expect(own.first.toSorted()).toEqual(theirs.first.toSorted());
    expect(own.first.slice(2)).toEqual(theirs.first.slice(2));
    expect(own.second).toEqual(theirs.second);

    for (const { producer, pipeConsumer, pipeProducer, ...more } of [theirs, own]) {
      const { dataProducer, pipeDataConsumer, pipeDataProducer } = more;

      expect(pipeProducer.id).toBe(producer.id);
      expect(pipeConsumer.producerId).toBe(producer.id);
      expect(pipeProducer.appData).toBe(producer.appData);
      expect(pipeConsumer.appData).toEqual({});
      expect(pipeDataProducer.id).toBe(dataProducer.id);
      expect(pipeDataProducer.appData).toBe(dataProducer.appData);
      expect(pipeDataConsumer.appData).toEqual({});
    }
    for (const name of /** @type {const} */ (['local', 'remote'])) {
      expect(own[name].sctpParameters).toEqual(theirs[name].sctpParameters);
      expect(own[name].srtpParameters).toBeUndefined();
    }
    expect(own.local.tuple.remotePort).toBe(own.remote.tuple.localPort);
    expect(own.remote.tuple.remotePort).toBe(own.local.tuple.localPort);
  });

  test('makes pipes with all options of mediasoup', async () => {
    /** @type {Partial<types.PipeToRouterOptions>} */
    const options = {
      keepId: false,
      listenInfo: { ...LOOPBACK, sendBufferSize: 100_000 },
      maxSendMessageSize: 1,
      maxReceiveMessageSize: 2,
      sctpSendBufferSize: 3,
      sctpPerStreamSendQueueLimit: 4,
      sctpMaxReceiverWindowBufferSize: 5,
      sctpDefaultStreamBufferedAmountLowThreshold: 6,
      enableRtx: true,
      enableSrtp: true,
    };
    const [theirs, own] = [await openPipes(upstream, options), await openPipes(world, options)];

    for (const { local, remote } of [theirs, own]) {
      for (const transport of [local, remote]) {
        expect(await transport.dump()).toMatchObject({ rtx: true });
        expect(transport.srtpParameters?.cryptoSuite).toBe('AEAD_AES_256_GCM');
        expect(transport.sctpParameters).toEqual(theirs.local.sctpParameters);
      }
    }
    expect(own.pipeProducer.id).not.toBe(own.producer.id);
    expect(own.pipeDataProducer.id).not.toBe(own.dataProducer.id);
  });

  test.each(Object.entries(SYNC_CASCADES))('%s closes in the same order', async (_, act) => {
    const theirs = await logOf(upstream, act);

    expect(theirs.length).toBeGreaterThan(4);
    expect(await logOf(world, act)).toEqual(theirs);
  });

  test.each([
    ['producer', 'pipeConsumer', 'producerclose'],
    ['dataProducer', 'pipeDataConsumer', 'dataproducerclose'],
    ['sourceTransport', 'pipeConsumer', 'producerclose'],
  ])('%s.close() closes the same with the same events, sooner', async (source, consumer, event) => {
    const act = async (/** @type {any} */ pipes) => {
      const told = eventOf(pipes[consumer], event);

      pipes[source].close();
      await told;
    };
    const [theirs, own] = [await logOf(upstream, act), await logOf(world, act)];

    expect(own.toSorted()).toEqual(theirs.toSorted());
  });

  test.each([
    ['pause', 'resume', 'producer', 'pipeProducer'],
    ['pause', 'resume', 'pipeConsumer', 'pipeProducer'],
  ])('%s() and %s() of %s reach %s', async (pause, resume, source, target) => {
    const act = async (/** @type {any} */ pipes) => {
      for (const change of [pause, resume]) {
        const reached = eventOf(pipes[target].observer, change);

        await pipes[source][change]();
        await reached;
        await heard(pipes.a);
      }
    };
    const [theirs, own] = [await logOf(upstream, act), await logOf(world, act)];

    expect(own.toSorted()).toEqual(theirs.toSorted());
  });
});
