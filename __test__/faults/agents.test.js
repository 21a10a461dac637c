'use strict';

const { Horizontal, RemoteConnection } = require('../..');
const { AgentProcess } = require('../processes/lib/agent-process');
const { until, within } = require('../processes/lib/deadline');
const { FaultyLink } = require('./lib/faulty-link');

/** @import { Worker } from 'mediasoup-upstream/types' */
/** @import { RemoteConnectionOptions } from '../..' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const SESSION_TIMEOUT_MS = 1_500;
const CONNECT_TIMEOUT_MS = 1_000;

/** @type {AgentProcess[]} */
let agents;
/** @type {FaultyLink} */
let link;
/** All of them. @type {FaultyLink[]} */
let links;
/** @type {Horizontal} */
let horizontal;
/** @type {Worker} */
let worker;
/** What the app hears of its Worker. @type {string[]} */
let events;
/** What mediasoup logs. @type {string[]} */
let errors;

beforeEach(() => {
  [agents, links, events, errors] = [[], [], [], []];
});

afterEach(async () => {
  horizontal.mediasoup.setLogEventListeners(undefined);
  horizontal.close();
  links.forEach((one) => void one.close());
  for (const agent of agents) {
    agent.kill('SIGKILL');
    await agent.ended();
  }
});

/** @param {string} [listen] */
async function startAgent(listen) {
  const agent = await AgentProcess.start({ listen, args: ['--max-workers', '4'] });

  agents.push(agent);

  return agent;
}

/** @param {AgentProcess} agent */
async function openLink(agent) {
  const opened = await FaultyLink.at(await agent.url());

  links.push(opened);

  return opened;
}

/** @param {Partial<RemoteConnectionOptions>} options */
async function open(options) {
  const agent = await startAgent();

  link = await openLink(agent);
  horizontal = new Horizontal([new RemoteConnection({ url: link.url, ...options })]);
  horizontal.mediasoup.setLogEventListeners({
    onerror: (_namespace, log) => errors.push(log),
  });
  worker = await within(horizontal.mediasoup.createWorker(), 'createWorker');
  worker.on('died', () => events.push('died'));
  worker.on('subprocessclose', () => events.push('subprocessclose'));

  return agent;
}

const died = () => until(() => events.includes('subprocessclose'), 'died');

test('a link stays away for too long: `died`, and the text names the agent and the cause', async () => {
  await open({ sessionTimeoutMs: SESSION_TIMEOUT_MS });
  link.down();
  await died();
  expect(events).toEqual(['died', 'subprocessclose']);

  const text = errors.find((line) => line.includes('the worker is lost'));

  expect(text).toContain(link.url);
  expect(text).toContain('reset');
  expect(text).toContain('did not come back within 1.5s (session timeout)');
});

test('the agent was killed behind a proxy: `died` at the session timeout, since a refusal proves nothing', async () => {
  const agent = await open({ sessionTimeoutMs: SESSION_TIMEOUT_MS });
  const began = performance.now();

  agent.kill('SIGKILL');
  await agent.ended();
  await died();
  expect(performance.now() - began).toBeGreaterThanOrEqual(SESSION_TIMEOUT_MS);
});

test('the agent was restarted: `died` at the first new link, and the next createWorker() is served', async () => {
  const first = await open({ sessionTimeoutMs: 'infinite' });
  const { address } = await first.ready();

  link.down();
  first.kill('SIGKILL');
  await first.ended();
  await startAgent(address);
  expect(events).toEqual([]);
  link.up();
  await died();

  const next = await within(horizontal.mediasoup.createWorker(), 'createWorker');

  expect((await next.dump()).pid).toBe(next.pid);
  expect(errors.some((line) => line.includes('it has lost the session'))).toBe(true);
});

test('createWorker() while no agent can be reached: waits, then an Error that names each and why', async () => {
  const [silent, refusing] = [await startAgent(), await startAgent()];

  link = await openLink(silent);
  link.hold();
  const gone = await openLink(refusing);

  gone.down();
  horizontal = new Horizontal([link.url, gone.url], { connectTimeoutMs: CONNECT_TIMEOUT_MS });
  const began = performance.now();
  const error = await within(
    horizontal.mediasoup.createWorker().then(
      () => undefined,
      (reason) => reason,
    ),
    'a rejection',
  );

  expect(performance.now() - began).toBeGreaterThanOrEqual(CONNECT_TIMEOUT_MS);
  expect(error).toBeInstanceOf(Error);
  expect(error.message).toContain(`${link.url}: no`);
  expect(error.message).toContain(gone.url);
  expect(error.message).toContain('reset');
});
