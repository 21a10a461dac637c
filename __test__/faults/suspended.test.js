'use strict';

const { pause } = require('../../examples/lib/deadline');
const { AppProcess } = require('../processes/lib/app-process');
const { until, within } = require('../processes/lib/deadline');
const { AGENT } = require('../processes/lib/modes');
const { Fleet } = require('../network/lib/fleet');
const { hosts } = require('../network/lib/hosts');
const { Load } = require('../../benches/lib/soak/load');
const { MEDIA_CODECS } = require('../../benches/lib/options');
const { TestAgent } = require('../support/agent');
const { FaultyLink } = require('./lib/faulty-link');

/** @import { Worker } from 'mediasoup-upstream/types' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(120_000);

const HERE = { ...hosts.app, ip: '127.0.0.1' };
const QUICK = { heartbeatMs: 200, silenceMs: 800, silentWindowMs: 500 };
/** Of the soak's rates. */
const SHARE = 0.1;
/** Longer than the session timeout of whoever sleeps, in seconds. */
const SLEEP_MS = 4_000;
const SHORT_TIMEOUT = 2;
/** An agent waits for 4 s until silence is a loss. */
const LOSS_MS = 15_000;

describe('the agent was suspended', () => {
  /** @type {Fleet | undefined} */
  let fleet;
  /** @type {Load | undefined} */
  let load;
  /** @type {FaultyLink} */
  let link;

  afterEach(async () => {
    load?.close();
    for (const { pid } of fleet?.agents ?? []) {
      process.kill(/** @type {number} */ (pid), 'SIGCONT');
    }
    await fleet?.close();
    link.close();
    [fleet, load] = [undefined, undefined];
  });

  /**
   * @param {string[]} args
   * @param {Partial<import('../..').RemoteConnectionOptions>} connection
   */
  async function open(args, connection) {
    const via = async (/** @type {TestAgent} */ { url }) => {
      link = await FaultyLink.at(url);

      return link.url;
    };

    fleet = await Fleet.open({ agents: [{ host: HERE, args, via }], connection });
    const [agent] = /** @type {[TestAgent]} */ (fleet.agents);
    const [worker] = /** @type {[Worker]} */ (await fleet.workers());
    const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });

    load = await Load.open([router]);
    load.start(SHARE);

    return { agent, worker, load, state: () => fleet?.stateOf(agent) };
  }

  /**
   * @param {TestAgent} agent
   * @param {NodeJS.Signals} signal
   */
  const kill = ({ pid }, signal) => process.kill(/** @type {number} */ (pid), signal);

  test.each([
    { what: 'with a link', linked: true },
    { what: 'while it waited for one', linked: false },
  ])('$what: nothing is lost, since time that it slept does not count', async ({ linked }) => {
    // Its own session timeout passes while it sleeps.
    const { agent, worker, load, state } = await open(
      ['--session-timeout', String(SHORT_TIMEOUT)],
      { ...QUICK, sessionTimeoutMs: 'infinite' },
    );
    const { made } = load.counts.calls;

    await until(() => load.counts.calls.made > made, 'calls');
    if (!linked) {
      link.forget('agent');
      await until(() => agent.log.includes('link lost'), 'the loss of the link');
    }
    kill(agent, 'SIGSTOP');
    await Promise.all([pause(SLEEP_MS), until(() => state() === 'disconnected', 'disconnected')]);
    kill(agent, 'SIGCONT');
    await until(() => state() === 'connected', 'connected');
    const before = load.counts.calls.made;

    await until(() => load.counts.calls.made > before + 10, 'calls');
    await load.stop();
    const { calls, messages, rtp } = load.counts;

    expect(calls).toMatchObject({ failed: 0, errors: [] });
    expect(messages).toMatchObject({ arrived: messages.sent, doubled: 0, reordered: 0 });
    // The worker was not: media went on.
    expect(rtp).toMatchObject({ lost: 0, doubled: 0, reordered: 0, errors: [] });
    expect(await load.strays()).toBe(0);
    expect(worker.died).toBe(false);
  });

  test("for longer than the app's session timeout: `died`, and once awake it frees what was left", async () => {
    const { agent, worker, state } = await open([], { ...QUICK, sessionTimeoutMs: 1_500 });

    load?.close();
    kill(agent, 'SIGSTOP');
    const began = performance.now();

    await until(() => worker.died, 'died');
    expect(performance.now() - began).toBeGreaterThanOrEqual(1_500);
    kill(agent, 'SIGCONT');
    await until(() => state() === 'connected', 'connected');
    await until(() => agent.log.includes('session closed session=1'), 'the end of the session');
    const next = await within(/** @type {Fleet} */ (fleet).worker(), 'createWorker');

    expect((await next.dump()).pid).toBe(next.pid);
  });
});

