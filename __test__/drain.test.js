'use strict';

/**
 * Agents that drain, as their operators and an app with rooms on them see it.
 */

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { Horizontal } = require('..');
const { AgentProcess } = require('./processes/lib/agent-process');
const { until, within } = require('./processes/lib/deadline');

/** @import { Worker } from 'mediasoup-upstream/types' */
/** @import { HorizontalOptions } from '../js/horizontal' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(120_000);

const CLI = path.join(__dirname, '..', 'js', 'cli.js');
const START_MS = 20_000;

/** @type {import('mediasoup-upstream/types').PlainTransportOptions} */
const PLAIN = { listenInfo: { protocol: 'udp', ip: '127.0.0.1' } };

/** @type {string} */
let folder;
/** @type {Agent[]} */
let agents;
/** @type {Horizontal | undefined} */
let horizontal;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mh-drain-'));
  agents = [];
});

afterEach(async () => {
  horizontal?.close();
  horizontal = undefined;
  for (const agent of agents) {
    await agent.end();
  }
  expect(fs.readdirSync(folder)).toEqual([]);
  fs.rmdirSync(folder);
});

/** Waits for no child of ours to say something in vain. */
class Command {
  /** @type {Record<string, any>[]} */
  lines = [];
  #child;
  #stderr = '';
  #heard;

  /** @param {string[]} args */
  constructor(args) {
    this.#child = spawn(process.execPath, [CLI, 'agent', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
    this.#heard = readline.createInterface({ input: this.#child.stdout });
    this.#heard.on('line', (line) => this.lines.push(JSON.parse(line)));
    this.ended = once(this.#child, 'close').then(([status]) => ({
      status,
      stderr: this.#stderr,
      events: this.lines.map(({ event }) => event),
    }));
  }

  /** Waits for its first line. */
  async begun() {
    await until(() => this.lines.length > 0, 'what it says first', START_MS);
  }

  end() {
    return within(this.ended, 'the end of a command', START_MS);
  }
}

/** An agent with an admin socket of the test's own. */
class Agent {
  #process;
  /** @type {ReturnType<AgentProcess['ended']> | undefined} */
  #ended;

  /**
   * @param {AgentProcess} agent
   * @param {string} url
   * @param {string} socket
   */
  constructor(agent, url, socket) {
    this.#process = agent;
    this.url = url;
    this.socket = socket;
  }

  /** @param {{ args?: string[], listen?: string }} [options] */
  static async start({ args = [], listen } = {}) {
    const socket = path.join(folder, `admin-${agents.length}`);
    const agent = await AgentProcess.start({
      listen,
      args: ['--max-workers', '4', '--admin-socket', socket, ...args],
    });
    const { url, adminSocket } = await agent.ready();

    expect(adminSocket).toBe(socket);
    agents.push(new Agent(agent, url, socket));

    return /** @type {Agent} */ (agents.at(-1));
  }

  /** @param {string[]} args */
  drain(...args) {
    return new Command(['drain', '--admin-socket', this.socket, ...args]);
  }

  async status() {
    const command = new Command(['status', '--json', '--admin-socket', this.socket]);

    expect(await command.end()).toMatchObject({ status: 0, stderr: '' });

    return /** @type {Record<string, any>} */ (command.lines[0]);
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    this.#process.kill(signal);
  }

  ended() {
    this.#ended ??= this.#process.ended();

    return this.#ended;
  }

  async end() {
    if (!this.#ended) {
      this.kill('SIGINT');
    }
    await this.ended();
  }
}

/**
 * @param {HorizontalOptions} [options]
 */
function open(options) {
  horizontal = new Horizontal(
    agents.map(({ url }) => url),
    options,
  );

  return horizontal;
}

/** @param {Horizontal} on */
function createWorker(on) {
  return within(on.mediasoup.createWorker(), 'a Worker', START_MS);
}

/**
 * @param {Horizontal} on
 * @param {Worker} worker
 */
function homeOf(on, worker) {
  const url = on.whereIs(worker)?.connection;

  return /** @type {Agent} */ (agents.find((agent) => agent.url === url));
}

/** @param {Worker} worker */
function createTransport(worker) {
  return within(
    worker.createRouter().then((router) => router.createPlainTransport(PLAIN)),
    'a transport',
    START_MS,
  );
}

test('an agent that drains keeps its Worker, gets no other, and ends with it', async () => {
  await Agent.start();
  await Agent.start();
  const app = open();
  const worker = await createWorker(app);
  const home = homeOf(app, worker);
  const drain = home.drain();

  await drain.begun();
  expect(drain.lines[0]).toMatchObject({
    event: 'draining',
    workers: 1,
    draining: { exit: true, leftMs: null },
    sessions: [{ linked: true, workers: [{ pid: expect.any(Number) }] }],
  });

  for (let count = 0; count < 3; count += 1) {
    expect(homeOf(app, await createWorker(app))).not.toBe(home);
  }
  await createTransport(worker);
  expect(worker.closed).toBe(false);
  worker.close();
  expect(await drain.end()).toMatchObject({ status: 0, stderr: '' });
  expect(drain.lines.at(-1)).toMatchObject({ event: 'drained', workers: 0 });
  expect(await home.ended()).toMatchObject({ code: 0, signal: null });
});

