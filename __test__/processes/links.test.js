'use strict';

const { setTimeout: pause } = require('node:timers/promises');
const { Horizontal, RemoteConnection } = require('../..');
const { HeldLink } = require('../support/held-link');
const { AgentProcess } = require('./lib/agent-process');
const { until, within } = require('./lib/deadline');

/** @import { types } from 'mediasoup-upstream' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const CUTS = 8;
/** Between two cuts: about a second, so that they hit different moments. */
const CUT_MS = 900;
const CALLERS = 10;
const SESSION_TIMEOUT_MS = 3_000;
/** Black holes are noticed in less than a second, for the test's sake. */
const QUICK = { heartbeatMs: 200, silenceMs: 800, silentWindowMs: 500 };

const WEBRTC = { listenInfos: [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }] };

/** @type {AgentProcess} */
let agent;
/** @type {HeldLink | undefined} */
let link;
/** @type {Horizontal | undefined} */
let horizontal;

beforeEach(async () => {
  agent = await AgentProcess.start({ args: ['--max-workers', '4', '--session-timeout', '5'] });
});

afterEach(async () => {
  horizontal?.close();
  horizontal = undefined;
  link?.close();
  link = undefined;
  agent.kill('SIGKILL');
  await agent.ended();
});

/**
 * @param {string} url
 * @param {object} [options]
 */
async function start(url, options) {
  const connection = new RemoteConnection({ url, ...options });

  horizontal = new Horizontal([connection]);

  const worker = await within(horizontal.mediasoup.createWorker(), 'createWorker');
  const deaths = /** @type {number[]} */ ([]);

  worker.on('died', () => deaths.push(Date.now()));

  return { worker, deaths, state: () => connection.state };
}

/**
 * Creates, dumps and closes until told to stop. Rejects with the first call that fails.
 *
 * @param {types.Router} router
 * @param {() => boolean} stopped
 */
async function call(router, stopped) {
  let calls = 0;

  while (!stopped()) {
    const transport = await within(router.createWebRtcTransport(WEBRTC), 'createWebRtcTransport');
    const dump = await within(transport.dump(), 'dump');

    expect(dump.id).toBe(transport.id);
    transport.close();
    calls += 3;
  }

  return calls;
}

test('no call fails and nothing dies while the link is cut again and again', async () => {
  link = await HeldLink.open(await agent.url());
  const { worker, deaths, state } = await start(link.url);
  const router = await worker.createRouter();
  let stop = false;
  const calling = Promise.all(Array.from({ length: CALLERS }, () => call(router, () => stop)));

  for (let cut = 0; cut < CUTS; cut++) {
    await Promise.race([pause(CUT_MS), calling]);
    link.cut();
  }
  await Promise.race([pause(CUT_MS), calling]);
  stop = true;
  const calls = (await calling).reduce((sum, count) => sum + count, 0);

  expect(calls).toBeGreaterThan(CUTS * CALLERS);
  expect(deaths).toEqual([]);
  expect(state()).toBe('connected');
  // Each close arrived once: nothing is left of what was made.
  expect((await router.dump()).transportIds).toEqual([]);
  process.stdout.write(`${calls} calls over ${CUTS} cuts, none failed\n`);
});

test('a killed agent is noticed at once', async () => {
  const { worker, deaths } = await start(await agent.url(), { sessionTimeoutMs: 'infinite' });
  const began = Date.now();

  agent.kill('SIGKILL');
  await until(() => worker.died && worker.subprocessClosed, 'died');
  process.stdout.write(`died ${/** @type {number} */ (deaths[0]) - began} ms after SIGKILL\n`);
});

test('a host that vanishes is told, and lost at the session timeout but not before', async () => {
  link = await HeldLink.open(await agent.url());
  const options = { ...QUICK, sessionTimeoutMs: SESSION_TIMEOUT_MS };
  const { worker, deaths, state } = await start(link.url, options);
  const router = await worker.createRouter();
  const began = Date.now();

  link.hold();
  const waiting = router.createWebRtcTransport(WEBRTC).catch((error) => error);

  await until(() => state() === 'disconnected', 'disconnected');
  expect(deaths).toEqual([]);
  await until(() => worker.subprocessClosed, 'died');
  expect(deaths).toHaveLength(1);
  expect(/** @type {number} */ (deaths[0]) - began).toBeGreaterThanOrEqual(SESSION_TIMEOUT_MS);
  // A call that waited hears of it too.
  expect(await within(waiting, 'the end of a call')).toBeInstanceOf(Error);
});

test('a host that is back in time was never away', async () => {
  link = await HeldLink.open(await agent.url());
  const { worker, deaths, state } = await start(link.url, QUICK);
  const router = await worker.createRouter();

  link.hold();
  const waiting = router.createWebRtcTransport(WEBRTC);

  await until(() => state() === 'disconnected', 'disconnected');
  // A Worker that is wanted meanwhile waits as well.
  const second = /** @type {Horizontal} */ (horizontal).mediasoup.createWorker();

  link.release();
  const transport = await within(waiting, 'a call');

  expect(state()).toBe('connected');
  expect((await router.dump()).transportIds).toEqual([transport.id]);
  expect((await (await within(second, 'createWorker')).dump()).pid).toBeGreaterThan(0);
  expect(deaths).toEqual([]);
});

test('wrong times are refused in words', () => {
  const url = 'ws://127.0.0.1:4480';

  for (const options of [
    { sessionTimeoutMs: -1 },
    { sessionTimeoutMs: 'forever' },
    { silentWindowMs: 1.5 },
    { heartbeatMs: 0 },
    { silenceMs: '5' },
    { fastDeath: 1 },
  ]) {
    const [name] = Object.keys(options);

    expect(() => new RemoteConnection(/** @type {any} */ ({ url, ...options }))).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.stringContaining(`${name}`) }),
    );
  }
  expect(() => new Horizontal([new RemoteConnection({ url, silenceMs: 1_000 })])).toThrow(
    'silenceMs 1000 must be longer than heartbeatMs 1000',
  );
});
