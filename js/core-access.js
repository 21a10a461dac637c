'use strict';

/** @import { NativeCore } from './native' */

/**
 * How other parts of this package reach the core of a Horizontal, which apps do not see.
 *
 * @type {WeakMap<object, () => NativeCore>}
 */
const cores = new WeakMap();

/**
 * @param {object} horizontal
 * @param {() => NativeCore} core
 */
function shareCore(horizontal, core) {
  cores.set(horizontal, core);
}

/**
 * @param {object} horizontal
 * @returns {NativeCore}
 */
function coreOf(horizontal) {
  const core = cores.get(horizontal);

  if (core === undefined) {
    throw new TypeError('a Horizontal is needed');
  }

  return core();
}

module.exports = { coreOf, shareCore };
