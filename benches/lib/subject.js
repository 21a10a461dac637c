'use strict';

const { MEDIA_CODECS, TRANSPORT_OPTIONS, nextProducerOptions } = require('./options');

/** @import { types } from 'mediasoup-upstream' */

/**
 * One call that is measured.
 *
 * @typedef {object} Operation
 * @property {() => Promise<any>} call
 * @property {(made: any) => void} [undo] Sends the request that closes what the call made.
 */

/**
 * A Worker on which calls are measured.
 *
 * @typedef {object} Subject
 * @property {Record<CallName, Operation>} operations
 * @property {() => Promise<unknown>} settle Resolves when the worker has done all that was asked
 * of it, by one more call.
 */

/** @typedef {typeof CALLS[number]} CallName */

const CALLS = /** @type {const} */ ([
  'worker.getResourceUsage',
  'webRtcTransport.getStats',
  'router.createWebRtcTransport',
  'transport.produce',
  'transport.consume',
]);

/** @param {{ close(): void }} made */
function close(made) {
  made.close();
}

/**
 * The calls, on mediasoup's own objects.
 *
 * @param {types.Worker} worker
 * @returns {Promise<Subject>}
 */
async function makeSubject(worker) {
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  const sending = await router.createWebRtcTransport(TRANSPORT_OPTIONS);
  const receiving = await router.createWebRtcTransport(TRANSPORT_OPTIONS);
  const { id: producerId } = await sending.produce(nextProducerOptions());
  const { rtpCapabilities } = router;

  return {
    operations: {
      'worker.getResourceUsage': { call: () => worker.getResourceUsage() },
      'webRtcTransport.getStats': { call: () => sending.getStats() },
      'router.createWebRtcTransport': {
        call: () => router.createWebRtcTransport(TRANSPORT_OPTIONS),
        undo: close,
      },
      'transport.produce': { call: () => sending.produce(nextProducerOptions()), undo: close },
      'transport.consume': {
        call: () => receiving.consume({ producerId, rtpCapabilities }),
        undo: close,
      },
    },
    settle: () => worker.getResourceUsage(),
  };
}

module.exports = { CALLS, makeSubject };
