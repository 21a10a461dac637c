'use strict';

const { CAMERA } = require('../lib/browser');
const { flows } = require('../lib/media');

/** @import { Visit } from '../lib/visit' */

/**
 * Two rooms, each with its Worker; one dies, is made again, and the other does not notice.
 *
 * @param {Visit} visit
 */
async function visitWorkerPerRoom({ media, enter }) {
  const emil = await enter('emil');
  const fatma = await enter('fatma');
  const gustav = await enter('gustav');

  await emil.ask('send');
  await emil.ask('join', { roomId: 'red' });
  await fatma.ask('join', { roomId: 'red' });
  await gustav.ask('join', { roomId: 'blue' });
  await emil.ask('usage');

  const red = await call(media, emil, fatma);
  const blue = await call(media, gustav, gustav);

  await chat(emil, fatma);
  const browser = await emil.ask('browser');

  await emil.ask('produce', { transportId: browser.id, kind: 'video', rtpParameters: CAMERA });
  await emil.ask('consume', { transportId: browser.id, producerId: 'nobody' });
  await emil.ask('consume', { transportId: browser.id, producerId: red.producerId });

  // The Worker of the red room dies.
  const { pid } = await emil.ask('workerPid');

  process.kill(pid, 'SIGKILL');
  for (const client of [emil, fatma]) {
    await client.told('roomLost');
    await client.told('roomRestarted');
  }
  await flows(blue.stream);
  gustav.note('hears on');
  await emil.ask('dump');
  await emil.ask('leaveTransport', { transportId: red.transportId });

  // All over again on the new one.
  const again = await call(media, emil, fatma);

  await chat(emil, fatma);
  await emil.ask('leaveTransport', { transportId: again.transportId });
  await fatma.told('producerGone');

  for (const client of [emil, fatma, gustav]) {
    client.rest([]);
    await client.close();
  }
}

/**
 * @param {Visit['media']} media
 * @param {import('../lib/client').Client} from
 * @param {import('../lib/client').Client} to
 */
async function call(media, from, to) {
  const microphone = await media.source('audio');
  const speaker = await media.sink();
  const { id: transportId, tuple } = await from.ask('send');
  const { id: producerId } = await from.ask('produce', {
    transportId,
    kind: 'audio',
    rtpParameters: microphone.stream.rtpParameters,
  });

  await microphone.sendTo(tuple.localPort);
  const receiving = await to.ask('receive', { ip: speaker.ip, port: speaker.port });
  const { rtpParameters } = await to.ask('consume', { transportId: receiving.id, producerId });
  const stream = speaker.expect(rtpParameters);

  await flows(stream);
  to.note('hears the microphone');

  return { transportId, producerId, stream };
}

/**
 * @param {import('../lib/client').Client} from
 * @param {import('../lib/client').Client} to
 */
async function chat(from, to) {
  await from.ask('startBot');
  await to.ask('listenToBot');
  for (const text of ['hello', 'world']) {
    await from.ask('say', { text });
    await to.told('chat');
  }
}

module.exports = { visitWorkerPerRoom };
