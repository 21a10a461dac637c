'use strict';

const path = require('node:path');
const { AgentProcess } = require('./agent-process');
const { pause, within } = require('./deadline');
const { keepRunning, listDescendants } = require('./process-tree');

/**
 * @typedef {import('./process-tree').ProcessEntry} ProcessEntry
 * @typedef {import('../..').Horizontal} Horizontal
 *
 * @typedef {object} Agent
 * @property {string} url
 * @property {number} pid Of the process above the agent's own and its workers.
 */

const CLI = path.join(__dirname, '..', '..', 'js', 'cli.js');
const CLOSE_TIMEOUT = 10_000;
const LEFTOVER_TIMEOUT = 5_000;
const LEFTOVER_INTERVAL = 50;

/**
 * What a demo plays on: agents as processes of their own, and proof that nothing is left of them.
 */
class Stage {
  #agentCount;
  #log;
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
   * @param {(text: string) => void} options.log
   */
  constructor({ agents, log }) {
    this.#agentCount = agents;
    this.#log = log;
  }

  /** Aborted when the demo is to end early. */
  get signal() {
    return this.#stopping.signal;
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

  /** @returns {Promise<Agent[]>} */
  async open() {
    this.#log(`Starting agents: ${this.#agentCount}.`);

    for (let i = 0; i < this.#agentCount; i++) {
      this.#agents.push(new AgentProcess(CLI));
    }

    return Promise.all(
      this.#agents.map(async (agent) => {
        const { url, workers } = await agent.ready(this.#stopping.signal);
        const versions = workers.map(({ version }) => version).join(', ');

        this.#log(`Agent ${url} is ready: process ${agent.pid}, mediasoup-worker ${versions}.`);
        this.#watch(agent, url);

        return { url, pid: /** @type {number} */ (agent.pid) };
      }),
    );
  }

  /**
   * @template T
   * @param {Horizontal} horizontal Closed afterwards.
   * @param {() => Promise<T>} play
   * @returns {Promise<T>}
   */
  async play(horizontal, play) {
    let report;

    try {
      report = await play();
    } catch (error) {
      await closeHorizontal(horizontal).catch(({ message }) => this.#log(`Closing: ${message}.`));

      throw error;
    }

    await closeHorizontal(horizontal);

    return report;
  }

  /** Whatever was started runs now: notes it. */
  rememberProcesses() {
    for (const entry of listDescendants(process.pid)) {
      this.#processes.set(entry.key, entry);
    }
  }

  /** @returns {Promise<string[]>} What went wrong, in sentences. */
  async close() {
    const results = await Promise.allSettled(this.#agents.map((agent) => agent.stop()));
    const problems = results.flatMap((result) =>
      result.status === 'rejected' ? [`An agent did not end well: ${result.reason.message}.`] : [],
    );

    this.#log('Stopped all agents.');

    for (const { pid, name } of await this.#findLeftovers()) {
      problems.push(`Process ${pid} (${name}) is left.`);
    }

    return problems;
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

  /** @returns {Promise<ProcessEntry[]>} */
  async #findLeftovers() {
    const end = performance.now() + LEFTOVER_TIMEOUT;

    for (;;) {
      this.rememberProcesses();

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

module.exports = { Stage };
