'use strict';

const { eventUntil } = require('../../support/events');

/** @import { Heard } from '../../fleet/lib/listener' */

const ASK_MS = 1_000;

/**
 * Waits for a key frame, and asks for it again each second, as browsers do: on a bad network an
 * answer may be lost as often as the question.
 *
 * @param {Heard} heard
 * @param {(error: Error) => void} failed Told of a request that failed.
 */
async function keyFrameComes(heard, failed) {
  const from = heard.payloads.length;
  const ask = () => void heard.consumer.requestKeyFrame().catch(failed);
  const asking = setInterval(ask, ASK_MS);

  ask();
  try {
    await eventUntil(heard.events, 'packet', () =>
      heard.payloads.some((_, index) => index >= from && heard.isKeyFrame(index)),
    );
  } finally {
    clearInterval(asking);
  }
}

module.exports = { keyFrameComes };
