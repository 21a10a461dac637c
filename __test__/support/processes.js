'use strict';

const { pause } = require('../../examples/lib/deadline');
const { listDescendants } = require('../../examples/lib/process-tree');

/** @import { ProcessEntry } from '../../examples/lib/process-tree' */

const GONE_TIMEOUT = 10_000;
const INTERVAL = 25;

/**
 * Processes below this one whose name begins so.
 *
 * @param {string} [prefix]
 * @returns {ProcessEntry[]}
 */
function descendants(prefix = '') {
  return listDescendants(process.pid).filter(({ name }) => name.startsWith(prefix));
}

/**
 * Waits until no process below this one has such a name. Nothing tells of the end of a process
 * that is no child, so this one looks again and again.
 *
 * @param {string} prefix
 * @param {number} [ms]
 */
async function descendantsGone(prefix, ms = GONE_TIMEOUT) {
  const end = performance.now() + ms;

  for (let left = descendants(prefix); left.length > 0; left = descendants(prefix)) {
    if (performance.now() > end) {
      const text = left.map(({ pid, name }) => `${pid} (${name})`).join(', ');

      throw new Error(`after ${ms / 1000} s these processes still run: ${text}`);
    }
    await pause(INTERVAL);
  }
}

module.exports = { descendants, descendantsGone };
