'use strict';

const { once } = require('node:events');
const { within } = require('../../../examples/lib/deadline');
const { RemoteConnection } = require('../../../js/connections');
const { Horizontal } = require('../../../js/horizontal');
const { CutLink } = require('../link/cut-link');

/** After this much more than the session timeout, something is wrong. */
const PATIENCE_MS = 60_000;

/**
 * @typedef {object} Loss
 * @property {number} disconnectedMs Until the connection is `disconnected`.
 * @property {number} diedMs Until the Worker emits `died`.
 */

/**
 * From the moment from which nothing comes through to a host and back.
 *
 * @param {string} url Of its agent.
 * @param {number} sessionTimeoutMs
 * @param {AbortSignal} signal
 * @returns {Promise<Loss>}
 */
async function loseHost(url, sessionTimeoutMs, signal) {
  const link = await CutLink.open(url);
  /** @type {Horizontal | undefined} */
  let horizontal;

  try {
    horizontal = new Horizontal([new RemoteConnection({ url: link.url, sessionTimeoutMs })]);
    const worker = await horizontal.mediasoup.createWorker();
    const died = once(worker, 'died').then(() => performance.now());
    const limit = { ms: sessionTimeoutMs + PATIENCE_MS, signal };
    const start = performance.now();

    link.hold();
    const [disconnectedAt, diedAt] = await Promise.all([
      within(disconnected(horizontal, signal), { ...limit, what: 'disconnected' }),
      within(died, { ...limit, what: 'died after the end of a host' }),
    ]);

    return { disconnectedMs: disconnectedAt - start, diedMs: diedAt - start };
  } finally {
    horizontal?.close();
    link.close();
  }
}

/**
 * @param {Horizontal} horizontal
 * @param {AbortSignal} signal
 * @returns {Promise<number>} When.
 */
async function disconnected(horizontal, signal) {
  await once(horizontal, 'disconnected', { signal });

  return performance.now();
}

module.exports = { loseHost };
