'use strict';

/** What a browser would send, with the same numbers each time. */

/** @type {import('mediasoup-upstream/types').DtlsParameters} */
const DTLS_PARAMETERS = {
  role: 'client',
  fingerprints: [
    {
      algorithm: 'sha-256',
      value:
        '82:5A:68:3D:36:C3:0A:DE:AF:E7:32:43:D2:88:83:57:AC:2D:65:E5:80:C4:B6:FB:AF:1A:A0:21:9F:6D:0C:AD',
    },
  ],
};

/** @type {import('mediasoup-upstream/types').RtpParameters} */
const MICROPHONE = {
  mid: '0',
  codecs: [
    {
      mimeType: 'audio/opus',
      payloadType: 111,
      clockRate: 48000,
      channels: 2,
      parameters: { useinbandfec: 1 },
      rtcpFeedback: [{ type: 'transport-cc' }],
    },
  ],
  headerExtensions: [{ uri: 'urn:ietf:params:rtp-hdrext:sdes:mid', id: 1 }],
  encodings: [{ ssrc: 1111 }],
  rtcp: { cname: 'browser', reducedSize: true },
};

/** @type {import('mediasoup-upstream/types').RtpParameters} */
const CAMERA = {
  mid: '1',
  codecs: [
    {
      mimeType: 'video/VP8',
      payloadType: 96,
      clockRate: 90000,
      rtcpFeedback: [
        { type: 'nack' },
        { type: 'nack', parameter: 'pli' },
        { type: 'ccm', parameter: 'fir' },
      ],
    },
    { mimeType: 'video/rtx', payloadType: 97, clockRate: 90000, parameters: { apt: 96 } },
  ],
  headerExtensions: [{ uri: 'urn:ietf:params:rtp-hdrext:sdes:mid', id: 1 }],
  encodings: [
    { ssrc: 2221, rtx: { ssrc: 2222 } },
    { ssrc: 2223, rtx: { ssrc: 2224 } },
  ],
  rtcp: { cname: 'browser', reducedSize: true },
};

module.exports = { CAMERA, DTLS_PARAMETERS, MICROPHONE };
