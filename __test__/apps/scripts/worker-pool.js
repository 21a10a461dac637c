'use strict';

const { CAMERA, DTLS_PARAMETERS, MICROPHONE } = require('../lib/browser');
const { flows } = require('../lib/media');

/** @import { Visit } from '../lib/visit' */

/** How often it comes is the media's affair. */
const OF_MEDIA = ['producerScore', 'consumerScore'];

/**
 * A broadcaster and two people in one room: the second of them is on another Router than the
 * broadcaster, the third on the same.
 *
 * @param {Visit} visit
 */
async function visitWorkerPool({ media, enter }) {
  const anna = await enter('anna');
  const ben = await enter('ben');
  const carla = await enter('carla');

  await anna.ask('produce', {});
  for (const client of [anna, ben, carla]) {
    await client.ask('join', { roomId: 'big', peerId: client.name });
  }
  await anna.told('newPeer');
  await anna.told('newPeer');
  const capabilities = await anna.ask('getRouterRtpCapabilities');

  // A broadcaster, with real media.
  const camera = await media.source('video');
  const ingest = await anna.ask('createPlainTransport', { comedia: true });
  const video = await anna.ask('produce', {
    transportId: ingest.id,
    kind: 'video',
    rtpParameters: camera.stream.rtpParameters,
  });

  await camera.sendTo(ingest.port);
  await anna.told('producerScore', ({ score }) => score[0]?.score === 10);
  await ben.told('newProducer');
  await carla.told('newProducer');

  // Those who watch.
  const watched = [];

  for (const client of [ben, carla]) {
    const screen = await media.sink();
    const { id: transportId } = await client.ask('createPlainTransport', { comedia: false });

    await client.ask('connectPlainTransport', { transportId, ip: screen.ip, port: screen.port });
    const consumer = await client.ask('consume', {
      transportId,
      producerId: video.id,
      rtpCapabilities: { ...capabilities, headerExtensions: captureTime(capabilities) },
    });
    const stream = screen.expect(consumer.rtpParameters);

    await client.ask('resumeConsumer', { consumerId: consumer.id });
    await flows(stream);
    client.note('sees the camera');
    watched.push({ client, consumer, stream });
  }

  // Pauses and resumes, by either side.
  const [{ consumer: bens, stream: bensStream }] = /** @type {[typeof watched[0]]} */ (watched);

  await ben.ask('pauseConsumer', { consumerId: bens.id });
  await ben.ask('resumeConsumer', { consumerId: bens.id });
  await ben.ask('requestConsumerKeyFrame', { consumerId: bens.id });
  await flows(bensStream);
  ben.note('sees the camera again');
  await anna.ask('pauseProducer', { producerId: video.id });
  for (const { client } of watched) {
    await client.told('consumerPaused');
  }
  await anna.ask('resumeProducer', { producerId: video.id });
  for (const { client, stream } of watched) {
    await client.told('consumerResumed');
    await flows(stream);
  }
  await ben.ask('getConsumerStats', { consumerId: bens.id });

  // A browser: what it is offered, and what it may do wrong.
  const browser = await carla.ask('createWebRtcTransport');

  await carla.ask('connectWebRtcTransport', {
    transportId: browser.id,
    dtlsParameters: DTLS_PARAMETERS,
  });
  await carla.ask('connectWebRtcTransport', {
    transportId: browser.id,
    dtlsParameters: DTLS_PARAMETERS,
  });
  await carla.ask('restartIce', { transportId: browser.id });
  const microphone = await carla.ask('produce', {
    transportId: browser.id,
    kind: 'audio',
    rtpParameters: MICROPHONE,
  });
  const simulcast = await carla.ask('produce', {
    transportId: browser.id,
    kind: 'video',
    rtpParameters: CAMERA,
  });

  await carla.ask('produce', { transportId: browser.id, kind: 'video', rtpParameters: CAMERA });
  await ben.told('newProducer');
  await ben.told('newProducer');
  const back = await ben.ask('createWebRtcTransport');

  for (const { id: producerId } of [microphone, simulcast]) {
    await ben.ask('consume', { transportId: back.id, producerId, rtpCapabilities: capabilities });
  }
  await ben.ask('consume', {
    transportId: back.id,
    producerId: microphone.id,
    rtpCapabilities: { codecs: [], headerExtensions: [] },
  });
  await ben.ask('getRoomDump');

  // Ends, one after the other.
  await carla.ask('closeProducer', { producerId: simulcast.id });
  await ben.told('consumerClosed');
  await anna.close();
  for (const { client } of watched) {
    await client.told('consumerClosed');
    await client.told('peerClosed');
  }
  await ben.ask('getRoomDump');
  ben.rest(OF_MEDIA);
  await ben.close();
  await carla.told('peerClosed');
  carla.rest(OF_MEDIA);
  await carla.close();

  // The room is gone and can be opened again.
  const dora = await enter('dora');

  await dora.ask('join', { roomId: 'big', peerId: 'dora' });
  await dora.ask('getRoomDump');
  await dora.close();
}

/** @param {import('mediasoup-upstream/types').RtpCapabilities} capabilities */
function captureTime({ headerExtensions }) {
  return headerExtensions?.filter(({ uri }) => uri.endsWith('/abs-capture-time'));
}

module.exports = { visitWorkerPool };
