'use strict';

const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { within } = require('../../examples/lib/deadline');
const { agentPath } = require('../../js/native');

const START_TIMEOUT = 20_000;
const STOP_TIMEOUT = 15_000;
const LOG_LENGTH = 10_000;

/**
 * @typedef {object} AgentStart
 * @property {string} [listen] Default: a free port on loopback.
 * @property {string[]} [args] More of its arguments.
 * @property {string} [token] Default: one of its own.
 * @property {string[]} [within] A command that runs another one, such as `ip netns exec NAME`.
 */

/**
 * An agent as a child process, with a token of its own.
 */
class TestAgent {
  #child;
  #folder;
  #log = '';
  #ended;

  /**
   * Use `TestAgent.start()`.
   *
   * @param {AgentStart} options
   */
  constructor({ listen = '127.0.0.1:0', args = [], token, within: outer = [] }) {
    this.token = token ?? randomBytes(24).toString('hex');
    this.url = '';
    this.#folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mh-agent-'));

    const tokenFile = path.join(this.#folder, 'token');

    fs.writeFileSync(tokenFile, `${this.token}\n`, { mode: 0o600 });

    const own = ['--exit-with-stdin', '--listen', listen, '--token-file', tokenFile];
    const [command, ...rest] = /** @type {[string, ...string[]]} */ ([
      ...outer,
      agentPath,
      ...own,
      ...args,
    ]);

    this.#child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
    // It need not read what is never written.
    this.#child.stdin.on('error', () => {});
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#log = (this.#log + text).slice(-LOG_LENGTH);
    });
    this.#ended = once(this.#child, 'close').then(
      ([code, signal]) => (signal ? `signal ${signal}` : `exit status ${code}`),
      (error) => error.message,
    );
  }

  /**
   * Starts an agent and waits until it listens.
   *
   * @param {AgentStart} [options]
   * @returns {Promise<TestAgent>}
   */
  static async start(options = {}) {
    const agent = new TestAgent(options);

    try {
      await agent.#ready();
    } catch (error) {
      agent.kill();
      throw error;
    }

    return agent;
  }

  get pid() {
    return this.#child.pid;
  }

  /** What it wrote to stderr last. */
  get log() {
    return this.#log;
  }

  /** Resolves with the reason once it has ended. */
  get ended() {
    return this.#ended;
  }

  /** Asks it to end and waits until it has, with all its workers. */
  async stop() {
    this.#child.kill('SIGTERM');

    const reason = await this.#within(this.#ended, STOP_TIMEOUT, 'the end of an agent');

    this.#removeFolder();

    if (reason !== 'exit status 0') {
      throw this.#withLog(`an agent ended badly (${reason})`);
    }
  }

  kill() {
    this.#child.kill('SIGKILL');
    this.#removeFolder();
  }

  async #ready() {
    const lines = readline.createInterface({ input: this.#child.stdout });
    const first = once(lines, 'line').then(([line]) => line);
    const early = this.#ended.then((reason) => {
      throw this.#withLog(`an agent ended before it was ready (${reason})`);
    });

    early.catch(() => {});
    this.url = JSON.parse(
      await this.#within(Promise.race([first, early]), START_TIMEOUT, 'the start of an agent'),
    ).url;
  }

  /**
   * @template T
   * @param {Promise<T>} promise
   * @param {number} ms
   * @param {string} what
   * @returns {Promise<T>}
   */
  #within(promise, ms, what) {
    return within(promise, { ms, what: `${what}, process ${this.pid}` });
  }

  /** @param {string} problem */
  #withLog(problem) {
    return new Error(`${problem}. It said:\n${this.#log.trim()}`);
  }

  #removeFolder() {
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}

module.exports = { TestAgent };
