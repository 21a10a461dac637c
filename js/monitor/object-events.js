'use strict';

/** @import { EventEmitter } from 'node:events' */

/** Events of which there are many: they are made only while somebody listens. */
const EVENTS = ['newobject', 'closeobject'];

/**
 * Whether somebody listens to what becomes of objects.
 *
 * @param {EventEmitter} emitter
 */
function isHeard(emitter) {
  return EVENTS.some((event) => emitter.listenerCount(event) > 0);
}

/**
 * Says when somebody begins or ceases to listen.
 *
 * @param {EventEmitter} emitter
 * @param {(wanted: boolean) => void} tell
 */
function followListeners(emitter, tell) {
  // Before the listener is in the list.
  emitter.on('newListener', (/** @type {string} */ event) => {
    if (EVENTS.includes(event)) {
      tell(true);
    }
  });
  // After it has left the list.
  emitter.on('removeListener', (/** @type {string} */ event) => {
    if (EVENTS.includes(event)) {
      tell(isHeard(emitter));
    }
  });
}

module.exports = { followListeners, isHeard };
