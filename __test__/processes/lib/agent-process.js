'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const readline = require('node:readline');
const { agentPath } = require('../../../js/native');
const { within } = require('./deadline');

/**
 * @typedef {object} Ending
 * @property {number | null} code
 * @property {NodeJS.Signals | null} signal
 * @property {string} stderr
 * @property {string} stdout
 */

/**
 * An agent as a child of the test.
 */
class AgentProcess {
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  #stdout = '';
  #stderr = '';
  /** @type {Promise<Ending>} */
  #ended;
  /** @type {Promise<Record<string, any>>} */
  #ready;

  /**
   * @param {object} [options]
   * @param {string[]} [options.args]
   * @param {NodeJS.ProcessEnv} [options.env]
   * @param {string} [options.listen] Default: a free port of 127.0.0.1.
   */
  constructor({ args = [], env = process.env, listen = '127.0.0.1:0' } = {}) {
    this.#child = spawn(agentPath, ['--listen', listen, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.#child;

    stderr?.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
    this.#ended = once(this.#child, 'close').then(([code, signal]) => ({
      code,
      signal,
      stdout: this.#stdout,
      stderr: this.#stderr,
    }));
    this.#ready = new Promise((resolve, reject) => {
      if (stdout) {
        readline.createInterface({ input: stdout }).on('line', (line) => {
          this.#stdout += `${line}\n`;
          resolve(JSON.parse(line));
        });
      }
      this.#ended.then(
        ({ stderr: said }) => reject(new Error(`the agent ended before it was ready: ${said}`)),
        reject,
      );
    });
    // Whoever waits gets the error.
    this.#ready.catch(() => {});
  }

  /**
   * Starts one and waits until it listens.
   *
   * @param {ConstructorParameters<typeof AgentProcess>[0]} [options]
   * @returns {Promise<AgentProcess>}
   */
  static async start(options) {
    const agent = new AgentProcess(options);

    await agent.ready();

    return agent;
  }

  get pid() {
    return /** @type {number} */ (this.#child.pid);
  }

  get stderr() {
    return this.#stderr;
  }

  /** What it printed when it was ready. */
  ready() {
    return within(this.#ready, 'the start of an agent');
  }

  /** @returns {Promise<string>} */
  async url() {
    return (await this.ready()).url;
  }

  ended() {
    return within(this.#ended, 'the end of an agent', 15_000);
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    this.#child.kill(signal);
  }

  /** Asks it to end and waits for that. */
  async stop() {
    this.kill('SIGTERM');

    return this.ended();
  }
}

module.exports = { AgentProcess };