test('the part of a Router on a draining agent goes with its last transport there', async () => {
  await Agent.start();
  await Agent.start();
  const app = open({ placement: 'scatter', maxParts: 2 });
  const worker = await createWorker(app);
  const router = await worker.createRouter();
  const home = homeOf(app, worker);
  const other = /** @type {Agent} */ (agents.find((agent) => agent !== home));
  const transport = () => within(router.createPlainTransport(PLAIN), 'a transport', START_MS);
  // In turn: the first one leaves home.
  const first = await transport();
  const second = await transport();
  const drain = other.drain();

  await drain.begun();
  expect(drain.lines[0]).toMatchObject({ event: 'draining', workers: 1 });
  const later = [await transport(), await transport(), await transport()];

  expect((await other.status()).workers).toBe(1);
  first.close();
  expect(await drain.end()).toMatchObject({ status: 0 });
  expect(await other.ended()).toMatchObject({ code: 0 });

  const { transportIds } = await router.dump();

  expect(transportIds.sort()).toEqual([second, ...later].map(({ id }) => id).sort());
  expect(worker.closed).toBe(false);
  await transport();
});

test('a drain can be taken back', async () => {
  const agent = await Agent.start();
  const app = open();
  const worker = await createWorker(app);
  const drain = agent.drain();

  await drain.begun();
  await expect(createWorker(app)).rejects.toThrow(
    `every host drains and takes no new Worker (${agent.url})`,
  );
  const cancel = agent.drain('--cancel');

  expect(await cancel.end()).toMatchObject({ status: 0, events: ['cancelled'] });
  expect((await drain.end()).status).toBe(4);
  expect(await agent.status()).toMatchObject({ state: 'running', draining: null });
  await createWorker(app);
  expect(worker.closed).toBe(false);
});

test('at the deadline the agent ends, and what is left with it', async () => {
  const agent = await Agent.start();
  const app = open();
  const worker = await createWorker(app);
  const died = once(worker, 'died');
  const drain = agent.drain('--timeout', '0.2');

  expect((await drain.end()).status).toBe(3);
  expect(drain.lines.at(-1)).toMatchObject({ event: 'deadline', workers: 1 });
  expect(await agent.ended()).toMatchObject({ code: 0 });
  await within(died, 'died');
});

test('one that is told not to ends neither when it is empty nor at the deadline', async () => {
  const agent = await Agent.start();

  expect(await agent.drain('--no-exit').end()).toMatchObject({ status: 0, events: ['drained'] });
  const app = open();

  await expect(createWorker(app)).rejects.toThrow('every host drains');
  expect((await agent.drain('--cancel').end()).status).toBe(0);
  const worker = await createWorker(app);
  const drain = agent.drain('--no-exit', '--timeout', '0.1');

  expect((await drain.end()).status).toBe(3);
  expect(await agent.status()).toMatchObject({ state: 'draining', draining: { leftMs: 0 } });
  expect(worker.closed).toBe(false);
});

test('a Worker that is wanted while the only agent is replaced waits for the next one', async () => {
  const agent = await Agent.start();
  const app = open();

  (await createWorker(app)).close();
  expect(await agent.drain().end()).toMatchObject({ status: 0 });
  await agent.ended();
  await until(() => app.state(agent.url) !== 'connected', 'the end of the session');
  const wanted = createWorker(app);

  await Agent.start({ listen: new URL(agent.url).host });
  expect(homeOf(app, await wanted).url).toBe(agent.url);
});

describe('SIGTERM, where it drains first', () => {
  /**
   * @param {string} limit
   */
  async function draining(limit) {
    const agent = await Agent.start({ args: ['--drain-on-sigterm', limit] });
    const app = open();
    const worker = await createWorker(app);

    agent.kill('SIGTERM');
    await until(async () => (await agent.status()).state === 'draining', 'a drain', START_MS);

    return { agent, worker };
  }

  test('ends the agent with its last Worker', async () => {
    const { agent, worker } = await draining('infinite');

    expect(await agent.status()).toMatchObject({ draining: { reason: 'SIGTERM', leftMs: null } });
    worker.close();
    expect(await agent.ended()).toMatchObject({ code: 0 });
  });

  test.each(/** @type {const} */ (['SIGTERM', 'SIGINT']))(
    'ends it at once when %s follows',
    async (signal) => {
      const { agent, worker } = await draining('600');
      const died = once(worker, 'died');

      agent.kill(signal);
      expect(await agent.ended()).toMatchObject({ code: 0 });
      await within(died, 'died');
    },
  );

  test('ends it at the deadline', async () => {
    const { agent, worker } = await draining('1');

    await within(once(worker, 'died'), 'died');
    expect(await agent.ended()).toMatchObject({ code: 0 });
  });
});

test('an agent is found by its port, and told apart from none', async () => {
  const agent = await AgentProcess.start();
  const { address, adminSocket } = await agent.ready();
  const port = address.split(':').at(-1);

  try {
    expect(fs.statSync(adminSocket).mode & 0o777).toBe(0o600);
    expect(fs.statSync(path.dirname(adminSocket)).mode & 0o777).toBe(0o700);
    const drain = new Command(['drain', '--listen-port', port]);

    expect(await drain.end()).toMatchObject({ status: 0, events: ['drained'] });
  } finally {
    await agent.ended();
  }
  expect(fs.existsSync(adminSocket)).toBe(false);
  const { status, stderr } = await new Command(['drain', '--listen-port', port]).end();

  expect(status).toBe(1);
  expect(stderr).toContain(`no agent of this user listens at ${adminSocket}`);
});

test('no agent takes the admin socket of another one', async () => {
  const agent = await Agent.start();
  const second = new AgentProcess({ args: ['--admin-socket', agent.socket] });

  await expect(second.ready()).rejects.toThrow(
    `the admin socket ${agent.socket} is another agent's`,
  );
  expect((await second.ended()).code).toBe(1);
  expect(await agent.status()).toMatchObject({ event: 'status', state: 'running' });
});
