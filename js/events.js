'use strict';

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

module.exports = { toEventFunction };
