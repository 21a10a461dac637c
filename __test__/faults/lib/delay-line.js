'use strict';

/** Does things when they are due, in the order in which they were given. */
class DelayLine {
  /** @type {{ due: number, act: () => void }[]} */
  #waiting = [];
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {number} due On the clock of `performance.now()`, not before the one given last.
   * @param {() => void} act
   */
  push(due, act) {
    this.#waiting.push({ due, act });
    if (!this.#timer) {
      this.#run();
    }
  }

  get length() {
    return this.#waiting.length;
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = [];
  }

  #run() {
    this.#timer = undefined;

    // Separate timers would ring in the order of their lengths where they are due at once.
    while (this.#waiting[0] && this.#waiting[0].due <= performance.now()) {
      this.#waiting.shift()?.act();
    }
    const [next] = this.#waiting;

    if (next) {
      this.#timer = setTimeout(() => this.#run(), Math.max(0, next.due - performance.now()));
    }
  }
}

module.exports = { DelayLine };
