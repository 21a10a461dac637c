'use strict';

const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { Horizontal, LocalConnection } = require('../..');
const { installFakeWorker } = require('../fixtures/fake-worker');
const { AgentProcess } = require('./lib/agent-process');
const { AppProcess } = require('./lib/app-process');
const { until, within } = require('./lib/deadline');
const { AGENT, WAITING } = require('./lib/modes');
const { MARK, marked, newMark } = require('./lib/process-table');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** A worker that scripts can be written for, behind each kind of connection. */
const CONNECTIONS = /** @type {const} */ (['waiting stub', 'exec in place', 'one agent']);

/** @type {string} */
let folder;
/** @type {string} */
let workerBin;
/** @type {(() => Promise<unknown> | void)[]} */
const endings = [];

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));
  workerBin = installFakeWorker(folder);
});

beforeEach(() => {
  process.env[MARK] = newMark();
});

afterEach(async () => {
  const mark = /** @type {string} */ (process.env[MARK]);

  delete process.env.FAKE_WORKER_PLAN;
  mediasoup.setLogEventListeners();
  await Promise.all(endings.splice(0).map((end) => end()));
  await until(
    () => marked(mark).length === 0,
    () => `the end of ${JSON.stringify(marked(mark))}`,
  );
});

afterAll(() => {
  fs.rmSync(folder, { recursive: true });
});

/**
 * @param {typeof CONNECTIONS[number]} kind
 * @param {import('../fixtures/fake-worker').Plan} plan
 */
async function open(kind, plan) {
  process.env.FAKE_WORKER_PLAN = JSON.stringify(plan);
  const horizontal = new Horizontal([await connect(kind)]);

  endings.unshift(() => horizontal.close());

  return horizontal;
}

/** @param {typeof CONNECTIONS[number]} kind */
async function connect(kind) {
  if (kind !== 'one agent') {
    return new LocalConnection({ workerBin, execInPlace: kind === 'exec in place' });
  }
  const named = `${mediasoup.version}=${workerBin}`;
  const agent = await AgentProcess.start({
    args: ['--worker-bin', named, '--session-timeout', '1'],
  });

  endings.push(() => agent.stop());

  return agent.url();
}

/** What mediasoup's logger is told, by namespace. */
function collectLogs() {
  /** @type {string[]} */
  const lines = [];
  const note = (/** @type {string} */ namespace, /** @type {string} */ text) => {
    lines.push(`${namespace} ${text}`);
  };

  mediasoup.setLogEventListeners({ ondebug: note, onwarn: note, onerror: note });

  return lines;
}

test.each(['waiting stub', 'one agent'])(
  '%s: no answer is lost to the end of the worker',
  async (kind) => {
    const answers = 2_000;
    const horizontal = await open(/** @type {any} */ (kind), { answers, code: 3 });
    const worker = await horizontal.mediasoup.createWorker();
    const died = once(worker, 'died');
    const requests = Array.from({ length: answers }, () => worker.updateSettings());

    // The worker answered all of them before it ended.
    await within(Promise.all(requests), 'all answers');
    const [error] = await within(died, 'died');

    expect(error.message).toBe(`[pid:${worker.pid}, code:3, signal:null]`);
  },
);

test.each(CONNECTIONS)("%s: output of the worker reaches mediasoup's logger", async (kind) => {
  const logs = collectLogs();
  const horizontal = await open(kind, { stderr: 'first cry\nsecond cry\n', stdout: 'a murmur\n' });
  const worker = await horizontal.mediasoup.createWorker();

  await until(
    () =>
      logs.some((line) => line.includes('second cry')) && logs.some((l) => l.includes('murmur')),
    () => `the output, heard ${logs.join('\n')}`,
  );
  expect(logs).toEqual(
    expect.arrayContaining([
      'mediasoup:ERROR:Worker (stderr) first cry',
      'mediasoup:ERROR:Worker (stderr) second cry',
      'mediasoup:Worker (stdout) a murmur',
    ]),
  );
  const closed = once(worker, 'subprocessclose');

  worker.close();
  await within(closed, 'subprocessclose');
});

test.each(CONNECTIONS)('%s: output right before the end of the worker is kept', async (kind) => {
  const logs = collectLogs();
  const cry = '#'.repeat(99);
  const horizontal = await open(kind, {
    answers: 1,
    code: 9,
    lastWords: `${`${cry}\n`.repeat(200)}END\n`,
  });
  const worker = await horizontal.mediasoup.createWorker();
  const closed = once(worker, 'subprocessclose');

  worker.updateSettings().catch(() => {});
  await within(closed, 'subprocessclose');
  await until(() => logs.some((line) => line.endsWith('(stderr) END')), 'the last line');
  // A line may come in two pieces, as from any pipe.
  expect(logs.join('').replace(/[^#]/g, '').length).toBe(200 * cry.length);
});

test.each(/** @type {const} */ (['waiting stub', 'one agent']))(
  '%s: a worker that hangs is killed after its Worker was closed',
  async (kind) => {
    const horizontal = await open(kind, { hang: true });
    const worker = await horizontal.mediasoup.createWorker();
    const closed = once(worker, 'subprocessclose');

    worker.close();
    // It has five seconds to end by itself.
    await within(closed, 'subprocessclose', 15_000);
  },
);

test.each(CONNECTIONS)('%s: a worker that hangs dies with SIGKILL to its Worker', async (kind) => {
  const horizontal = await open(kind, { hang: true });
  const worker = await horizontal.mediasoup.createWorker();
  const closed = once(worker, 'subprocessclose');

  process.kill(worker.pid, 'SIGKILL');
  await within(closed, 'subprocessclose');
});

test('waiting stub: no worker that hangs outlives an app that was killed', async () => {
  const mark = /** @type {string} */ (process.env[MARK]);
  const app = new AppProcess({
    fixture: 'app.js',
    args: ['stay', '2'],
    mode: WAITING,
    env: {
      ...process.env,
      FAKE_WORKER_PLAN: JSON.stringify({ hang: true }),
      MEDIASOUP_HORIZONTAL_WORKER_BIN: `${mediasoup.version}=${workerBin}`,
    },
  });

  await app.said('open');
  // App, two stubs, two workers.
  expect(marked(mark)).toHaveLength(5);
  app.kill('SIGKILL');
  await until(
    () => marked(mark).length === 0,
    () => `the end of ${JSON.stringify(marked(mark))}`,
  );
});

test('one agent: no worker that hangs outlives an app that was killed', async () => {
  const mark = /** @type {string} */ (process.env[MARK]);

  process.env.FAKE_WORKER_PLAN = JSON.stringify({ hang: true });
  const url = await connect('one agent');
  const app = new AppProcess({
    fixture: 'app.js',
    args: ['stay', '1'],
    mode: AGENT,
    url: /** @type {string} */ (url),
  });

  await app.said('open');
  // Agent, app, stub, worker.
  expect(marked(mark)).toHaveLength(4);
  app.kill('SIGKILL');
  await until(
    () => marked(mark).length === 1,
    () => `the end of all but the agent, left ${JSON.stringify(marked(mark))}`,
  );
});
