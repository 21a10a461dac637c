'use strict';

/** Mock hosts by the several, and Workers that live on several mock workers. */

const mock = require('mediasoup-horizontal/mock');
const { LISTEN, MEDIA_CODECS, audio, makeWorld } = require('./lib/world');
const { eventOf } = require('../support/events');

/** @type {InstanceType<typeof mock.Horizontal>} */
let horizontal;
/** @type {InstanceType<typeof mock.MockControls>} */
let controls;

/**
 * @param {ConstructorParameters<typeof mock.MockConnection>[0][]} hosts
 * @param {ConstructorParameters<typeof mock.Horizontal>[1]} options
 */
function start(hosts, options) {
  horizontal = new mock.Horizontal(
    hosts.map((host) => new mock.MockConnection(host)),
    options,
  );
  controls = new mock.MockControls(horizontal);

  return horizontal.mediasoup;
}

afterEach(async () => {
  await controls.reset();
  horizontal.close();
});

/**
 * The scores that it hears.
 *
 * @param {import('node:events').EventEmitter} object
 */
function scoresOf(object) {
  /** @type {unknown[]} */
  const scores = [];

  object.on('score', (score) => scores.push(score));

  return scores;
}

/** @param {number} score */
const consumerScore = (score) => ({ score, producerScore: score, producerScores: [score] });

test('hosts share rules, and each loses its own Workers', async () => {
  const { createWorker } = start(
    ['one', 'two'].map((name) => ({ name, cores: 1, region: name })),
    { placement: 'home' },
  );
  const first = await createWorker();
  const second = await createWorker();
  const names = [first, second].map((worker) => horizontal.whereIs(worker)?.connection);

  expect(names.sort()).toEqual(['one', 'two']);
  controls.failNext('worker.createRouter', new Error('not here'), { times: 2 });
  for (const worker of [first, second]) {
    await expect(worker.createRouter()).rejects.toThrow('not here');
  }
  const routers = [await first.createRouter(), await second.createRouter()];
  const died = eventOf(first, 'died');
  await controls.kill(first);
  await died;
  expect(routers.map(({ closed }) => closed)).toEqual([true, false]);
});

test('events happen on the object that is meant, wherever it is', async () => {
  const { createWorker } = start([{ name: 'one' }, { name: 'two' }], {
    placement: 'scatter',
    maxParts: 2,
  });
  const worker = await createWorker();
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });

  // One after the other, they are on one host and on the other.
  for (const round of [0, 1]) {
    const [here, there] = [
      await router.createWebRtcTransport({ listenInfos: [LISTEN] }),
      await router.createWebRtcTransport({ listenInfos: [LISTEN] }),
    ];
    const producer = await here.produce(audio(100 + round));
    const { rtpCapabilities } = router;
    const consumer = await there.consume({ producerId: producer.id, rtpCapabilities });
    const [sent, received] = [scoresOf(producer), scoresOf(consumer)];
    const score = [{ encodingIdx: 0, ssrc: 100 + round, rid: undefined, score: 5 }];

    await controls.emit(producer, 'score', score);
    await controls.emit(consumer, 'score', consumerScore(6));
    await controls.emit(here, 'icestatechange', 'connected');
    await controls.emit(there, 'icestatechange', 'disconnected');

    expect([sent, received]).toEqual([[score], [consumerScore(6)]]);
    expect([here.iceState, there.iceState]).toEqual(['connected', 'disconnected']);
    await router.createWebRtcTransport({ listenInfos: [LISTEN] });
  }
  expect(controls.calls()).toMatchObject({ createWorker: 2, 'router.createPipeTransport': 2 });
  expect(controls.calls()).not.toHaveProperty(['worker.getResourceUsage']);
});

test('a piped Producer is another than the one of the same id', async () => {
  const { createWorker } = start([{}], { placement: 'home' });
  const here = await makeWorld({ ...mock, createWorker });
  const there = await makeWorld({ ...mock, createWorker });
  const { pipeProducer } = await here.router.pipeToRouter({
    producerId: here.voice.id,
    router: there.router,
  });
  const piped = /** @type {NonNullable<typeof pipeProducer>} */ (pipeProducer);
  const [own, others] = [scoresOf(here.voice), scoresOf(piped)];
  const score = [{ encodingIdx: 0, ssrc: 1, rid: undefined, score: 5 }];

  await controls.emit(piped, 'score', score);
  expect([own, others]).toEqual([[], [score]]);
  await controls.emit(here.voice, 'score', score);
  expect([own, others]).toEqual([[score], [score]]);
});

test('Workers that share a mock worker', async () => {
  const { createWorker } = start([{}], { placement: 'home', workersPerHost: 1 });
  const workers = [await createWorker(), await createWorker()];
  const routers = await Promise.all(workers.map((worker) => worker.createRouter()));
  const transports = await Promise.all(
    routers.map((router) => router.createWebRtcTransport({ listenInfos: [LISTEN] })),
  );
  const [first, second] = /** @type {[typeof workers[0], typeof workers[0]]} */ (workers);

  for (const transport of transports) {
    await controls.emit(transport, 'icestatechange', 'completed');
    expect(transport.iceState).toBe('completed');
  }
  expect(controls.calls()).toMatchObject({ createWorker: 1 });
  const alsoDied = eventOf(first, 'died');
  await controls.kill(second, { code: 3 });
  await alsoDied;
  expect(controls.openObjects()).toEqual({});
});

test('a Worker can live on without the mock worker that it began with', async () => {
  const { createWorker } = start([{ name: 'one' }, { name: 'two' }], {
    placement: 'scatter',
    maxParts: 2,
    onPartLost: 'continue',
  });
  const worker = await createWorker();
  const router = await worker.createRouter();
  const transports = [
    await router.createWebRtcTransport({ listenInfos: [LISTEN] }),
    await router.createWebRtcTransport({ listenInfos: [LISTEN] }),
  ];

  for (const transport of transports) {
    await controls.emit(transport, 'icestatechange', 'connected');
  }
  await controls.kill(worker);

  expect(worker.closed).toBe(false);
  expect(transports.map(({ iceState }) => iceState).sort()).toEqual(['connected', 'disconnected']);
});
