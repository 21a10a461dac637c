'use strict';

const { unwrap } = require('../native');

/** @import { NativeCore } from '../native' */
/** @import { HorizontalStats, StatsOptions } from './types' */

const OPTIONS = ['objects', 'bitrates'];

/**
 * @param {StatsOptions} options
 */
function checkOptions(options) {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError('stats() takes an object of options');
  }
  for (const [name, value] of Object.entries(options)) {
    if (!OPTIONS.includes(name)) {
      throw new TypeError(`stats() has no option ${name}; it has ${OPTIONS.join(' and ')}`);
    }
    if (value !== undefined && typeof value !== 'boolean') {
      throw new TypeError(`stats(): ${name} must be true or false`);
    }
  }
}

/**
 * @param {NativeCore} core
 * @param {StatsOptions} [options]
 * @returns {Promise<HorizontalStats>}
 */
async function readStats(core, options = {}) {
  checkOptions(options);
  const { objects = false, bitrates = false } = options;

  return ask(core, { objects, bitrates, metrics: false });
}

/**
 * @param {NativeCore} core
 * @returns {Promise<string>}
 */
async function readMetrics(core) {
  return ask(core, { objects: false, bitrates: false, metrics: true });
}

/**
 * @param {NativeCore} core
 * @param {object} wanted
 * @returns {Promise<any>}
 */
async function ask(core, wanted) {
  /** @type {string} */
  const told = await new Promise((resolve) => core.stats(JSON.stringify(wanted), resolve));

  return unwrap(told);
}

module.exports = { readMetrics, readStats };
