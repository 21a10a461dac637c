'use strict';

const { once } = require('node:events');
const v8 = require('node:v8');
const vm = require('node:vm');
const { Horizontal, LocalConnection, errors } = require('../..');
const { AgentProcess } = require('./lib/agent-process');
const { until, within } = require('./lib/deadline');
const { MARK, marked, newMark } = require('./lib/process-table');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** @import { types } from 'mediasoup-upstream' */

v8.setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc');

/** @type {AgentProcess[]} */
let agents;
/** @type {string[]} */
let urls;

beforeAll(async () => {
  process.env[MARK] = newMark();
  agents = await Promise.all(
    [1, 2, 3].map(() => AgentProcess.start({ args: ['--max-workers', '4'] })),
  );
  urls = await Promise.all(agents.map((agent) => agent.url()));
});

afterEach(async () => {
  const mark = String(process.env[MARK]);

  // No test leaves a Worker; the three agents stay.
  await until(
    () => marked(mark).length === agents.length,
    () => `the agents alone, there are ${JSON.stringify(marked(mark))}`,
  );
});

afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
});

/**
 * @param {Horizontal} horizontal
 * @param {number} count
 */
function createWorkers(horizontal, count) {
  return within(
    Promise.all(Array.from({ length: count }, () => horizontal.mediasoup.createWorker())),
    `${count} Workers`,
  );
}

/** @param {types.Worker[]} workers */
async function closeAll(workers) {
  await Promise.all(
    workers.map(async (worker) => {
      const closed = once(worker, 'subprocessclose');

      worker.close();
      await within(closed, 'subprocessclose');
    }),
  );
}

test('Workers are spread over several agents', async () => {
  const horizontal = new Horizontal(urls);
  const workers = await createWorkers(horizontal, 9);
  const places = workers.map((worker) => horizontal.whereIs(worker)?.connection);

  expect([...horizontal].map(({ name }) => name)).toEqual(urls);
  for (const url of urls) {
    expect(places.filter((place) => place === url)).toHaveLength(3);
  }
  await closeAll(workers);
  for (const worker of workers) {
    expect(horizontal.whereIs(worker)).toBeUndefined();
  }
  horizontal.close();
});

test('what one agent has no room for goes to the others, then shares or is refused in words', async () => {
  const horizontal = new Horizontal(urls.slice(0, 2), { connectTimeoutMs: 2_000 });
  const workers = await createWorkers(horizontal, 8);
  // Its settings are nobody else's.
  const error = await horizontal.mediasoup
    .createWorker({ logLevel: 'none' })
    .catch((reason) => reason);

  expect(error).toBeInstanceOf(Error);
  for (const url of urls.slice(0, 2)) {
    expect(error.message).toContain(url);
  }
  expect(error.message).toContain('4 of 4');
  const more = await createWorkers(horizontal, 2);

  await closeAll(workers.slice(0, 1));
  const next = await createWorkers(horizontal, 1);

  await closeAll([...workers.slice(1), ...more, ...next]);
  horizontal.close();
});

test('a dead agent is passed over', async () => {
  const dead = await AgentProcess.start();
  const deadUrl = await dead.url();

  dead.kill('SIGKILL');
  await dead.ended();
  const horizontal = new Horizontal([deadUrl, urls[0]]);
  const workers = await createWorkers(horizontal, 4);

  for (const worker of workers) {
    expect(horizontal.whereIs(worker)).toEqual({ connection: urls[0] });
  }
  await closeAll(workers);
  horizontal.close();
});

test('two in one process do not know of each other', async () => {
  const here = new Horizontal([new LocalConnection()]);
  const there = new Horizontal([urls[0]]);
  const [[local], [remote]] = await Promise.all([createWorkers(here, 1), createWorkers(there, 1)]);

  expect(here.whereIs(local)).toEqual({ connection: 'local' });
  expect(here.whereIs(remote)).toBeUndefined();
  expect(there.whereIs(remote)).toEqual({ connection: urls[0] });
  const died = once(remote, 'died');

  there.close();
  await within(died, 'died');
  expect((await local.dump()).pid).toBe(local.pid);
  await closeAll([local]);
  here.close();
});

test('connections are added and removed while Workers run', async () => {
  const horizontal = new Horizontal([urls[0]]);
  const [first] = await createWorkers(horizontal, 1);

  expect((await horizontal.add(urls[1])).name).toBe(urls[1]);
  expect([...horizontal].map(({ name }) => name)).toEqual([urls[0], urls[1]]);
  const died = once(first, 'died');

  expect(await horizontal.delete(urls[0])).toBe(true);
  expect(await horizontal.delete(urls[0])).toBe(false);
  await within(died, 'died');
  const [second] = await createWorkers(horizontal, 1);

  expect(horizontal.whereIs(second)).toEqual({ connection: urls[1] });
  await closeAll([second]);
  horizontal.close();
});

describe.each([
  ['exec in place', () => new LocalConnection()],
  ['waiting stub', () => new LocalConnection({ execInPlace: false })],
  ['one agent', () => urls[2]],
])('close() with %s', (_, connection) => {
  test('ends every Worker, and what waits for one is told', async () => {
    const horizontal = new Horizontal([connection()]);
    const workers = await createWorkers(horizontal, 2);
    const died = workers.map((worker) => once(worker, 'died'));
    const creating = horizontal.mediasoup.createWorker().catch((error) => error);

    horizontal.close();
    expect(horizontal.closed).toBe(true);
    await within(Promise.all(died), 'the death of both');
    const error = await within(creating, 'the rejection');

    expect(error).toBeInstanceOf(errors.WorkerClosedError);
    expect(error.message).toContain('this Horizontal is closed');
    await expect(horizontal.mediasoup.createWorker()).rejects.toThrow('this Horizontal is closed');
    await expect(horizontal.add(urls[0])).rejects.toThrow('this Horizontal is closed');
    // Once more does nothing.
    horizontal.close();
  });
});

test('a Worker that runs just before close() is refused as well', async () => {
  const horizontal = new Horizontal([new LocalConnection({ execInPlace: false })]);
  const { mediasoup } = horizontal;
  /** @type {Promise<unknown> | undefined} */
  let ended;

  mediasoup.observer.once('newworker', (worker) => {
    ended = once(worker, 'subprocessclose');
    horizontal.close();
  });
  await expect(mediasoup.createWorker()).rejects.toThrow(errors.WorkerClosedError);
  await within(/** @type {Promise<unknown>} */ (ended), 'the end of its process');
});

test('the module may be loaded twice in one process', async () => {
  const first = require('../..');

  jest.resetModules();
  const second = require('../..');

  expect(second).not.toBe(first);
  const workers = await Promise.all([first.createWorker(), second.createWorker()]);

  expect(first.horizontal.whereIs(workers[0])).toEqual({ connection: 'local' });
  expect(first.horizontal.whereIs(workers[1])).toBeUndefined();
  await expect(second.createWorker({ rtcMinPort: 9, rtcMaxPort: 8 })).rejects.toThrow(TypeError);
  await closeAll(workers);
  first.horizontal.close();
  second.horizontal.close();
});

test('an app that keeps nothing but the Worker keeps its core', async () => {
  const worker = await (async () => {
    const [made] = await createWorkers(new Horizontal([urls[0]]), 1);

    return made;
  })();

  for (let round = 0; round < 5; round++) {
    collectGarbage();
    expect((await worker.dump()).pid).toBe(worker.pid);
  }
  await closeAll([worker]);
});
