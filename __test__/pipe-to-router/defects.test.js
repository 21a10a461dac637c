'use strict';

const { execFile } = require('node:child_process');
const { pickPort } = require('pick-port');
const { eventOf } = require('../support/events');
const {
  ALL,
  LOOPBACK,
  World,
  countPipes,
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

/**
 * Each scenario runs on mediasoup itself, where it shows the defect, and on ours.
 *
 * @typedef {object} Scenario
 * @property {string} name
 * @property {(world: World) => Promise<unknown>} run
 * @property {unknown} upstream What it comes to there.
 * @property {unknown} ours
 */

const EXISTS = 'Error: given pipeTransportPairKey already exists in this Router';

/**
 * @param {types.Router} router Its next createPipeTransport() fails.
 */
function failOnce(router) {
  const real = router.createPipeTransport;

  router.createPipeTransport = async () => {
    router.createPipeTransport = real;
    throw new Error('injected');
  };
}

/**
 * @param {World} world
 * @param {'here' | 'there'} side
 */
async function failThenRetry(world, side) {
  const [a, b] = await two(world);
  const [there, back] = [await produce(a), await produce(b)];

  failOnce(side === 'here' ? a : b);

  const first = await outcome(a.pipeToRouter({ producerId: there.id, router: b }));
  const left = [await countPipes(a), await countPipes(b)];
  const again = await outcome(a.pipeToRouter({ producerId: there.id, router: b }));
  const reverse = await outcome(b.pipeToRouter({ producerId: back.id, router: a }));

  return { first, left, again, reverse, end: [await countPipes(a), await countPipes(b)] };
}

/**
 * Both ends are on one host here: a fixed port is free for one of them only.
 *
 * @param {World} world
 */
async function portTaken(world) {
  const [a, b] = await two(world);
  const { id: producerId } = await produce(a);
  const port = await pickPort({ type: 'udp', ip: '127.0.0.1', reserveTimeout: 0 });
  const listenInfo = { ...LOOPBACK, port };
  // An agent puts one end on another port, where the app's is taken.
  const error = await outcome(a.pipeToRouter({ producerId, router: b, listenInfo }));
  const left = (await countPipes(a)) + (await countPipes(b));
  const again = await outcome(a.pipeToRouter({ producerId, router: b }));

  return {
    failed: error.includes('address already in use'),
    left,
    again: again.includes('address already in use') ? 'the same error' : again,
  };
}

/** @param {World} world */
async function otherTransportOptions(world) {
  const [a, b] = await two(world);
  const [one, other] = [await produce(a), await produce(a, ssrc(2))];
  const [data] = [await produceData(a)];

  await a.pipeToRouter({ producerId: one.id, router: b, enableSctp: false });
  const { pipeConsumer } = await pipeMedia(a, {
    producerId: other.id,
    router: b,
    enableSctp: false,
    enableSrtp: true,
  });
  const withData = await outcome(a.pipeToRouter({ dataProducerId: data.id, router: b }));
  const transports = /** @type {any} */ (a).transportsForTesting.values();
  const carrier = [...transports].find(({ consumers }) => consumers.has(pipeConsumer.id));

  return {
    srtp: carrier.srtpParameters !== undefined,
    data: withData.split(':', 1)[0],
    pairs: [await countPipes(a), await countPipes(b)],
  };
}

/** @param {World} world */
async function repeated(world) {
  const [a, b] = await two(world);
  const { id: producerId } = await produce(a);
  const first = await pipeMedia(a, { producerId, router: b });
  /** @type {types.PipeToRouterResult} */
  let again = {};
  const second = await outcome(
    a
      .pipeToRouter({ producerId, router: b, listenIp: '127.0.0.1', enableRtx: false })
      .then((result) => {
        again = result;
      }),
  );

  return {
    second: second.replace(producerId, 'ID'),
    same: [again.pipeConsumer === first.pipeConsumer, again.pipeProducer === first.pipeProducer],
    open: [!first.pipeConsumer.closed, !first.pipeProducer.closed],
  };
}

/** @param {World} world */
async function atOnce(world) {
  const [a, b] = await two(world);
  const { id: producerId } = await produce(a);
  const { id: dataProducerId } = await produceData(a);
  const calls = [{ producerId }, { dataProducerId }].flatMap((what) => [
    a.pipeToRouter({ ...what, router: b }),
    a.pipeToRouter({ ...what, router: b }),
  ]);
  const settled = await Promise.allSettled(calls);
  const results = settled.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
  const [media, media2, data, data2] = results;

  return {
    rejected: settled.filter(({ status }) => status === 'rejected').length,
    same: [
      media?.pipeConsumer === media2?.pipeConsumer && media?.pipeProducer === media2?.pipeProducer,
      data?.pipeDataConsumer === data2?.pipeDataConsumer &&
        data?.pipeDataProducer === data2?.pipeDataProducer,
    ],
  };
}

/** @param {World} world */
async function withoutKeptId(world) {
  const [a] = await two(world);
  const sibling = await world.sibling(a);
  const { id: producerId } = await produce(a);
  const kept = await outcome(a.pipeToRouter({ producerId, router: sibling }));
  const first = await pipeMedia(a, { producerId, router: sibling, keepId: false });
  const second = await pipeMedia(a, { producerId, router: sibling, keepId: false });

  return { kept: kept.replace(producerId, 'ID'), same: first.pipeProducer === second.pipeProducer };
}

/**
 * Two Routers on one Worker, and the same producer for both.
 *
 * @param {World} world
 */
async function diamond(world) {
  const [a, b] = await two(world);
  const sibling = await world.sibling(b);
  const { id: producerId } = await produce(a);

  await a.pipeToRouter({ producerId, router: b });
  const kept = await outcome(a.pipeToRouter({ producerId, router: sibling }));
  const fresh = await outcome(a.pipeToRouter({ producerId, router: sibling, keepId: false }));

  return { kept: kept.replace(producerId, 'ID'), fresh };
}

/**
 * The producer is paused while the pipe producer is made, and resumed while that one learns it.
 *
 * @param {World} world
 */
async function resumedMeanwhile(world) {
  const [a, b] = await two(world);
  const producer = await produce(a);
  /** @type {types.Consumer | undefined} */
  let consumer;

  a.observer.on('newtransport', ({ observer }) => {
    observer.on('newconsumer', (made) => {
      consumer = made;
    });
  });
  b.observer.on('newtransport', (transport) => {
    const produceThere = transport.produce.bind(transport);

    transport.produce = /** @type {any} */ (
      async (/** @type {types.ProducerOptions} */ options) => {
        const made = await produceThere(options);
        const pause = made.pause.bind(made);

        made.pause = async () => {
          await pause();

          const resumed = eventOf(/** @type {types.Consumer} */ (consumer).observer, 'resume');

          await producer.resume();
          await resumed;
        };
        await producer.pause();

        return made;
      }
    );
  });

  const { pipeProducer } = await pipeMedia(a, { producerId: producer.id, router: b });

  return { producer: producer.paused, pipeProducer: (await pipeProducer.dump()).paused };
}

/**
 * jest has its own ways with a rejection that nobody handles. Node.js ends.
 *
 * @param {World} world
 */
async function goneWhilePaused({ kind }) {
  const script = require.resolve('./lib/gone-while-paused');

  return new Promise((resolve) => {
    execFile(process.execPath, [script, kind.name], { timeout: 20_000 }, (error, _, stderr) => {
      resolve(error ? (/\[(\w+): /.exec(stderr)?.[1] ?? /^(\w+): /m.exec(stderr)?.[1]) : 'nothing');
    });
  });
}

/** @param {World} world */
async function dataPaused(world) {
  const [a, b] = await two(world);
  const producer = await produceData(a);

  await producer.pause();

  const { pipeDataProducer } = await pipeData(a, { dataProducerId: producer.id, router: b });
  const transport = await b.createDirectTransport();
  const consumer = await transport.consumeData({ dataProducerId: producer.id });
  const states = [(await pipeDataProducer.dump()).paused];

  for (const change of ['resume', 'pause']) {
    await producer[/** @type {'resume' | 'pause'} */ (change)]();
    await heard(a);
    states.push((await pipeDataProducer.dump()).paused);
  }
  await heard(b);

  return { states, seen: consumer.dataProducerPaused };
}

/**
 * @param {World} world
 * @returns {Promise<[types.Router, types.Router]>}
 */
async function two(world) {
  return /** @type {[types.Router, types.Router]} */ (await world.routers(2));
}

/** @param {number} number */
function ssrc(number) {
  return {
    rtpParameters: {
      codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }],
      encodings: [{ ssrc: 1000 + number }],
    },
  };
}

