'use strict';

const { execFileSync } = require('node:child_process');
const { listDescendants } = require('../../examples/lib/process-tree');
const { Load } = require('../../benches/lib/soak/load');
const { MEDIA_CODECS } = require('../../benches/lib/options');
const { Scattered } = require('../fleet/lib/scattered');
const { Fleet } = require('../network/lib/fleet');
const { hosts } = require('../network/lib/hosts');
const { onNetwork } = require('../network/lib/on-network');
const { until, within } = require('../processes/lib/deadline');
const { eventOf } = require('../support/events');

/** @import { Router, Worker } from 'mediasoup-upstream/types' */
/** @import { Host } from '../network/lib/hosts' */
/** @import { TestAgent } from '../support/agent' */

const { afterEach, describe, test } = onNetwork(__filename);

const { agent1, agent2 } = hosts;
const SESSION_TIMEOUT_MS = 3_000;
const CONNECTION = {
  heartbeatMs: 200,
  silenceMs: 800,
  silentWindowMs: 500,
  sessionTimeoutMs: SESSION_TIMEOUT_MS,
};
/** Of the soak's rates. */
const SHARE = 0.1;
/** Of agents: shorter than the app's, so that nothing is left once that has passed. */
const AGENT_TIMEOUT = ['--session-timeout', '2'];
const COMMAND_TIMEOUT = 10_000;
const WORKER_NAME = 'mediasoup-worke';

/** @type {Host[]} */
let unplugged = [];
/** @type {(() => unknown)[]} */
let closing = [];

afterEach(async () => {
  for (const host of unplugged) {
    plugIn(host);
  }
  unplugged = [];
  for (const close of closing.toReversed()) {
    await close();
  }
  closing = [];
});

/**
 * Pulls the plug of a host: whatever it or others send is gone, without a word to anybody.
 *
 * @param {Host} host
 */
function unplug(host) {
  unplugged.push(host);
  setPlug(host, 'down');
}

/** @param {Host} host */
function plugIn(host) {
  setPlug(host, 'up');
}

/**
 * @param {Host} host
 * @param {'up' | 'down'} state
 */
function setPlug({ name }, state) {
  // The other end of the host's line is where the bridges are: with the first process here.
  const args = ['--target', '1', '--net', 'ip', 'link', 'set', `${name}-eth0`, state];

  execFileSync('nsenter', args, { timeout: COMMAND_TIMEOUT });
}

/** @param {TestAgent} agent */
function workersOf({ pid }) {
  return listDescendants(/** @type {number} */ (pid)).filter(({ name }) =>
    name.startsWith(WORKER_NAME),
  );
}

/** @param {Worker} worker */
async function openLoad(worker) {
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  const load = await Load.open([router]);

  closing.push(() => load.close());
  load.start(SHARE);

  return { router, load };
}

/** @param {Load} load */
async function expectFaultless(load) {
  await load.stop();
  const { calls, messages, rtp } = load.counts;

  expect(calls).toMatchObject({ failed: 0, errors: [] });
  expect(messages).toMatchObject({ arrived: messages.sent, lost: 0, doubled: 0, reordered: 0 });
  expect(rtp).toMatchObject({ lost: 0, doubled: 0, reordered: 0, errors: [] });
  expect(await load.strays()).toBe(0);
}

