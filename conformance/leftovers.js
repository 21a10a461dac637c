'use strict';

const { pause } = require('../examples/lib/deadline');
const { keepRunning, listDescendants } = require('../examples/lib/process-tree');

/** @import { ProcessEntry } from '../examples/lib/process-tree' */

const SAMPLE_MS = 250;
const GRACE_MS = 5_000;

/** Remembers every process that was seen under this one, to prove that none is left behind. */
class Leftovers {
  /** @type {Map<string, ProcessEntry>} */
  #seen = new Map();
  #timer;

  constructor() {
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  /**
   * Ends those that are left, after some time to end by themselves.
   *
   * @returns {Promise<string[]>} One line for each.
   */
  async end() {
    clearInterval(this.#timer);
    this.#sample();
    const end = Date.now() + GRACE_MS;
    let left = keepRunning([...this.#seen.values()]);

    while (left.length > 0 && Date.now() < end) {
      await pause(SAMPLE_MS);
      left = keepRunning(left);
    }
    for (const { pid } of left) {
      kill(pid);
    }

    return left.map(({ name, pid }) => `${name} (pid ${pid}) was left running`);
  }

  #sample() {
    for (const entry of listDescendants(process.pid)) {
      this.#seen.set(entry.key, entry);
    }
  }
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}

module.exports = { Leftovers };
