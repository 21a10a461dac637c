'use strict';

const { CAMERA, DTLS_PARAMETERS, MICROPHONE } = require('../lib/browser');

/** @import { Visit } from '../lib/visit' */

/** How often it comes is the media's affair. */
const OF_MEDIA = ['volumes', 'silence', 'activeSpeaker'];
const LOUD = 10;
const SILENT = 100;

/**
 * A room in which two people speak in turn, and one without media on the other Worker.
 *
 * @param {Visit} visit
 */
async function visitWebRtcServer({ media, enter }) {
  const hilde = await enter('hilde');
  const igor = await enter('igor');
  const jun = await enter('jun');

  await hilde.ask('join', { roomId: 'talk', peerId: 'hilde' });
  await igor.ask('join', { roomId: 'talk', peerId: 'igor' });
  await jun.ask('join', { roomId: 'quiet', peerId: 'jun' });

  // Browsers, by one port.
  const transports = [];

  for (const client of [hilde, hilde, igor, jun]) {
    transports.push(await client.ask('createTransport'));
  }
  const [sending, receiving] = /** @type {{ id: string }[]} */ (transports);

  await hilde.ask('webRtcServer');
  await jun.ask('webRtcServer');
  await hilde.ask('connectTransport', { id: sending?.id, dtlsParameters: DTLS_PARAMETERS });
  for (const [kind, rtpParameters] of Object.entries({ audio: MICROPHONE, video: CAMERA })) {
    const { id } = await hilde.ask('produce', { transportId: sending?.id, kind, rtpParameters });

    await hilde.ask('consume', { transportId: receiving?.id, producerId: id });
  }

  // Who speaks.
  const voices = [];

  for (const client of [hilde, igor]) {
    const voice = await media.source('audio');
    const { id: transportId, tuple } = await client.ask('createIngest');
    const producer = await client.ask('produce', {
      transportId,
      kind: 'audio',
      rtpParameters: voice.stream.rtpParameters,
    });

    speak(voice, SILENT);
    await voice.sendTo(tuple.localPort);
    voices.push({ client, voice, producer });
  }
  const [hildes, igors] = /** @type {[typeof voices[0], typeof voices[0]]} */ (voices);

  speak(igors.voice, LOUD);
  await hilde.told('volumes', isOnly('igor'));
  await igor.told('activeSpeaker', ({ peerId }) => peerId === 'igor');
  speak(igors.voice, SILENT);
  speak(hildes.voice, LOUD);
  await igor.told('volumes', isOnly('hilde'));
  await igor.told('activeSpeaker', ({ peerId }) => peerId === 'hilde');
  await hilde.ask('observers');
  await hilde.ask('mute', { producerId: hildes.producer.id });
  await igor.told('silence');
  await hilde.ask('mute', { producerId: hildes.producer.id });
  await hilde.ask('observers');

  // Ends.
  hilde.rest(OF_MEDIA);
  await hilde.close();
  await igor.told('left');
  await igor.ask('webRtcServer');
  for (const client of [igor, jun]) {
    client.rest(OF_MEDIA);
    await client.close();
  }
  const kim = await enter('kim');

  await kim.ask('join', { roomId: 'talk', peerId: 'kim' });
  await kim.ask('webRtcServer');
  await kim.close();
}

/** @param {string} name */
function isOnly(name) {
  return (/** @type {any} */ { volumes }) =>
    volumes.length === 1 && volumes[0].peerId === name && volumes[0].volume === -LOUD;
}

/**
 * @param {Awaited<ReturnType<Visit['media']['source']>>} voice
 * @param {number} level
 */
function speak({ stream }, level) {
  /** @type {import('../../fleet/lib/loud-stream').LoudStream} */ (stream).level = level;
}

module.exports = { visitWebRtcServer };
