'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const readline = require('node:readline');
const { within } = require('./deadline');

/**
 * An agent of mediasoup-horizontal as a child process.
 *
 * @typedef {object} AgentReady What an agent prints, as JSON in one line, once it listens.
 * @property {'ready'} event
 * @property {string} address
 * @property {string} url
 * @property {{ version: string }[]} workers
 * @property {string} fingerprint
 */

const START_TIMEOUT = 20_000;
const STOP_TIMEOUT = 10_000;
const KILL_TIMEOUT = 2_000;
/** How much of what an agent prints is kept for error messages. */
const STDERR_LENGTH = 8_000;

class AgentProcess {
  #child;
  #stderr = '';
  #exited;

  /**
   * @param {string} cli Path of the package's command.
   * @param {object} [options]
   * @param {string[]} [options.args] More of the agent's arguments.
   * @param {NodeJS.ProcessEnv} [options.env]
   */
  constructor(cli, { args = [], env = process.env } = {}) {
    const command = [cli, 'agent', '--listen', '127.0.0.1:0', ...args];

    this.#child = spawn(process.execPath, command, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_LENGTH);
    });
    this.#exited = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }));
    // Whoever waits for it gets the error. Nobody may be waiting yet.
    this.#exited.catch(() => {});
  }

  get pid() {
    return this.#child.pid;
  }

  get running() {
    return (
      this.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
    );
  }

  /** What the agent printed last on stderr. */
  get stderr() {
    return this.#stderr.trim();
  }

  /** Resolves, with the reason, when the agent has ended. */
  get ended() {
    return this.#exited.then(
      ({ code, signal }) => (signal ? `signal ${signal}` : `exit status ${code}`),
      (error) => `it could not be started: ${error.message}`,
    );
  }

  /**
   * Waits until the agent listens.
   *
   * @param {AbortSignal} [signal]
   * @returns {Promise<AgentReady>}
   */
  async ready(signal) {
    try {
      return await within(
        Promise.race([
          this.#readReady(),
          this.ended.then((reason) => {
            throw new Error(`the agent ended before it was ready (${reason})`);
          }),
        ]),
        { ms: START_TIMEOUT, what: 'the start of an agent', signal },
      );
    } catch (error) {
      throw this.#withStderr(error);
    }
  }

  /**
   * Asks the agent to end, and waits for it.
   *
   * @returns {Promise<void>}
   */
  async stop() {
    if (this.running) {
      this.#child.kill('SIGTERM');
    }

    try {
      await within(this.ended, {
        ms: STOP_TIMEOUT,
        what: `the end of agent ${this.pid} after SIGTERM`,
      });
    } catch (error) {
      this.kill();
      await within(this.ended, {
        ms: KILL_TIMEOUT,
        what: `the end of agent ${this.pid} after SIGKILL`,
      });

      throw this.#withStderr(error);
    }

    // An agent that failed to start has no pid, and ready() has told why.
    if (this.pid !== undefined && this.#child.exitCode !== 0) {
      throw this.#withStderr(new Error(`agent ${this.pid} ended with ${await this.ended}`));
    }
  }

  kill() {
    if (this.running) {
      this.#child.kill('SIGKILL');
    }
  }

  /** @returns {Promise<AgentReady>} */
  async #readReady() {
    const lines = readline.createInterface({ input: this.#child.stdout });

    for await (const line of lines) {
      const message = parseReady(line);

      if (message) {
        // Leaving the loop pauses the stream: what comes later must not fill the pipe.
        this.#child.stdout.resume();

        return message;
      }
    }

    return new Promise(() => {}); // It has ended, which ready() hears of too.
  }

  /**
   * @param {unknown} error
   * @returns {Error}
   */
  #withStderr(error) {
    const message = error instanceof Error ? error.message : String(error);
    const text = this.stderr ? `${message}. The agent said:\n${this.stderr}` : message;

    return new Error(text, { cause: error });
  }
}

/**
 * @param {string} line
 * @returns {AgentReady | undefined}
 */
function parseReady(line) {
  try {
    const message = JSON.parse(line);

    return message?.event === 'ready' && typeof message.url === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { AgentProcess };
