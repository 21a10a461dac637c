'use strict';

/**
 * One thing that keeps a connection from running an app's Workers.
 *
 * @typedef {object} Difference
 * @property {'protocol' | 'features' | 'workers' | 'mediasoup version' | 'channel schema' |
 * 'pipes'} what
 * @property {string} ours
 * @property {string} theirs
 * @property {string} why Why it matters.
 */

/**
 * The workers of a connection are nothing for this app. The message lists every difference.
 */
class IncompatibleConnectionError extends Error {
  /**
   * @param {string} message
   * @param {Difference[]} differences
   */
  constructor(message, differences) {
    super(message);
    this.name = 'IncompatibleConnectionError';
    this.differences = differences;
  }
}

module.exports = { IncompatibleConnectionError };
