'use strict';

/**
 * Real agents and mediasoup-workers: links, media through pipes, losses, and what an agent tells
 * those who watch it.
 */

const { RemoteConnection } = require('../..');
const { Source } = require('../fleet/lib/source');
const { Listener } = require('../fleet/lib/listener');
const { MEDIA_CODECS } = require('../network/lib/clip-call');
const { AgentProcess } = require('../processes/lib/agent-process');
const { until, within } = require('../processes/lib/deadline');
const { openRoom, scattered } = require('./lib/room');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** @type {AgentProcess[]} */
let agents;
/** @type {import('../..').Horizontal} */
let horizontal;
/** @type {{ close(): void }[]} */
const opened = [];

/** @param {number} count */
async function start(count) {
  const args = ['--max-workers', '4', '--metrics', '127.0.0.1:0', '--label', 'region=eu'];

  agents = await Promise.all(Array.from({ length: count }, () => AgentProcess.start({ args })));

  const urls = await Promise.all(agents.map((agent) => agent.url()));
  const quick = { heartbeatMs: 100 };

  horizontal = scattered(urls.map((url) => new RemoteConnection({ url, ...quick })));

  return urls;
}

afterEach(async () => {
  for (const one of opened.splice(0)) {
    one.close();
  }
  horizontal.close();
  await Promise.all(agents.map((agent) => agent.stop()));
});

/**
 * @param {AgentProcess | undefined} agent
 * @param {string} [route]
 */
async function ask(agent, route = '/metrics') {
  const { metrics } = await /** @type {AgentProcess} */ (agent).ready();

  return fetch(new URL(route, metrics));
}

test('links are told with their times and traffic', async () => {
  const [url] = await start(1);
  const worker = await within(horizontal.mediasoup.createWorker(), 'a Worker');

  await worker.createRouter();

  const [agent] = agents;
  const { agentId, instanceId } = await /** @type {AgentProcess} */ (agent).ready();
  let connections = (await horizontal.stats()).connections;

  // It takes a heartbeat to know.
  await within(
    (async () => {
      while (typeof connections[0]?.link?.roundTripTimeMs !== 'number') {
        ({ connections } = await horizontal.stats());
      }
    })(),
    'a round trip',
  );

  expect(connections).toEqual([
    expect.objectContaining({
      name: url,
      local: false,
      state: 'connected',
      problem: null,
      workers: 1,
      maxWorkers: 4,
      region: 'eu',
      labels: { region: 'eu' },
      workerVersions: ['3.27.1'],
      agent: {
        id: agentId,
        instanceId,
        version: require('../../package.json').version,
        protocol: 1,
        session: expect.stringMatching(/^[0-9a-f]{8}$/),
      },
    }),
  ]);

  const link = /** @type {NonNullable<(typeof connections)[0]['link']>} */ (connections[0]?.link);

  expect(link).toMatchObject({ sessions: 1, sessionsLost: 0, resumes: 0, framesReplayed: 0 });
  expect(link.roundTripTimeMs).toBeGreaterThan(0);
  for (const count of [link.framesSent, link.framesReceived, link.bytesSent, link.bytesReceived]) {
    expect(count).toBeGreaterThan(0);
  }
  expect(await horizontal.metrics()).toMatch(
    new RegExp(
      `^mediasoup_horizontal_connection_round_trip_seconds\\{connection="${url}"\\} 0?\\.`,
      'm',
    ),
  );
});

test('pipes are told with what goes through them', async () => {
  const urls = await start(2);
  const worker = await within(horizontal.mediasoup.createWorker(), 'a Worker');
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  const source = await Source.open(router, [{ kind: 'video' }]);

  opened.push(source);

  const listener = await Listener.open(router);

  opened.push(listener);

  const heard = await listener.consume(source.producer);

  source.start();
  await heard.hears();

  let { pipes } = await horizontal.stats({ bitrates: true });

  // Nothing had come through when the pipe was new.
  await within(
    (async () => {
      while (!pipes[0]?.bitrate) {
        ({ pipes } = await horizontal.stats({ bitrates: true }));
      }
    })(),
    'a bitrate',
  );

  expect(pipes).toHaveLength(1);
  expect(pipes[0]).toMatchObject({
    router: router.id,
    producer: source.producer.id,
    ready: true,
    users: 1,
    paused: false,
  });
  expect([pipes[0]?.from.connection, pipes[0]?.to.connection].sort()).toEqual([...urls].sort());
});

test('a host that is lost is the reason for what is gone with it', async () => {
  await start(2);

  const { transports, consumers, producer } = await openRoom(horizontal, 2);
  const { objects } = await horizontal.stats({ objects: true });
  const lost = objects?.find(({ id }) => id === transports[0]?.id)?.connection;
  const changes = horizontal.changes();

  await changes.next();

  const urls = await Promise.all(agents.map((agent) => agent.url()));

  agents[urls.indexOf(/** @type {string} */ (lost))]?.kill('SIGKILL');

  const gone = new Map();

  await within(
    (async () => {
      while (gone.size < 3) {
        const { value } = await changes.next();

        if (value?.type === 'closeobject') {
          gone.set(value.id, value);
        }
      }
    })(),
    'what is gone',
    30_000,
  );

  const reason = 'partlost';

  expect(gone.get(transports[0]?.id)).toMatchObject({ reason, connection: lost });
  expect(gone.get(producer.id)).toMatchObject({ reason, connection: lost });
  expect(gone.get(consumers[0]?.id)).toMatchObject({ kind: 'consumer', reason: null });

  const { counters, connections } = await horizontal.stats();

  expect(counters).toMatchObject({ partsLost: 1, workersEnded: 0 });
  expect(connections.find(({ name }) => name === lost)?.link).toMatchObject({ sessionsLost: 1 });
});

test('an agent tells its own over HTTP', async () => {
  await start(1);

  const worker = await within(horizontal.mediasoup.createWorker(), 'a Worker');
  const [agent] = agents;
  const response = await ask(agent);
  const text = await response.text();

  expect(response.headers.get('content-type')).toMatch('application/openmetrics-text');
  expect(text).toMatch(/^mediasoup_horizontal_agent_workers 1\.0$/m);
  expect(text).toMatch(/^mediasoup_horizontal_agent_sessions 1\.0$/m);
  expect(text).toMatch(/^mediasoup_horizontal_agent_draining 0\.0$/m);
  expect(text).toMatch(/^mediasoup_horizontal_agent_limit_hits_total\{limit="workers"\} 0$/m);
  expect((await ask(agent, '/healthz')).status).toBe(200);
  expect((await ask(agent, '/readyz')).status).toBe(200);

  worker.close();
  await until(
    async () => /^mediasoup_horizontal_agent_workers 0\.0$/m.test(await (await ask(agent)).text()),
    'an agent without workers',
  );
});
