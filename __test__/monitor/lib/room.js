'use strict';

const { Horizontal, MockConnection } = require('../../..');

/** @import { types } from 'mediasoup-upstream' */
/** @import { ConnectionLike } from '../../..' */

/** @type {types.RouterRtpCodecCapability} */
const OPUS = {
  kind: 'audio',
  mimeType: 'audio/opus',
  clockRate: 48_000,
  channels: 2,
  preferredPayloadType: 100,
};

/** @type {types.WebRtcTransportOptions} */
const LISTEN = { listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] };

/** @type {types.RtpParameters} */
const SENT = {
  codecs: [{ mimeType: 'audio/opus', clockRate: 48_000, channels: 2, payloadType: 111 }],
  encodings: [{ ssrc: 1 }],
};

/**
 * A Horizontal on mock connections, each transport on the next of them.
 *
 * @param {string[]} names
 */
function scatteredMocks(...names) {
  return scattered(names.map((name) => new MockConnection({ name })));
}

/** @param {ConnectionLike[]} connections */
function scattered(connections) {
  return new Horizontal(connections, { placement: 'scatter', maxParts: connections.length });
}

/**
 * A Router with a transport for each name. The first one produces and all others consume that.
 *
 * @param {Horizontal} horizontal
 * @param {number} transports
 */
async function openRoom(horizontal, transports) {
  const worker = await horizontal.mediasoup.createWorker();
  const router = await worker.createRouter({ mediaCodecs: [OPUS] });
  /** @type {types.WebRtcTransport[]} */
  const opened = [];

  for (let i = 0; i < transports; i++) {
    opened.push(await router.createWebRtcTransport(LISTEN));
  }

  const [first, ...others] = opened;

  if (!first) {
    throw new Error('a room needs a transport');
  }

  const producer = await first.produce({ kind: 'audio', rtpParameters: SENT });
  const consumers = await Promise.all(
    others.map((transport) =>
      transport.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities }),
    ),
  );

  return { worker, router, transports: opened, producer, consumers };
}

module.exports = { LISTEN, OPUS, openRoom, scattered, scatteredMocks };
