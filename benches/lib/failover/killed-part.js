'use strict';

const { once } = require('node:events');
const { within } = require('../../../examples/lib/deadline');
const { Horizontal } = require('../../../js/horizontal');
const { MEDIA_CODECS, TRANSPORT_OPTIONS } = require('../options');
const { nativePid, startAgent, stopAgents } = require('./agents');

const CLOSED_MS = 60_000;

/**
 * From SIGKILL to an agent with a part of a Router until the transport there says that it is closed.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<number>} Milliseconds.
 */
async function killPart(signal) {
  const agents = [startAgent(), startAgent()];
  /** @type {Horizontal | undefined} */
  let horizontal;
  /** @type {typeof agents[0] | undefined} */
  let killed;

  try {
    const urls = (await Promise.all(agents.map((agent) => agent.ready(signal)))).map(
      ({ url }) => url,
    );

    horizontal = new Horizontal(urls, { placement: 'scatter', maxParts: 2 });
    const worker = await horizontal.mediasoup.createWorker();
    const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
    const home = horizontal.whereIs(worker)?.connection;
    const away = agents.find((_, i) => urls[i] !== home);
    // One on each agent.
    const transports = await Promise.all(
      [1, 2].map(() => router.createWebRtcTransport(TRANSPORT_OPTIONS)),
    );
    const closed = Promise.race(transports.map((one) => once(one, 'dtlsstatechange')));

    if (!away) {
      throw new Error(`the Router's home ${home} is both agents`);
    }
    const start = performance.now();

    process.kill(nativePid(away), 'SIGKILL');
    killed = away;
    await within(closed, { ms: CLOSED_MS, what: 'the end of a transport of a part', signal });
    const took = performance.now() - start;

    if (worker.died) {
      throw new Error('the Worker died with one of its parts');
    }

    return took;
  } finally {
    horizontal?.close();
    killed?.kill();
    await killed?.ended;
    await stopAgents(agents.filter((agent) => agent !== killed));
  }
}

module.exports = { killPart };
