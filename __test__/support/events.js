'use strict';

const { once } = require('node:events');
const { within } = require('../../examples/lib/deadline');

/** Longer than anything here takes on a busy machine, shorter than a test may take. */
const EVENT_TIMEOUT = 10_000;

/**
 * Waits for an event. Unlike `once()` of Node.js, an 'error' event is only awaited where it is
 * named.
 *
 * @param {import('node:events').EventEmitter} emitter
 * @param {string} name
 * @param {object} [options]
 * @param {number} [options.ms]
 * @param {string} [options.what]
 * @returns {Promise<any[]>} What came with it.
 */
function eventOf(emitter, name, { ms = EVENT_TIMEOUT, what = `the event '${name}'` } = {}) {
  return within(once(emitter, name), { ms, what });
}

/**
 * Waits until something holds, which an event may change.
 *
 * @param {import('node:events').EventEmitter} emitter
 * @param {string} name
 * @param {() => boolean} holds
 */
async function eventUntil(emitter, name, holds) {
  while (!holds()) {
    await eventOf(emitter, name);
  }
}

module.exports = { EVENT_TIMEOUT, eventOf, eventUntil };
