'use strict';

const { spawn } = require('node:child_process');
const { EventEmitter, once } = require('node:events');
const readline = require('node:readline');
const { within } = require('../../../examples/lib/deadline');
const { RESULTS_FD } = require('./inside');
const { unshareArgs } = require('./means');

/** @import { Result } from './results-reporter' */

/** For what the file does at its end. */
const END_TIMEOUT = 20_000;
const OUTPUT_LENGTH = 20_000;

/**
 * One test file, run among hosts of its own.
 */
class NetworkRun {
  #file;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;
  /** @type {Promise<string>} */
  #ended = Promise.resolve('it was not started');
  /** Why there will be no more results. */
  #over = '';
  #output = '';
  /** @type {Map<string, Result>} */
  #results = new Map();
  #news = new EventEmitter();

  /** @param {string} file */
  constructor(file) {
    this.#file = file;
    this.#news.setMaxListeners(Number.POSITIVE_INFINITY);
  }

  start() {
    const args = [...unshareArgs(), process.execPath, require.resolve('./world'), this.#file];
    const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    const results = /** @type {import('node:stream').Readable} */ (child.stdio[RESULTS_FD]);

    this.#child = child;
    readline.createInterface({ input: results }).on('line', (line) => {
      /** @type {Result} */
      const result = JSON.parse(line);

      this.#results.set(result.name, result);
      this.#news.emit('news');
    });

    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        this.#output = (this.#output + text).slice(-OUTPUT_LENGTH);
      });
    }

    this.#ended = once(child, 'close').then(
      ([code, signal]) => (signal ? `signal ${signal}` : `exit status ${code}`),
      (error) => error.message,
    );
    void this.#ended.then((reason) => {
      this.#over = reason;
      this.#news.emit('news');
    });
  }

  /**
   * Passes or fails as the test of that name did.
   *
   * @param {string} name
   */
  async outcome(name) {
    while (!this.#results.has(name) && this.#over === '') {
      await once(this.#news, 'news');
    }

    const { status, failures } = this.#results.get(name) ?? {
      status: 'lost',
      failures: [this.#withOutput(`the app's host told no result of "${name}"`)],
    };

    if (status !== 'passed') {
      const error = new Error(failures.join('\n') || `the test was ${status}`);

      // Whoever reads it looks for the place in the test, not for this one.
      error.stack = error.message;
      throw error;
    }
  }

  /** Ends all hosts. Throws what went wrong outside of the tests. */
  async stop() {
    const child = this.#child;

    if (child === undefined) {
      return;
    }

    const allPassed = [...this.#results.values()].every(({ status }) => status === 'passed');

    try {
      // A test that failed may have left open what keeps its process alive.
      if (allPassed) {
        await within(this.#ended, { ms: END_TIMEOUT, what: `the end of ${this.#file}` });
      }
    } finally {
      // The end of its stdin ends everything in there, at once.
      child.stdin?.destroy();
      child.kill('SIGKILL');
    }

    if (allPassed && child.exitCode !== 0) {
      throw new Error(this.#withOutput('something failed outside of the tests'));
    }
  }

  /** @param {string} problem */
  #withOutput(problem) {
    return `${problem} (${this.#over}). It said:\n${this.#output.trim()}`;
  }
}

module.exports = { NetworkRun };
