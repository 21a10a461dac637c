'use strict';

const { once } = require('node:events');
const { within } = require('../../../examples/lib/deadline');
const { Horizontal } = require('../../../js/horizontal');
const { nativePid, startAgent } = require('./agents');

const DIED_MS = 60_000;

/**
 * From SIGKILL to an agent until its Worker emits `died`.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<number>} Milliseconds.
 */
async function killAgent(signal) {
  const agent = startAgent();
  /** @type {Horizontal | undefined} */
  let horizontal;

  try {
    const { url } = await agent.ready(signal);

    horizontal = new Horizontal([url]);
    const worker = await horizontal.mediasoup.createWorker();
    const died = once(worker, 'died');
    const start = performance.now();

    process.kill(nativePid(agent), 'SIGKILL');
    await within(died, { ms: DIED_MS, what: 'died after the end of an agent', signal });

    return performance.now() - start;
  } finally {
    horizontal?.close();
    agent.kill();
    await agent.ended;
  }
}

module.exports = { killAgent };
