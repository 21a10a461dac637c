'use strict';

const { once } = require('node:events');
const { Horizontal, MockConnection } = require('../..');
const { openRoom, scatteredMocks } = require('./lib/room');

/** @type {Horizontal} */
let horizontal;

afterEach(() => horizontal.close());

const NOTHING = {
  webRtcServers: 0,
  routers: 0,
  transports: 0,
  rtpObservers: 0,
  producers: 0,
  consumers: 0,
  dataProducers: 0,
  dataConsumers: 0,
};

test('stats() tells of connections, Workers, Routers and pipes', async () => {
  horizontal = scatteredMocks('a', 'b');

  const { worker, router, producer } = await openRoom(horizontal, 3);
  const stats = await horizontal.stats();
  const all = { ...NOTHING, routers: 1, transports: 3, producers: 1, consumers: 2 };
  const [a, b] = ['a', 'b'].map((connection) => ({ connection, pid: expect.any(Number) }));

  expect(stats.connections).toEqual(
    ['a', 'b'].map((name) =>
      expect.objectContaining({
        name,
        state: 'connected',
        workers: 1,
        maxWorkers: 1024,
        cores: 8,
        draining: false,
        workerVersions: [horizontal.mediasoup.version],
        agent: null,
        link: null,
      }),
    ),
  );
  expect(stats.workers).toEqual([
    {
      pid: worker.pid,
      connection: 'a',
      answered: true,
      objects: all,
      callsUnderWay: 0,
      queuedBytes: 0,
      parts: [
        {
          ...a,
          home: true,
          reachable: true,
          cpu: 0,
          queuedBytes: 0,
          objects: { ...NOTHING, routers: 1, transports: 1, consumers: 1 },
        },
        {
          ...b,
          home: false,
          reachable: true,
          cpu: 0,
          queuedBytes: 0,
          objects: { ...NOTHING, transports: 2, producers: 1, consumers: 1 },
        },
      ],
    },
  ]);
  expect(stats.routers).toEqual([
    { id: router.id, worker: worker.pid, parts: [a, b], objects: all },
  ]);
  expect(stats.pipes).toEqual([
    {
      worker: worker.pid,
      router: router.id,
      producer: producer.id,
      data: false,
      from: b,
      to: a,
      relayed: false,
      ready: true,
      users: 1,
      activeUsers: 1,
      paused: false,
      bitrate: null,
    },
  ]);
  expect(stats.objects).toBeUndefined();
  expect(stats.counters).toEqual({
    calls: {
      'worker.createRouter': 1,
      'router.createWebRtcTransport': 3,
      'transport.produce': 1,
      'transport.consume': 2,
    },
    errors: 0,
    workersStarted: 1,
    workersEnded: 0,
    partsOpened: 1,
    partsFailed: 0,
    partsLost: 0,
    eventsMissed: 0,
  });
});

test('on request it names every object and measures pipes', async () => {
  horizontal = scatteredMocks('a', 'b');

  const { worker, router, transports, producer, consumers } = await openRoom(horizontal, 2);
  const plain = await router.createPlainTransport({
    listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
  });
  const { objects, pipes } = await horizontal.stats({ objects: true, bitrates: true });
  const within = { worker: worker.pid, router: router.id };
  const transport = { ...within, kind: 'webRtcTransport' };
  const expected = [
    { kind: 'worker', id: `${worker.pid}`, connection: 'a', worker: worker.pid, router: null },
    { ...within, kind: 'router', id: router.id, connection: 'a' },
    { ...transport, id: transports[0]?.id, connection: 'b' },
    { ...transport, id: transports[1]?.id, connection: 'a' },
    { ...within, kind: 'plainTransport', id: plain.id, connection: 'b' },
    { ...within, kind: 'producer', id: producer.id, connection: 'b' },
    { ...within, kind: 'consumer', id: consumers[0]?.id, connection: 'a' },
  ];

  expect(objects).toHaveLength(expected.length);
  expect(objects).toEqual(expect.arrayContaining(expected));
  // A mock worker knows of no media.
  expect(pipes.map(({ bitrate }) => bitrate)).toEqual([0]);
});

