'use strict';

const { CutLink } = require('../benches/lib/link/cut-link');

/** How often every link is cut. */
const EVERY_MS = 1_000;
/** And for how long. */
const CUT_MS = 100;

/** Links to agents that are all cut again and again. */
class Cuts {
  #links;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #count = 0;

  /** @param {CutLink[]} links */
  constructor(links) {
    this.#links = links;
  }

  /**
   * @param {string[]} urls Of the agents.
   * @returns {Promise<Cuts>} Which has yet to be started.
   */
  static async open(urls) {
    return new Cuts(await Promise.all(urls.map((url) => CutLink.open(url))));
  }

  /** Where the agents are reached through the links. */
  get urls() {
    return this.#links.map(({ url }) => url);
  }

  /** How many connections were cut. */
  get count() {
    return this.#count;
  }

  start() {
    this.#timer = setTimeout(() => this.#cut(), EVERY_MS - CUT_MS);
  }

  close() {
    clearTimeout(this.#timer);

    for (const link of this.#links) {
      link.close();
    }
  }

  #cut() {
    for (const link of this.#links) {
      this.#count += link.connections;
      link.down();
    }
    this.#timer = setTimeout(() => {
      for (const link of this.#links) {
        link.up();
      }
      this.start();
    }, CUT_MS);
  }
}

module.exports = { Cuts };
