'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const readline = require('node:readline');
const { until, within } = require('./deadline');
const { appVariables } = require('./modes');

/** @import { Mode } from './modes' */

const FIXTURES = path.join(__dirname, '..', '..', 'fixtures');

/**
 * An app in a process, and a process group, of its own. It says what happens as JSON lines.
 */
class AppProcess {
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  /** @type {Record<string, any>[]} */
  events = [];
  stderr = '';
  /** @type {Promise<{ code: number | null, signal: NodeJS.Signals | null }>} */
  #ended;

  /**
   * @param {object} options
   * @param {string} options.fixture File in the folder of fixtures.
   * @param {string[]} [options.args]
   * @param {Mode} options.mode
   * @param {string} [options.url] Of the agent.
   * @param {NodeJS.ProcessEnv} [options.env]
   */
  constructor({ fixture, args = [], mode, url, env = process.env }) {
    this.#child = spawn(process.execPath, [path.join(FIXTURES, fixture), ...args], {
      env: { ...env, ...appVariables(mode, url) },
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own, as a shell gives one to a foreground job.
      detached: true,
    });
    const { stdin, stdout, stderr } = this.#child;

    // It may be killed while we write.
    stdin?.on('error', () => {});
    stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    if (stdout) {
      readline.createInterface({ input: stdout }).on('line', (line) => {
        if (line.startsWith('{')) {
          this.events.push(JSON.parse(line));
        }
      });
    }
    this.#ended = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  get pid() {
    return /** @type {number} */ (this.#child.pid);
  }

  /**
   * @param {string} event
   * @param {number} [ms]
   * @returns {Promise<Record<string, any>>}
   */
  said(event, ms = 15_000) {
    return until(
      () => {
        const found = this.events.find((one) => one.event === event);

        if (!found && (this.#child.exitCode !== null || this.#child.signalCode !== null)) {
          throw new Error(`the app ended without saying ${event}: ${this.stderr}`);
        }

        return found;
      },
      () => `${event}, heard ${JSON.stringify(this.events)}, stderr ${this.stderr}`,
      ms,
    );
  }

  /** @param {string} line */
  tell(line) {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    this.#child.kill(signal);
  }

  /**
   * As Ctrl-C: to the whole group.
   *
   * @param {NodeJS.Signals} signal
   */
  killGroup(signal) {
    process.kill(-this.pid, signal);
  }

  /** @param {number} [ms] */
  ended(ms = 15_000) {
    return within(
      this.#ended,
      `the end of app ${this.pid}, which said ${JSON.stringify(this.events)}`,
      ms,
    );
  }
}

module.exports = { AppProcess };
