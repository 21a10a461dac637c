'use strict';

/** @typedef {typeof import('../../../js/subpaths/mock')} Mock */

/** @type {import('mediasoup-upstream/types').RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90_000 },
];

const LISTEN = { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' };

/** @type {import('mediasoup-upstream/types').DtlsParameters} */
const DTLS_PARAMETERS = {
  role: 'client',
  fingerprints: [
    {
      algorithm: 'sha-256',
      value: Array.from({ length: 32 }, () => 'AB').join(':'),
    },
  ],
};

/**
 * @param {number} ssrc
 * @returns {import('mediasoup-upstream/types').ProducerOptions}
 */
function audio(ssrc) {
  return {
    kind: 'audio',
    rtpParameters: {
      codecs: [{ mimeType: 'audio/opus', payloadType: 100, clockRate: 48_000, channels: 2 }],
      encodings: [{ ssrc }],
      rtcp: { cname: `audio-${ssrc}` },
    },
  };
}

/**
 * Simulcast in three layers.
 *
 * @param {number} ssrc
 * @returns {import('mediasoup-upstream/types').ProducerOptions}
 */
function video(ssrc) {
  return {
    kind: 'video',
    rtpParameters: {
      codecs: [
        {
          mimeType: 'video/VP8',
          payloadType: 101,
          clockRate: 90_000,
          rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
        },
      ],
      encodings: [0, 1, 2].map((index) => ({ ssrc: ssrc + index, scalabilityMode: 'L1T3' })),
      rtcp: { cname: `video-${ssrc}` },
    },
  };
}

/**
 * One object of every kind.
 *
 * @param {Mock} mock
 * @param {import('mediasoup-upstream/types').Worker} [given] Default: a new one.
 */
async function makeWorld(mock, given) {
  const worker = given ?? (await mock.createWorker());
  const server = await worker.createWebRtcServer({ listenInfos: [LISTEN] });
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  const web = await router.createWebRtcTransport({ listenInfos: [LISTEN], enableSctp: true });
  const served = await router.createWebRtcTransport({ webRtcServer: server });
  const plain = await router.createPlainTransport({
    listenInfo: LISTEN,
    rtcpMux: false,
    enableSctp: true,
  });
  const pipe = await router.createPipeTransport({ listenInfo: LISTEN, enableSctp: true });
  const direct = await router.createDirectTransport();
  const speaker = await router.createActiveSpeakerObserver();
  const levels = await router.createAudioLevelObserver();
  const voice = await direct.produce(audio(1_000));
  const camera = await web.produce(video(2_000));
  const { rtpCapabilities } = router;
  const heard = await direct.consume({ producerId: voice.id, rtpCapabilities });
  const seen = await served.consume({ producerId: camera.id, rtpCapabilities });
  const text = await direct.produceData();
  const stream = await web.produceData({ sctpStreamParameters: { streamId: 1 } });
  const read = await direct.consumeData({ dataProducerId: text.id });
  const sent = await web.consumeData({ dataProducerId: text.id });

  return {
    worker,
    server,
    router,
    web,
    served,
    plain,
    pipe,
    direct,
    speaker,
    levels,
    voice,
    camera,
    heard,
    seen,
    text,
    stream,
    read,
    sent,
  };
}

module.exports = { DTLS_PARAMETERS, LISTEN, MEDIA_CODECS, audio, makeWorld, video };
