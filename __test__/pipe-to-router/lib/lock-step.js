'use strict';

const { setImmediate: turn } = require('node:timers/promises');
const { within } = require('../../../examples/lib/deadline');
const { EVENT_TIMEOUT } = require('../../support/events');

/** @import { types } from 'mediasoup-upstream' */

/** What the library asks workers with. @typedef {{ request: (...args: any[]) => Promise<any> }} Channel */

/** Numbers of mediasoup's request methods, of those that pipes need. @type {Record<number, string>} */
const METHODS = require(
  require.resolve('mediasoup-upstream').replace(/index\.js$/, 'fbs/request/method.js'),
).Method;

/**
 * Counts round trips to workers, however fast they answer: all answers are held until there is
 * nothing left to ask without them, then given at once.
 */
class LockStep {
  /** The requests of each round trip. @type {string[][]} */
  rounds = [];
  /** @type {(() => void)[]} */
  #held = [];
  #missing = 0;
  #asked = 0;
  /** @type {(() => void)[]} */
  #restore = [];

  /**
   * @param {Channel[]} channels
   */
  constructor(channels) {
    for (const channel of channels) {
      const request = channel.request;

      channel.request = (...args) => this.#ask(request.apply(channel, args), args[0]);
      this.#restore.push(() => {
        channel.request = request;
      });
    }
  }

  /**
   * @param {types.Transport[]} transports One of each worker.
   * @param {() => Promise<unknown>} run
   * @returns {Promise<string[][]>} The requests of each round trip.
   */
  static async count(transports, run) {
    const channels = transports.map(
      (transport) => /** @type {any} */ (transport).channelForTesting,
    );
    const steps = new LockStep(channels);

    try {
      await within(Promise.all([run(), turn().then(() => steps.#next())]), {
        ms: EVENT_TIMEOUT,
        what: `a call in lock-step after ${JSON.stringify(steps.rounds)}`,
      });
    } finally {
      steps.#release();
    }

    return steps.rounds;
  }

  /**
   * @param {Promise<any>} answer
   * @param {number} method
   */
  async #ask(answer, method) {
    if (this.#asked === 0) {
      this.rounds.push([]);
    }
    this.#asked++;
    this.#missing++;
    this.rounds.at(-1)?.push(METHODS[method] ?? `${method}`);

    /** @type {Promise<void>} */
    const released = new Promise((resolve) => {
      this.#held.push(resolve);
    });

    try {
      return await answer;
    } finally {
      this.#missing--;
      if (this.#missing === 0) {
        // Whatever else is asked now, without an answer, belongs to this round too.
        void turn().then(() => this.#next());
      }
      await released;
    }
  }

  #next() {
    if (this.#missing > 0) {
      return;
    }
    this.#asked = 0;

    for (const release of this.#held.splice(0)) {
      release();
    }
  }

  #release() {
    for (const restore of this.#restore) {
      restore();
    }
    this.#missing = 0;
    this.#next();
  }
}

module.exports = { LockStep };
