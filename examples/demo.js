'use strict';

/**
 * The demo: agents as processes of their own, the app of `room.js` on top of them, and real media
 * from one agent to the others.
 *
 *   npm run demo -- --seconds 8 --agents 2
 */

const path = require('node:path');
const { AgentProcess } = require('./lib/agent-process');
const { parseCommand } = require('./lib/command-line');
const { pause, within } = require('./lib/deadline');
const { keepRunning, listDescendants } = require('./lib/process-tree');
const { findProblems, printReport } = require('./lib/report');
const { runRoom } = require('./room');

/**
 * @typedef {import('./lib/report').RoomReport} RoomReport
 * @typedef {import('./lib/process-tree').ProcessEntry} ProcessEntry
 *
 * @typedef {object} Outcome
 * @property {RoomReport} report
 * @property {string[]} problems
 */

const HELP = `Usage: npm run demo -- [options]

Starts agents as processes of their own, then an ordinary mediasoup app that produces a clip on one
of them, pipes it to the others and consumes it there. Says what arrived.

  --seconds S  How long to play. Default 8.
  --agents N   How many agents. Default 2.
  --json       Print the result as JSON in the last line.
  --help       Print this text.

The exit status is 0 if all that was sent arrived and everything was closed in order.
`;

const CLI = path.join(__dirname, '..', 'js', 'cli.js');
const CLOSE_TIMEOUT = 10_000;
const LEFTOVER_TIMEOUT = 5_000;
const LEFTOVER_INTERVAL = 50;

const startedAt = performance.now();

/** @param {string} text */
function log(text) {
  const elapsed = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(5);

  console.log(text === '' ? '' : text.replace(/^(?! )/, `${elapsed} s  `));
}

class Demo {
  #agentCount;
  #seconds;
  #stopping = new AbortController();
  /** @type {AgentProcess[]} */
  #agents = [];
  /**
   * All processes that were seen under this one.
   *
   * @type {Map<string, ProcessEntry>}
   */
  #processes = new Map();

  /**
   * @param {object} options
   * @param {number} options.agents
   * @param {number} options.seconds
   */
  constructor({ agents, seconds }) {
    this.#agentCount = agents;
    this.#seconds = seconds;
  }

  /**
   * Ends the demo early.
   *
   * @param {Error} reason
   */
  stop(reason) {
    this.#stopping.abort(reason);
  }

  /** Leaves no agent behind, whatever happened. */
  killAgents() {
    for (const agent of this.#agents) {
      agent.kill();
    }
  }

  /** @returns {Promise<Outcome>} */
  async run() {
    try {
      const urls = await this.#startAgents();
      const report = await this.#runApp(urls);
      const problems = [...findProblems(report), ...this.#findPlacementProblems(report)];

      problems.push(...(await this.#stopAgents()));

      return { report, problems };
    } finally {
      this.killAgents();
    }
  }

  /** @returns {Promise<string[]>} The agents' addresses. */
  async #startAgents() {
    log(`Starting agents: ${this.#agentCount}.`);

    for (let i = 0; i < this.#agentCount; i++) {
      this.#agents.push(new AgentProcess(CLI));
    }

    return Promise.all(
      this.#agents.map(async (agent) => {
        const { url, workers } = await agent.ready(this.#stopping.signal);
        const versions = workers.map(({ version }) => version).join(', ');

        log(`Agent ${url} is ready: process ${agent.pid}, mediasoup-worker ${versions}.`);
        this.#watch(agent, url);

        return url;
      }),
    );
  }

  /**
   * @param {AgentProcess} agent
   * @param {string} url
   */
  #watch(agent, url) {
    void agent.ended.then((reason) => {
      const said = agent.stderr ? ` It said:\n${agent.stderr}` : '';

      this.stop(new Error(`agent ${url} ended by itself (${reason}).${said}`));
    });
  }

  /**
   * @param {string[]} urls
   * @returns {Promise<RoomReport>}
   */
  async #runApp(urls) {
    const { Horizontal } = require('..');
    const horizontal = new Horizontal(urls);
    let report;

    try {
      report = await runRoom({
        mediasoup: horizontal.mediasoup,
        workers: this.#agentCount,
        seconds: this.#seconds,
        log: (text) => {
          // The room tells each step, so whatever it starts is seen while it runs.
          this.#rememberProcesses();
          log(text);
        },
        whereIs: (worker) => horizontal.whereIs(worker)?.connection ?? 'gone',
        signal: this.#stopping.signal,
      });
    } catch (error) {
      await closeHorizontal(horizontal).catch(({ message }) => log(`Closing: ${message}.`));

      throw error;
    }

    await closeHorizontal(horizontal);

    return report;
  }

  #rememberProcesses() {
    for (const entry of listDescendants(process.pid)) {
      this.#processes.set(entry.key, entry);
    }
  }

  /**
   * The point of the demo is that media goes from agent to agent.
   *
   * @param {RoomReport} report
   * @returns {string[]}
   */
  #findPlacementProblems({ producers, consumers }) {
    const used = new Set([...producers, ...consumers].map(({ agent }) => agent));

    return used.size === this.#agentCount
      ? []
      : [`The Workers are on ${used.size} of ${this.#agentCount} agents.`];
  }

  /** @returns {Promise<string[]>} What went wrong, in sentences. */
  async #stopAgents() {
    const results = await Promise.allSettled(this.#agents.map((agent) => agent.stop()));
    const problems = results.flatMap((result) =>
      result.status === 'rejected' ? [`An agent did not end well: ${result.reason.message}.`] : [],
    );

    log('Stopped all agents.');

    for (const { pid, name } of await this.#findLeftovers()) {
      problems.push(`Process ${pid} (${name}) is left.`);
    }

    return problems;
  }

  /** @returns {Promise<ProcessEntry[]>} */
  async #findLeftovers() {
    const end = performance.now() + LEFTOVER_TIMEOUT;

    for (;;) {
      this.#rememberProcesses();

      const left = keepRunning([...this.#processes.values()]);

      // Orphans of the agents are not children of ours, so no event tells of their end.
      if (left.length === 0 || performance.now() > end) {
        return left;
      }

      await pause(LEFTOVER_INTERVAL);
    }
  }
}

/** @param {{ close(): unknown }} horizontal */
async function closeHorizontal(horizontal) {
  const closed = Promise.resolve(horizontal.close());

  await within(closed, { ms: CLOSE_TIMEOUT, what: 'horizontal.close()' });
}

async function main() {
  const { numbers, flags } = parseCommand({
    help: HELP,
    numbers: {
      seconds: { default: 8, min: 1 },
      agents: { default: 2, min: 1, max: 64, integer: true },
    },
    flags: ['json'],
  });
  const { agents } = numbers;
  const demo = new Demo(numbers);
  /** @type {Record<string, unknown>} */
  let result = { agents, producers: [], consumers: [], ok: false };

  process.once('exit', () => demo.killAgents());

  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, () => demo.stop(new Error(`stopped by ${signal}`)));
  }

  try {
    const { report, problems } = await demo.run();
    const ok = problems.length === 0;

    printReport(report, problems, log);
    result = { agents, producers: report.producers, consumers: report.consumers, ok };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);

    console.error(`The demo failed: ${message}`);
    result.error = message;
  }

  process.exitCode = result.ok ? 0 : 1;

  if (flags.json) {
    console.log(JSON.stringify(result));
  }
}

void main();
