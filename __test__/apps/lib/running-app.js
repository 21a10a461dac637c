'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const readline = require('node:readline');
const { within } = require('../../../examples/lib/deadline');
const { AppFolder } = require('./app-folder');

/** @import { Place } from './places' */

const START_TIMEOUT = 20_000;
const STOP_TIMEOUT = 15_000;
const LOG_LENGTH = 10_000;

/**
 * One of the apps as a process, in a folder of its own.
 */
class RunningApp {
  #child;
  #folder;
  #log = '';
  #ended;

  /**
   * Use `RunningApp.start()`.
   *
   * @param {string} file
   * @param {Place} place
   * @param {NodeJS.ProcessEnv} env
   */
  constructor(file, place, env) {
    this.#folder = new AppFolder(place.package);
    this.#child = spawn(process.execPath, [path.join(this.#folder.path, file)], {
      cwd: this.#folder.path,
      env: { ...process.env, ...place.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdin.on('error', () => {});
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#log = (this.#log + text).slice(-LOG_LENGTH);
    });
    this.#ended = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /**
   * Starts an app and waits until it listens.
   *
   * @param {string} file
   * @param {Place} place
   * @param {NodeJS.ProcessEnv} [env]
   * @returns {Promise<RunningApp>}
   */
  static async start(file, place, env = {}) {
    const app = new RunningApp(file, place, env);

    try {
      await app.#ready();
    } catch (error) {
      app.kill();
      throw error;
    }

    return app;
  }

  port = 0;

  /** What it wrote to stderr last. */
  get log() {
    return this.#log;
  }

  get ended() {
    return this.#ended;
  }

  /** Lets it end by itself, which takes its Workers along. */
  async stop() {
    this.#child.stdin.end();
    try {
      return await within(this.#ended, { ms: STOP_TIMEOUT, what: 'the end of an app' });
    } finally {
      this.kill();
    }
  }

  kill() {
    this.#child.kill('SIGKILL');
    this.#folder.remove();
  }

  async #ready() {
    const line = once(readline.createInterface({ input: this.#child.stdout }), 'line');
    const early = this.#ended.then(({ code, signal }) => {
      throw new Error(`the app ended with ${code ?? signal} before it listened: ${this.#log}`);
    });

    early.catch(() => {});
    const [text] = await within(Promise.race([line, early]), {
      ms: START_TIMEOUT,
      what: `the start of an app, which said: ${this.#log}`,
    });

    this.port = JSON.parse(text).port;
  }
}

module.exports = { RunningApp };
