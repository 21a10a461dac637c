'use strict';

const { IncompatibleConnectionError } = require('./errors');

/**
 * An event as the core tells it.
 *
 * @typedef {{ type: string, connection?: string, [field: string]: any }} CoreEvent
 */

/**
 * What the core calls with its events. It holds its receiver weakly: the core must not keep alive
 * what nobody else uses any more.
 *
 * @param {{ take: (event: CoreEvent) => void }} receiver
 * @returns {(batch: string) => void}
 */
function toEventFunction(receiver) {
  const weak = new WeakRef(receiver);

  return function onEvents(batch) {
    for (const event of JSON.parse(batch)) {
      weak.deref()?.take(event);
    }
  };
}

/**
 * What the listeners of an event get.
 *
 * @param {CoreEvent} event
 * @param {() => unknown} connection The object that stands for the connection that it is about.
 * @returns {unknown[]}
 */
function toArguments(event, connection) {
  const { type, message, differences, draining, ...about } = event;

  switch (type) {
    case 'add':
    case 'delete':
    case 'connected':
    case 'reconnected':
      return [connection()];
    case 'incompatible':
      return [connection(), new IncompatibleConnectionError(message, differences)];
    case 'disconnected':
    case 'refused':
    case 'unreachable':
    case 'full':
      return [connection(), new Error(message)];
    case 'draining':
      return [connection(), draining];
    default:
      return [about];
  }
}

module.exports = { toArguments, toEventFunction };
