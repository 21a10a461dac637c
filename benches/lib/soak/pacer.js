'use strict';

const TICK_MS = 5;

/**
 * Does something at an even rate. Who is late catches up, so that as much is done as was due.
 */
class Pacer {
  #step;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #rate = 0;
  #startedAt = 0;
  #done = 0;

  /** @param {() => void} step */
  constructor(step) {
    this.#step = step;
  }

  /** @param {number} rate Steps a second. */
  start(rate) {
    this.stop();
    this.#rate = rate;
    this.#startedAt = performance.now();
    this.#done = 0;
    this.#timer = setInterval(() => this.#catchUp(), TICK_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  #catchUp() {
    const due = ((performance.now() - this.#startedAt) * this.#rate) / 1_000;

    for (; this.#done < due; this.#done++) {
      this.#step();
    }
  }
}

module.exports = { Pacer };
