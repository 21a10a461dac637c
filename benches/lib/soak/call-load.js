'use strict';

const { within } = require('../../../examples/lib/deadline');
const { TRANSPORT_OPTIONS } = require('../options');
const { Pacer } = require('./pacer');

/** @import { Router } from 'mediasoup-upstream/types' */

/** A WebRtcTransport is created, dumped and closed. */
const CALLS_A_ROUND = 3;
/** Longer than any number of cuts may keep an answer. */
const CALL_MS = 60_000;
/** How many errors are kept. */
const ERRORS = 10;

/** Calls at an even rate, on each Router in turn. */
class CallLoad {
  #routers;
  #pacer = new Pacer(() => void this.#round());
  #next = 0;
  #inFlight = 0;
  /** @type {(() => void)[]} */
  #waiting = [];

  made = 0;
  failed = 0;
  longestMs = 0;
  /** The first ones. @type {string[]} */
  errors = [];

  /** @param {Router[]} routers */
  constructor(routers) {
    this.#routers = routers;
  }

  /** How many have no answer yet. */
  get waiting() {
    return this.#inFlight;
  }

  /** @param {number} rate Calls a second. */
  start(rate) {
    this.#pacer.start(rate / CALLS_A_ROUND);
  }

  /** Makes no further ones, and waits for the answers. */
  async stop() {
    this.#pacer.stop();
    if (this.#inFlight > 0) {
      await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    }
  }

  async #round() {
    const router = /** @type {Router} */ (this.#routers[this.#next++ % this.#routers.length]);

    this.#inFlight += 1;

    try {
      const transport = await this.#timed('createWebRtcTransport', () =>
        router.createWebRtcTransport(TRANSPORT_OPTIONS),
      );
      const { id } = await this.#timed('dump', () => transport.dump());

      if (id !== transport.id) {
        throw new Error(`the dump of ${transport.id} is of ${id}`);
      }
      transport.close();
      this.made += 1;
    } catch (error) {
      this.failed += 1;
      if (this.errors.length < ERRORS) {
        this.errors.push(String(error));
      }
    }

    this.#inFlight -= 1;
    if (this.#inFlight === 0) {
      this.#waiting.splice(0).forEach((resolve) => void resolve());
    }
  }

  /**
   * @template T
   * @param {string} what
   * @param {() => Promise<T>} call
   * @returns {Promise<T>}
   */
  async #timed(what, call) {
    const start = performance.now();
    const answer = await within(call(), { ms: CALL_MS, what });

    this.made += 1;
    this.longestMs = Math.max(this.longestMs, performance.now() - start);

    return answer;
  }
}

module.exports = { CallLoad };
