'use strict';

/** @import { Random } from '../../support/random' */

/**
 * What a way does to what goes over it.
 *
 * @typedef {object} Impairment
 * @property {number} [delayMs]
 * @property {number} [jitterMs] Up to so much more or less than the delay.
 * @property {number} [lossRate] Of datagrams: 1 is a black hole.
 * @property {number} [bytesPerSecond]
 */

/** A router's queue: datagrams that would wait longer for a narrow way are lost. */
const QUEUE_MS = 500;

/** One direction between two ends, with chances that a seed repeats. */
class Way {
  #random;
  /** @type {Impairment} */
  #impairment = {};
  /** When a narrow way has carried all that it was given. */
  #freeAt = 0;
  #newestAt = 0;

  passed = 0;
  lost = 0;

  /** @param {Random} random */
  constructor(random) {
    this.#random = random;
  }

  /** @param {Impairment} impairment Instead of what was so far. */
  set(impairment) {
    this.#impairment = impairment;
  }

  /**
   * A piece of a stream: late, but never lost or overtaken.
   *
   * @param {number} size
   * @param {number} now
   * @returns {number} When it comes out.
   */
  carry(size, now) {
    this.passed += 1;
    this.#newestAt = Math.max(this.#newestAt, this.#transmit(size, now) + this.#latency());

    return this.#newestAt;
  }

  /**
   * A datagram: may be lost, and overtaken.
   *
   * @param {number} size
   * @param {number} now
   * @returns {number | undefined} When it comes out, if it does.
   */
  toss(size, now) {
    const { lossRate = 0 } = this.#impairment;
    // Drawn each time, so that the same datagrams are lost whatever else is set.
    const chance = this.#random.next();
    const latency = this.#latency();

    if (chance < lossRate || this.#freeAt - now > QUEUE_MS) {
      this.lost += 1;

      return undefined;
    }
    this.passed += 1;

    return this.#transmit(size, now) + latency;
  }

  /**
   * @param {number} size
   * @param {number} now
   */
  #transmit(size, now) {
    const { bytesPerSecond = Number.POSITIVE_INFINITY } = this.#impairment;

    this.#freeAt = Math.max(this.#freeAt, now) + (size * 1_000) / bytesPerSecond;

    return this.#freeAt;
  }

  #latency() {
    const { delayMs = 0, jitterMs = 0 } = this.#impairment;

    return Math.max(0, delayMs + jitterMs * (2 * this.#random.next() - 1));
  }
}

module.exports = { Way };
