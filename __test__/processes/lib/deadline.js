'use strict';

const { setTimeout: pause } = require('node:timers/promises');

/** Between two looks at what has no event. */
const LOOK_MS = 10;

/** What an event on this host may take, on a busy machine. */
const SOON = 10_000;

/**
 * @template T
 * @param {Promise<T> | T} promise
 * @param {string} what
 * @param {number} [ms]
 * @returns {Promise<T>}
 */
async function within(promise, what, ms = SOON) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(`${what} took more than ${ms} ms`);

    timer = setTimeout(() => reject(error), ms);
  });

  try {
    return await /** @type {Promise<T>} */ (Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @template T
 * @typedef {Exclude<T, undefined | null | false | 0 | ''>} Found
 */

/**
 * Looks until something is there, for what tells nobody when it changes, such as `/proc`.
 *
 * @template T
 * @param {() => T | Promise<T>} look
 * @param {string | (() => string)} what
 * @param {number} [ms]
 * @returns {Promise<Found<T>>}
 */
async function until(look, what, ms = SOON) {
  const end = Date.now() + ms;

  for (;;) {
    const found = await look();

    if (found) {
      return /** @type {Found<T>} */ (found);
    }
    if (Date.now() > end) {
      throw new Error(`${typeof what === 'string' ? what : what()}: not within ${ms} ms`);
    }
    await pause(LOOK_MS);
  }
}

module.exports = { SOON, until, within };