describe('the app was suspended', () => {
  /** @type {TestAgent} */
  let agent;
  /** @type {FaultyLink} */
  let link;
  /** @type {AppProcess} */
  let app;

  afterEach(async () => {
    app.kill('SIGCONT');
    app.kill('SIGKILL');
    await app.ended();
    link.close();
    await agent.stop();
  });

  /**
   * @param {string[]} args Of the agent.
   * @param {NodeJS.ProcessEnv} env
   */
  async function open(args, env) {
    agent = await TestAgent.start({ args });
    link = await FaultyLink.at(agent.url);
    app = new AppProcess({
      fixture: 'numbering-app.js',
      args: [String(SHARE)],
      mode: AGENT,
      url: link.url,
      env: { ...process.env, MEDIASOUP_HORIZONTAL_TOKEN: agent.token, ...env },
    });
    await app.said('open');
    await progress();
  }

  /** What it does comes to something. */
  async function progress() {
    const last = () => app.events.filter(({ event }) => event === 'progress').at(-1);
    const before = last();

    await until(
      () => {
        app.tell('progress');
        const now = last();

        return now && now.calls > (before?.calls ?? 0) && now.messages > (before?.messages ?? 0);
      },
      () => `progress since ${JSON.stringify(before)}, heard ${JSON.stringify(app.events)}`,
    );
  }

  test.each([
    { what: 'with a link', linked: true },
    { what: 'while it waited for one', linked: false },
  ])('$what: nothing is lost, since time that it slept does not count', async ({ linked }) => {
    // Its own session timeout passes while it sleeps.
    await open([], { MEDIASOUP_HORIZONTAL_SESSION_TIMEOUT_MS: String(SHORT_TIMEOUT * 1_000) });
    if (!linked) {
      // It dials again at once, and nobody answers.
      link.hold();
      link.cut();
      await until(() => agent.log.includes('link lost'), 'the loss of the link');
    }
    app.kill('SIGSTOP');
    await Promise.all([
      pause(SLEEP_MS),
      until(() => agent.log.includes('link lost'), 'the loss of the link', LOSS_MS),
    ]);
    link.release();
    app.kill('SIGCONT');
    await progress();
    app.tell('stop');
    const { calls, messages, strays } = await app.said('counts');

    expect(calls).toMatchObject({ failed: 0, errors: [] });
    expect(messages).toMatchObject({ arrived: messages.sent, lost: 0, doubled: 0, reordered: 0 });
    expect(strays).toBe(0);
    expect(app.events.map(({ event }) => event)).not.toContain('died');
  });

  test("for longer than the agent's session timeout: the agent has forgotten it, `died`", async () => {
    await open(['--session-timeout', String(SHORT_TIMEOUT)], {
      MEDIASOUP_HORIZONTAL_SESSION_TIMEOUT_MS: 'infinite',
    });
    app.kill('SIGSTOP');
    await until(() => agent.log.includes('did not come back in time'), 'the end of it', LOSS_MS);
    app.kill('SIGCONT');
    await app.said('died');
    app.tell('again');
    expect(await app.said('again')).toMatchObject({ same: true });
  });
});
