'use strict';

const { pause } = require('../../../examples/lib/deadline');
const { RATES } = require('./load');

/** @import { Load } from './load' */

/** How much of a second's work may be under way at the end. */
const MAX_BACKLOG = 0.25;
const LEAST_SHARE = 1 / 64;
/** Seconds of work that may be under way while links are cut: more than any cuts explain. */
const MAX_CUT_BACKLOG = 8;

/**
 * Finds rates that the machine carries while no link is cut.
 *
 * @param {Pick<Load, 'start' | 'rest' | 'waiting'>} load
 * @param {object} options
 * @param {number} options.ms How long each of them is tried.
 * @param {number} [options.from] The share that is tried first.
 * @param {(text: string) => void} options.progress
 * @param {AbortSignal} options.signal
 * @returns {Promise<number>} Share of the full rates.
 */
async function warmUp(load, { ms, from = 1, progress, signal }) {
  for (let share = from; share >= LEAST_SHARE; share /= 2) {
    load.start(share);
    await pause(ms, signal);
    const { calls, messages } = load.waiting;

    await load.rest();
    if (
      calls <= RATES.calls * share * MAX_BACKLOG &&
      messages <= RATES.messages * share * MAX_BACKLOG
    ) {
      const rates = `${RATES.calls * share} calls and ${RATES.messages * share} messages a second`;

      progress(share === 1 ? rates : `rates are lowered to ${rates}`);

      return share;
    }
    progress(`${calls} calls and ${messages} messages wait without any cut`);
  }

  throw new Error('this machine carries no load worth measuring');
}

/**
 * Whether the machine has become too slow for the rates since, so that lower ones are to be found.
 *
 * @param {Pick<Load, 'waiting'>} load
 * @param {number} share
 * @returns {boolean}
 */
function isOverloaded({ waiting: { calls, messages } }, share) {
  return (
    share > LEAST_SHARE &&
    (calls > RATES.calls * share * MAX_CUT_BACKLOG ||
      messages > RATES.messages * share * MAX_CUT_BACKLOG)
  );
}

module.exports = { isOverloaded, warmUp };
