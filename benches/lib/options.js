'use strict';

/** What the measured calls are given, the same in every mode. */

/** @import { types } from 'mediasoup-upstream' */

/** @type {types.RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90_000 },
];

/** @type {types.WebRtcTransportOptions} */
const TRANSPORT_OPTIONS = { listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] };

let nextSsrc = 1_000_000;

/**
 * Of an audio producer. Those on one transport must not share an SSRC.
 *
 * @returns {types.ProducerOptions}
 */
function nextProducerOptions() {
  return {
    kind: 'audio',
    rtpParameters: {
      codecs: [
        {
          mimeType: 'audio/opus',
          payloadType: 111,
          clockRate: 48_000,
          channels: 2,
          parameters: { useinbandfec: 1 },
        },
      ],
      headerExtensions: [{ uri: 'urn:ietf:params:rtp-hdrext:ssrc-audio-level', id: 10 }],
      encodings: [{ ssrc: nextSsrc++ }],
      rtcp: { cname: 'bench' },
    },
  };
}

module.exports = { MEDIA_CODECS, TRANSPORT_OPTIONS, nextProducerOptions };