test('a Worker that stays on one mediasoup-worker is told too', async () => {
  horizontal = new Horizontal([new MockConnection({ cpu: 0.25 })], { placement: 'home' });

  const { worker } = await openRoom(horizontal, 2);
  const { workers, routers, pipes, connections } = await horizontal.stats();

  expect(workers[0]?.parts).toEqual([
    expect.objectContaining({ connection: 'mock', home: true, cpu: 0.25 }),
  ]);
  expect(routers).toHaveLength(1);
  expect(pipes).toEqual([]);
  expect(connections[0]).toMatchObject({ cpu: 0.25, cpuOfOthers: 0 });
  expect(workers[0]?.pid).toBe(worker.pid);
});

test('errors are counted, and what is gone is no longer told', async () => {
  horizontal = scatteredMocks('a');

  const { worker, router } = await openRoom(horizontal, 1);
  const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1', port: 40_000 };

  await router.createPlainTransport({ listenInfo });
  await expect(router.createPlainTransport({ listenInfo })).rejects.toThrow('port');

  const { counters } = await horizontal.stats();

  expect(counters.errors).toBe(1);
  router.close();
  worker.close();
  await once(worker, 'subprocessclose');

  const after = await horizontal.stats();

  expect(after.workers).toEqual([]);
  expect(after.routers).toEqual([]);
  expect(after.counters).toMatchObject({ workersStarted: 1, workersEnded: 1 });
  expect(after.counters.calls['worker.createRouter']).toBe(1);
});

test.each(
  /** @type {[any, string][]} */ ([
    [null, 'stats() takes an object of options'],
    ['objects', 'stats() takes an object of options'],
    [{ object: true }, 'stats() has no option object; it has objects and bitrates'],
    [{ bitrates: 1 }, 'stats(): bitrates must be true or false'],
  ]),
)('stats(%j) is refused', async (options, message) => {
  horizontal = scatteredMocks('a');

  await expect(horizontal.stats(options)).rejects.toThrow(new TypeError(message));
});

test('a Horizontal that is closed tells nothing', async () => {
  horizontal = scatteredMocks('a');

  await horizontal.mediasoup.createWorker();

  const asked = Array.from({ length: 50 }, () => horizontal.stats());

  horizontal.close();

  // Some may have been told before; each ends in any case.
  for (const outcome of await Promise.allSettled(asked)) {
    if (outcome.status === 'rejected') {
      expect(outcome.reason.message).toBe('this Horizontal is closed');
    }
  }
  await expect(horizontal.stats()).rejects.toThrow('this Horizontal is closed');
  await expect(horizontal.metrics()).rejects.toThrow('this Horizontal is closed');
});

test('metrics() tells the same as text', async () => {
  horizontal = scatteredMocks('a"\\', 'b');
  await openRoom(horizontal, 3);

  const text = await horizontal.metrics();
  const lines = text.split('\n');
  const { version } = require('../../package.json');

  expect(lines).toEqual(
    expect.arrayContaining([
      '# TYPE mediasoup_horizontal_calls counter',
      `mediasoup_horizontal_info{version="${version}",mediasoup="3.27.1"} 1.0`,
      'mediasoup_horizontal_connection_up{connection="a\\"\\\\"} 1.0',
      'mediasoup_horizontal_workers 1.0',
      'mediasoup_horizontal_objects{connection="b",kind="transport"} 2.0',
      'mediasoup_horizontal_pipes{from="b",to="a\\"\\\\"} 1.0',
      'mediasoup_horizontal_calls_total{method="transport.consume"} 2',
    ]),
  );
  expect(lines.slice(-2)).toEqual(['# EOF', '']);
  expect(text).not.toContain('pid');
});
