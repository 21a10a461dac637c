'use strict';

/** @import { CutLink } from '../link/cut-link' */
/** @import { Side } from '../link/tcp-proxy' */

/** Between two cuts of a link. */
const REST_MS = [1_000, 4_000];
const CUT_MS = [100, 2_500];

/**
 * How a link is cut. Held bytes come late, or are lost where a reset ends it.
 *
 * @typedef {object} Kind
 * @property {string} name
 * @property {Side[]} [hold] Whose bytes are held. Default: the connection is reset, and new ones are.
 * @property {boolean} [reset] Whether the connection is reset at the end.
 */

/** @type {Kind[]} */
const KINDS = [
  { name: 'reset' },
  { name: 'held, then reset', hold: ['controller', 'agent'], reset: true },
  { name: 'one way, from the agent, then reset', hold: ['agent'], reset: true },
  { name: 'held', hold: ['controller', 'agent'] },
  { name: 'one way, from the app, then reset', hold: ['controller'], reset: true },
  { name: 'one way, from the agent', hold: ['agent'] },
  { name: 'one way, from the app', hold: ['controller'] },
];

/** Cuts links for a while every few seconds, each at times of its own. */
class Cutter {
  #links;
  /** @type {Map<CutLink, NodeJS.Timeout>} */
  #timers = new Map();
  /** @type {Map<CutLink, Kind>} */
  #open = new Map();
  #next = 0;

  /** By kind. @type {Record<string, number>} */
  counts = Object.fromEntries(KINDS.map(({ name }) => [name, 0]));
  /** How long links were cut, all in all. */
  ms = 0;

  /** @param {CutLink[]} links */
  constructor(links) {
    this.#links = links;
  }

  get count() {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  start() {
    for (const link of this.#links) {
      this.#rest(link);
    }
  }

  /** Ends every cut. */
  stop() {
    for (const timer of this.#timers.values()) {
      clearTimeout(timer);
    }
    for (const [link, kind] of this.#open) {
      this.#mend(link, kind);
    }
  }

  /** @param {CutLink} link */
  #rest(link) {
    this.#timers.set(
      link,
      setTimeout(() => this.#cut(link), between(REST_MS)),
    );
  }

  /** @param {CutLink} link */
  #cut(link) {
    const kind = /** @type {Kind} */ (KINDS[this.#next++ % KINDS.length]);
    const ms = between(CUT_MS);

    this.counts[kind.name] = (this.counts[kind.name] ?? 0) + 1;
    this.ms += ms;
    this.#open.set(link, kind);
    if (kind.hold) {
      link.hold(kind.hold);
    } else {
      link.down();
    }
    this.#timers.set(
      link,
      setTimeout(() => {
        this.#mend(link, kind);
        this.#rest(link);
      }, ms),
    );
  }

  /**
   * @param {CutLink} link
   * @param {Kind} kind
   */
  #mend(link, { reset }) {
    this.#open.delete(link);
    if (reset) {
      link.cut();
    }
    link.release();
    link.up();
  }
}

/** @param {number[]} range */
function between([min = 0, max = 0]) {
  return min + Math.random() * (max - min);
}

module.exports = { Cutter };
