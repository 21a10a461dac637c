'use strict';

const { once } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');
const { within } = require('../../../examples/lib/deadline');

/** @import { Transport } from 'mediasoup-upstream/types' */
/** @import { SteppedLink } from './stepped-link' */

/** Much less than the silence after which a link counts as lost. */
const STEP_TIMEOUT = 4_000;
const FENCE = 'TRANSPORT_DUMP';

/**
 * Counts the round trips to agents that something takes, however fast they answer: all that agents
 * say is kept back until nothing is left to ask without it, then let go at once.
 *
 * No clock tells when nothing is left to ask. Each link has a fence: a transport on its agent whose
 * dump is asked for behind everything else. Messages keep their order, so once that request has
 * passed a link, whatever came before it has too; and once it is answered in the app, so is
 * whatever was let go with it.
 *
 * @param {object} options
 * @param {SteppedLink[]} options.links
 * @param {Transport[]} options.fences One behind each link.
 * @param {() => Promise<unknown>} options.run
 * @returns {Promise<string[][]>} The requests of each round trip, sorted.
 */
async function countRoundTrips({ links, fences, run }) {
  /** @type {string[][]} */
  const rounds = [];

  for (const link of links) {
    link.hold();
  }

  try {
    // What is still going on from before is not counted.
    while ((await step(links, fences)).length > 0);

    const done = run();

    done.catch(() => {}); // It is awaited below.
    for (;;) {
      const asked = await step(links, fences);

      if (asked.length === 0) {
        await within(done, { ms: STEP_TIMEOUT, what: `a call after ${JSON.stringify(rounds)}` });

        return rounds;
      }
      rounds.push(asked);
    }
  } finally {
    for (const link of links) {
      link.release();
    }
  }
}

/**
 * @param {SteppedLink[]} links
 * @param {Transport[]} fences
 * @returns {Promise<string[]>} What was asked.
 */
async function step(links, fences) {
  // What the app does at once, and mediasoup emits events a turn later than it gives answers.
  await turn();
  await turn();

  const fenced = Promise.all(fences.map((transport) => transport.dump()));

  fenced.catch(() => {}); // It is awaited below.
  await within(Promise.all(links.map(passed)), { ms: STEP_TIMEOUT, what: 'a fence to pass' });

  const asked = links.flatMap((link) => link.take());

  for (const link of links) {
    link.step();
  }
  await within(fenced, { ms: STEP_TIMEOUT, what: 'the answers of fences' });

  return asked.filter((method) => method !== FENCE).sort();
}

/**
 * Waits until a fence has passed, and all that was asked is answered.
 *
 * @param {SteppedLink} link
 */
async function passed(link) {
  while (!link.requests.includes(FENCE) || link.missing > 0) {
    await once(link.events, 'message');
  }
}

module.exports = { countRoundTrips };
