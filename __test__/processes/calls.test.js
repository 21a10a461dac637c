'use strict';

const { Horizontal, LocalConnection } = require('../..');
const { AgentProcess } = require('./lib/agent-process');
const { until, within } = require('./lib/deadline');
const { MARK, markedEnv, newMark, realWorkers } = require('./lib/process-table');

/** @typedef {Awaited<ReturnType<typeof workerOf>>} Opened */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const CALL_TIMEOUT_MS = 2_000;
const WEBRTC = { listenInfos: [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }] };

/** @type {AgentProcess[]} */
const agents = [];
/** @type {Horizontal | undefined} */
let horizontal;
/** @type {string} */
let mark;

beforeEach(() => {
  mark = newMark();
});

afterEach(async () => {
  delete process.env[MARK];
  horizontal?.close();
  horizontal = undefined;
  for (const agent of agents.splice(0)) {
    agent.kill('SIGKILL');
    await agent.ended();
  }
  await until(() => realWorkers(mark).length === 0, 'the end of all workers');
});

async function startAgent() {
  const args = ['--max-workers', '8'];
  const agent = await AgentProcess.start({ args, env: markedEnv(mark) });

  agents.push(agent);

  return agent;
}

/**
 * @param {Promise<unknown>} call
 * @returns {Promise<Error>}
 */
async function failure(call) {
  const error = await within(
    call.then(
      () => undefined,
      (reason) => reason,
    ),
    'the end of a call',
  );

  expect(error).toBeInstanceOf(Error);

  return /** @type {Error} */ (error);
}

/** A Worker whose mediasoup-worker is known. */
async function workerOf(/** @type {Horizontal} */ horizontal) {
  const before = new Set(realWorkers(mark));
  const worker = await within(horizontal.mediasoup.createWorker(), 'createWorker');
  const [pid] = realWorkers(mark).filter((one) => !before.has(one));

  return { worker, pid: /** @type {number} */ (pid) };
}

/** @type {[string, () => Promise<import('../..').ConnectionLike>][]} */
const PLACES = [
  ['on an agent', async () => (await startAgent()).url()],
  ['on this host', async () => new LocalConnection({ execInPlace: false })],
  ['in the spawned process', async () => new LocalConnection({ execInPlace: true })],
];

test.each(PLACES)('calls to a worker %s that hangs end, and leave nothing', async (_, open) => {
  process.env[MARK] = mark;
  horizontal = new Horizontal([await open()], { callTimeoutMs: CALL_TIMEOUT_MS });
  const [name] = Array.from(horizontal, (connection) => connection.name);
  const { worker, pid } = await workerOf(horizontal);
  const other = await workerOf(horizontal);
  const router = await worker.createRouter();

  process.kill(pid, 'SIGSTOP');
  const calls = [router.createWebRtcTransport(WEBRTC), router.dump(), worker.dump()];
  const [create, dump, dumpWorker] = await Promise.all(calls.map(failure));

  expect(create?.message).toMatch(`router.createWebRtcTransport of Router ${router.id} on ${name}`);
  expect(dump?.message).toBe(
    `router.dump of Router ${router.id} on ${name}: no answer within 2s (callTimeoutMs)`,
  );
  expect(dumpWorker?.message).toMatch(`worker.dump of the Worker on ${name}: no answer`);
  expect((await within(other.worker.createRouter(), 'a call elsewhere')).closed).toBe(false);
  expect(worker.died).toBe(false);

  process.kill(pid, 'SIGCONT');
  await until(
    async () => (await router.dump().catch(() => undefined))?.transportIds.length === 0,
    'the close of what came too late',
  );
  const transport = await within(router.createWebRtcTransport(WEBRTC), 'a call afterwards');

  expect((await router.dump()).transportIds).toEqual([transport.id]);
});

/** What mediasoup logs as errors from now on. */
function errorsLogged(/** @type {Horizontal} */ { mediasoup }) {
  /** @type {string[]} */
  const errors = [];

  mediasoup.setLogEventListeners({ onerror: (_namespace, log) => errors.push(log) });

  return errors;
}

test('a lost host is told once, and every Worker and call names it', async () => {
  const agent = await startAgent();
  const url = await agent.url();
  const further = await startAgent();

  horizontal = new Horizontal([url]);
  const errors = errorsLogged(horizontal);
  const opened = /** @type {Opened[]} */ ([]);

  for (let count = 0; count < 3; count++) {
    opened.push(await workerOf(horizontal));
  }
  const { name: furtherUrl } = await horizontal.add(await further.url());
  /** @type {Map<number, Error>} */
  const deaths = new Map();

  for (const { worker } of opened) {
    worker.on('died', (error) => deaths.set(worker.pid, error));
  }
  const [first] = /** @type {[Opened]} */ (/** @type {unknown} */ (opened));
  const router = await first.worker.createRouter();

  process.kill(first.pid, 'SIGSTOP');
  const call = failure(router.dump());

  agent.kill('SIGKILL');
  await until(() => opened.every(({ worker }) => worker.subprocessClosed), 'every death');
  expect((await call).message).toMatch(
    new RegExp(`^router\\.dump of Router ${router.id}: agent ${url}: .*nobody listens there`),
  );
  for (const [pid, { message, stack }] of deaths) {
    expect(message).toMatch(`[pid:${pid}, code:1, signal:null]: agent ${url}: `);
    expect(stack).toMatch(message);
  }
  expect(deaths.size).toBe(3);

  const hints = () => errors.filter((line) => line.includes("emits 'died'"));

  await until(() => hints().length > 0, 'the hint');
  expect(hints()).toEqual([
    expect.stringMatching(
      `every Worker on ${url} emits 'died', since that host is lost; Workers on other hosts live ` +
        `on \\(${furtherUrl}\\).*let it make a new Worker instead`,
    ),
  ]);
  expect(errors.filter((line) => line.includes('the worker is lost'))).toHaveLength(3);

  // The app goes on elsewhere, and the next loss is told again.
  const { worker } = await workerOf(horizontal);

  further.kill('SIGKILL');
  await until(() => worker.died && hints().length === 2, 'the hint of the second loss');
  horizontal.mediasoup.setLogEventListeners(undefined);
});

test('a Worker that dies by itself dies in the words of mediasoup alone', async () => {
  horizontal = new Horizontal([await (await startAgent()).url()]);
  const errors = errorsLogged(horizontal);
  const { worker, pid } = await workerOf(horizontal);
  const died = new Promise((resolve) => worker.on('died', resolve));

  process.kill(pid, 'SIGKILL');
  const { message } = await within(died, 'died');

  expect(message).toBe(`[pid:${worker.pid}, code:null, signal:SIGKILL]`);
  await until(() => worker.subprocessClosed, 'subprocessclose');
  expect(errors.filter((line) => line.includes('lost'))).toEqual([]);
  horizontal.mediasoup.setLogEventListeners(undefined);
});

test.each([0, -1, 1.5, 'soon', null])('callTimeoutMs %p is refused', (callTimeoutMs) => {
  expect(() => new Horizontal([], /** @type {any} */ ({ callTimeoutMs }))).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      message: expect.stringContaining(
        "options.callTimeoutMs must be a whole number of milliseconds from 1 on, or 'infinite', got",
      ),
    }),
  );
});
