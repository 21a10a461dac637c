'use strict';

/**
 * What listeners of an event get, as the core takes it: Producers by their ids, bytes as numbers.
 *
 * @param {string} event
 * @param {unknown[]} args
 * @returns {{ payload?: unknown }} Without one where the event has none.
 */
function toPayload(event, args) {
  const [first, second] = /** @type {any[]} */ (args);

  switch (event) {
    case 'dominantspeaker':
      return { payload: { producerId: first?.producer?.id } };
    case 'volumes':
      return { payload: toVolumes(first) };
    case 'rtp':
    case 'rtcp':
      return { payload: toBytes(event, first) };
    case 'message':
      return { payload: { data: toBytes(event, first), ppid: second } };
    case 'layerschange':
    case 'iceselectedtuplechange':
      return { payload: first ?? null };
    default:
      return args.length === 0 ? {} : { payload: withNumbers(first) };
  }
}

/**
 * @param {unknown} volumes
 */
function toVolumes(volumes) {
  if (!Array.isArray(volumes)) {
    throw new TypeError("'volumes' needs a list of { producer, volume }");
  }

  return volumes.map(({ producer, volume }) => ({ producerId: producer?.id, volume }));
}

/**
 * @param {string} event
 * @param {unknown} bytes
 */
function toBytes(event, bytes) {
  if (!(bytes instanceof Uint8Array) && !isBytesOfAnotherRealm(bytes)) {
    throw new TypeError(`'${event}' needs a Buffer`);
  }

  return [.../** @type {Uint8Array} */ (bytes)];
}

/**
 * jest gives each test file its own Uint8Array.
 *
 * @param {unknown} bytes
 */
function isBytesOfAnotherRealm(bytes) {
  return Object.prototype.toString.call(bytes) === '[object Uint8Array]';
}

/**
 * The sizes in a trace are bigints.
 *
 * @param {unknown} value
 * @returns {unknown}
 */
function withNumbers(value) {
  if (typeof value === 'bigint') {
    return Number(value);
  }
  if (Array.isArray(value)) {
    return value.map(withNumbers);
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).map(([key, inner]) => [key, withNumbers(inner)]);

    return Object.fromEntries(entries);
  }

  return value;
}

module.exports = { toPayload };
