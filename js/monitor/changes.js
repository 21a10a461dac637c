'use strict';

/** @import { EventEmitter } from 'node:events' */
/** @import { HorizontalChange, HorizontalStats, StatsOptions } from './types' */

/** With it a Horizontal tells every change, as the core does; without one it is closed. */
const CHANGE = '@change';

/** How many changes may wait for whoever iterates. */
const LIMIT = 10_000;

/**
 * @typedef {HorizontalChange} Change
 * @typedef {EventEmitter & {
 *   closed: boolean,
 *   stats(options: StatsOptions): Promise<HorizontalStats>,
 * }} Source
 */

/**
 * What changes on the connections of a Horizontal: first a snapshot, then each change. Where
 * changes got lost, `missed` says how many, and another snapshot follows. It listens from its making
 * until the iteration ends.
 *
 * @implements {AsyncIterableIterator<Change>}
 */
class Changes {
  /** @type {Source} */
  #source;
  /** @type {Change[]} */
  #waiting = [];
  #missed = 0;
  /** A snapshot is due. */
  #stale = true;
  #ended = false;
  /** Objects that whoever iterates knows of. */
  #known = new Set();
  /** Whoever waits for a change. */
  #wake = () => {};
  /** The steps of the iteration come one after the other. */
  #last = Promise.resolve();
  /** @param {Change} [change] */
  #listener = (change) => {
    if (!change) {
      this.#end();
    } else if (change.type === 'missed') {
      this.#lose(change.count);
    } else {
      this.#take(change);
    }
  };

  /**
   * @param {Source} source
   */
  constructor(source) {
    this.#source = source;
    source.on(CHANGE, this.#listener);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /**
   * @returns {Promise<IteratorResult<Change, undefined>>}
   */
  next() {
    const step = this.#last.then(() => this.#next());

    this.#last = step.then(
      () => {},
      () => {},
    );

    return step;
  }

  /**
   * Ends the iteration.
   *
   * @returns {Promise<IteratorReturnResult<undefined>>}
   */
  async return() {
    this.#end();

    return { done: true, value: undefined };
  }

  /**
   * @returns {Promise<IteratorResult<Change, undefined>>}
   */
  async #next() {
    for (;;) {
      if (this.#missed > 0 && !this.#ended) {
        const count = this.#missed;

        this.#missed = 0;

        return { done: false, value: { type: 'missed', count } };
      }
      if (this.#ended || this.#source.closed) {
        this.#end();

        return { done: true, value: undefined };
      }
      if (this.#stale) {
        const snapshot = await this.#snapshot();

        if (snapshot) {
          return { done: false, value: snapshot };
        }
        continue;
      }

      const change = this.#waiting.shift();

      if (change && this.#isNews(change)) {
        return { done: false, value: change };
      }
      if (!change) {
        await new Promise((resolve) => {
          this.#wake = () => resolve(undefined);
        });
      }
    }
  }

  /**
   * @returns {Promise<Change | undefined>}
   */
  async #snapshot() {
    try {
      const { objects = [], ...stats } = await this.#source.stats({ objects: true });

      // Unless changes got lost meanwhile.
      this.#stale = this.#missed > 0;
      this.#known = new Set(objects.map(nameOf));

      return { type: 'snapshot', stats: { ...stats, objects } };
    } catch (error) {
      if (this.#ended || this.#source.closed) {
        return undefined;
      }
      this.#end();
      throw error;
    }
  }

  /**
   * What came before the snapshot is in it already.
   *
   * @param {Change} change
   */
  #isNews(change) {
    if (change.type === 'newobject') {
      const name = nameOf(change);
      const news = !this.#known.has(name);

      this.#known.add(name);

      return news;
    }

    return change.type !== 'closeobject' || this.#known.delete(nameOf(change));
  }

  /**
   * @param {Change} change
   */
  #take(change) {
    if (this.#stale && this.#missed > 0) {
      // The snapshot that is due will have it.
      this.#missed += 1;
    } else if (this.#waiting.length >= LIMIT) {
      this.#lose(1);
    } else {
      this.#waiting.push(change);
    }
    this.#wake();
  }

  /**
   * @param {number} count
   */
  #lose(count) {
    this.#missed += count + this.#waiting.length;
    this.#waiting = [];
    this.#stale = true;
    this.#wake();
  }

  #end() {
    this.#ended = true;
    this.#waiting = [];
    this.#source.off(CHANGE, this.#listener);
    this.#wake();
  }
}

/**
 * @param {{ worker: number, kind: string, id: string }} object
 */
function nameOf({ worker, kind, id }) {
  return `${worker} ${kind} ${id}`;
}

module.exports = { CHANGE, Changes };