describe('the host says nothing any more', () => {
  test('`disconnected`, then `died` at the session timeout; other agents go on untouched', async () => {
    const fleet = await Fleet.open({
      agents: [agent1, agent2].map((host) => ({ host, args: AGENT_TIMEOUT })),
      connection: CONNECTION,
    });

    closing.push(() => fleet.close());
    const [near, far] = /** @type {[TestAgent, TestAgent]} */ (fleet.agents);
    const [nearWorker, farWorker] = /** @type {[Worker, Worker]} */ (await fleet.workers());
    const untouched = await openLoad(nearWorker);
    const lost = await openLoad(farWorker);
    /** @type {string[]} */
    const events = [];
    let diedAt = 0;

    nearWorker.on('died', () => events.push('the other died'));
    lost.router.on('workerclose', () => events.push('workerclose'));
    farWorker.on('died', () => {
      diedAt = performance.now();
      events.push('died');
    });
    farWorker.on('subprocessclose', () => events.push('subprocessclose'));

    const began = performance.now();

    unplug(agent2);
    await until(() => fleet.stateOf(far) === 'disconnected', 'disconnected');
    events.push('disconnected');
    const waiting = lost.router.dump().then(
      () => 'answered',
      (error) => error,
    );

    await until(() => events.includes('subprocessclose'), 'died');
    expect(events).toEqual(['disconnected', 'workerclose', 'died', 'subprocessclose']);
    expect(diedAt - began).toBeGreaterThanOrEqual(SESSION_TIMEOUT_MS);
    // A call that waited hears of it too.
    expect(await within(waiting, 'the end of a call')).toBeInstanceOf(Error);
    expect(fleet.stateOf(near)).toBe('connected');
    // The agent has freed by itself what nobody came back for.
    await until(() => workersOf(far).length === 0, 'the end of its workers');

    plugIn(agent2);
    await until(() => fleet.stateOf(far) === 'connected', 'connected');
    const next = await within(fleet.worker(), 'createWorker');

    expect(fleet.homeOf(next)).toBe(far);
    expect((await next.dump()).pid).toBe(next.pid);
    await expectFaultless(untouched.load);
    expect(events).toHaveLength(4);
  });

  test('and says something again in time: nothing is lost, doubled or reordered', async () => {
    const fleet = await Fleet.open({
      agents: [{ host: agent1 }],
      connection: { ...CONNECTION, sessionTimeoutMs: 'infinite' },
    });

    closing.push(() => fleet.close());
    const [agent] = /** @type {[TestAgent]} */ (fleet.agents);
    const [worker] = /** @type {[Worker]} */ (await fleet.workers());
    const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
    const load = await Load.open([router]);

    closing.push(() => load.close());
    // What media does meanwhile is lost for good, and no business of the link's.
    load.start(SHARE);
    unplug(agent1);
    await until(() => fleet.stateOf(agent) === 'disconnected', 'disconnected');
    plugIn(agent1);
    await until(() => fleet.stateOf(agent) === 'connected', 'connected');
    const { made } = load.counts.calls;

    await until(() => load.counts.calls.made > made + 10, 'calls');
    await load.stop();
    const { calls, messages } = load.counts;

    expect(calls).toMatchObject({ failed: 0, errors: [] });
    expect(messages).toMatchObject({ arrived: messages.sent, doubled: 0, reordered: 0 });
    expect(await load.strays()).toBe(0);
    expect(worker.died).toBe(false);
  });

  test('with a part of a Router on it: at the session timeout its Producers are closed, no more', async () => {
    const scattered = await Scattered.open([agent1, agent2], { connection: CONNECTION });

    closing.push(() => scattered.close());
    const overPipe = { overPipe: true };
    const sources = [
      await scattered.source([{ kind: 'video', mark: 1 }], overPipe),
      await scattered.source([{ kind: 'video', mark: 2 }], overPipe),
    ];
    const listeners = await scattered.listeners(2, overPipe);
    const home = scattered.home;
    const all = [...sources, ...listeners];
    const agents = scattered.agentsOf(all.map(({ transport }) => transport));
    const away = /** @type {TestAgent} */ (agents.find((agent) => agent !== home));
    const isAway = (/** @type {typeof all[0]} */ one) => agents[all.indexOf(one)] === away;
    const [host] = [agent1, agent2].filter(({ ip }) => away.url.includes(ip));
    const near = /** @type {typeof listeners[0]} */ (listeners.find((one) => !isAway(one)));
    const [kept, lost] = await Promise.all(
      [sources.find((one) => !isAway(one)), sources.find(isAway)].map((source) =>
        near.consume(/** @type {typeof sources[0]} */ (source).producer),
      ),
    );
    let closedAt = 0;

    lost?.consumer.on('producerclose', () => {
      closedAt = performance.now();
    });
    for (const source of sources) {
      source.start();
    }
    await Promise.all([kept?.hears(), lost?.hears()]);

    const began = performance.now();

    unplug(/** @type {Host} */ (host));
    await until(() => scattered.stateOf(away) === 'disconnected', 'disconnected');
    expect(lost?.consumer.closed).toBe(false);
    await eventOf(/** @type {NonNullable<typeof lost>} */ (lost).consumer, 'producerclose');
    expect(closedAt - began).toBeGreaterThanOrEqual(SESSION_TIMEOUT_MS);
    await kept?.hears(kept.payloads.length + 10);
    expect(kept?.consumer.closed).toBe(false);
    expect(kept?.order).toEqual({ lost: 0, duplicates: 0, reordered: 0 });
    expect(scattered.worker.died).toBe(false);
    plugIn(/** @type {Host} */ (host));
  });
});
