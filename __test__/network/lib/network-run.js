'use strict';

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const readline = require('node:readline');
const { within } = require('../../../examples/lib/deadline');
const { RESULTS_FD } = require('./inside');

/** @import { Result } from './results-reporter' */

const STOP_TIMEOUT = 10_000;
const PROBE_TIMEOUT = 10_000;
const OUTPUT_LENGTH = 20_000;

/**
 * One test file, run among hosts of its own.
 */
class NetworkRun {
  #file;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;
  /** @type {Promise<string>} */
  #ended = Promise.resolve('it was never started');
  /** @type {Map<string, PromiseWithResolvers<Result>>} */
  #results = new Map();
  #output = '';

  /** @param {string} file */
  constructor(file) {
    this.#file = file;
  }

  start() {
    const unshare = unshareArgs();

    checkMeans(unshare);

    const args = [...unshare, process.execPath, require.resolve('./world'), this.#file];
    const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    const results = /** @type {import('node:stream').Readable} */ (child.stdio[RESULTS_FD]);
    const lines = readline.createInterface({ input: results });

    this.#child = child;
    lines.on('line', (line) => this.#take(JSON.parse(line)));

    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        this.#output = (this.#output + text).slice(-OUTPUT_LENGTH);
      });
    }

    this.#ended = once(child, 'close').then(
      ([code, signal]) => (signal ? `signal ${signal}` : `exit status ${code}`),
      (error) => error.message,
    );
    void this.#ended.then((reason) => this.#failRest(reason));
  }

  /**
   * Passes or fails as the test of that name did.
   *
   * @param {string} name
   */
  async outcome(name) {
    const { status, failures } = await this.#result(name).promise;

    if (status !== 'passed') {
      const error = new Error(failures.join('\n') || `the test was ${status}`);

      // Whoever reads it looks for the place in the test, not for this one.
      error.stack = error.message;
      throw error;
    }
  }

  async stop() {
    // Its end means the end of everything in there, at once.
    this.#child?.stdin?.destroy();

    try {
      await within(this.#ended, { ms: STOP_TIMEOUT, what: 'the end of all hosts' });
    } finally {
      this.#child?.kill('SIGKILL');
    }
  }

  /** @param {Result} result */
  #take(result) {
    this.#result(result.name).resolve(result);
  }

  /** @param {string} reason */
  #failRest(reason) {
    const failure = `the run on the app's host gave no result (${reason}):\n${this.#output}`;

    this.#result = (name) => {
      const failed = Promise.withResolvers();

      failed.resolve({ name, status: 'failed', failures: [failure] });

      return failed;
    };
  }

  /** @param {string} name */
  #result(name) {
    const result = this.#results.get(name) ?? Promise.withResolvers();

    this.#results.set(name, result);

    return result;
  }
}

module.exports = { NetworkRun };