/** @type {Scenario[]} */
const SCENARIOS = [
  {
    name: '1, 2: a transport that fails here is forgotten, and its peer closed',
    run: (world) => failThenRetry(world, 'here'),
    upstream: {
      first: 'Error: injected',
      left: [0, 1],
      again: 'Error: injected',
      reverse: EXISTS,
      end: [1, 2],
    },
    ours: { first: 'Error: injected', left: [0, 0], again: 'done', reverse: 'done', end: [1, 1] },
  },
  {
    name: '1, 2: a transport that fails there is forgotten, and its peer closed',
    run: (world) => failThenRetry(world, 'there'),
    upstream: {
      first: 'Error: injected',
      left: [1, 0],
      again: 'Error: injected',
      reverse: EXISTS,
      end: [2, 1],
    },
    ours: { first: 'Error: injected', left: [0, 0], again: 'done', reverse: 'done', end: [1, 1] },
  },
  {
    name: '4: other options for the transports are not ignored',
    run: otherTransportOptions,
    upstream: { srtp: false, data: 'Error', pairs: [1, 1] },
    ours: { srtp: true, data: 'done', pairs: [3, 3] },
  },
  {
    name: '5: a repeated call gives what the first one gave',
    run: repeated,
    upstream: {
      second: 'TypeError: a Producer with same id "ID" already exists',
      same: [false, false],
      open: [true, true],
    },
    ours: { second: 'done', same: [true, true], open: [true, true] },
  },
  {
    name: '5: calls at once give the same objects',
    run: atOnce,
    upstream: { rejected: 2, same: [false, false] },
    ours: { rejected: 0, same: [true, true] },
  },
  {
    name: '5, 6: so do calls with new ids, also on one Worker, where ids cannot be kept',
    run: withoutKeptId,
    upstream: { kept: 'Error: Channel request handler with ID ID already exists', same: false },
    ours: { kept: 'Error: Channel request handler with ID ID already exists', same: true },
  },
  {
    name: '6: an id that the Worker has already is refused in the same words',
    run: diamond,
    upstream: {
      kept: 'Error: Channel request handler with ID ID already exists',
      fresh: 'done',
    },
    ours: { kept: 'Error: Channel request handler with ID ID already exists', fresh: 'done' },
  },
  {
    name: '7: no pause or resume is lost between creation and forwarding',
    run: resumedMeanwhile,
    upstream: { producer: false, pipeProducer: true },
    ours: { producer: false, pipeProducer: false },
  },
  {
    name: '7: a pipe producer that is gone before it is paused harms nobody',
    run: goneWhilePaused,
    upstream: 'WorkerClosedError',
    ours: 'nothing',
  },
  {
    name: '7: data producers are paused and resumed too',
    run: dataPaused,
    upstream: { states: [false, false, false], seen: false },
    ours: { states: [true, false, true], seen: true },
  },
];

describe.each(ALL)('$name', (kind) => {
  /** @type {World} */
  let world;

  beforeAll(async () => {
    world = await World.open(kind);
  });

  afterAll(() => world?.close());

  test.each(SCENARIOS)('$name', async ({ run, upstream, ours }) => {
    expect(await run(world)).toEqual(kind.ours ? ours : upstream);
  });

  // Agents give another port where the app's is taken.
  if (kind.agents === 0) {
    test('1, 2: a port that is taken leaves nothing behind', async () => {
      expect(await portTaken(world)).toEqual(
        kind.ours
          ? { failed: true, left: 0, again: 'done' }
          : { failed: true, left: 1, again: 'the same error' },
      );
    });
  }
});
