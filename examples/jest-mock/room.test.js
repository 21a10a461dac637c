'use strict';

jest.mock('mediasoup', () => require('mediasoup-horizontal/mock'));

const { once } = require('node:events');
const mediasoup = require('mediasoup');
const { controls } = require('mediasoup-horizontal/mock');
const { Room } = require('./room');

/** @import { types } from 'mediasoup' */

const rtpCapabilities = /** @type {types.RtpCapabilities} */ (
  mediasoup.getSupportedRtpCapabilities()
);

/**
 * @param {number} ssrc
 * @returns {types.ProducerOptions}
 */
const microphone = (ssrc) => ({
  kind: 'audio',
  rtpParameters: {
    codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48_000, channels: 2 }],
    encodings: [{ ssrc }],
  },
});

/** @type {Room} */
let room;

beforeEach(async () => {
  room = await Room.open();
});

afterEach(async () => {
  room.close();
  expect(controls.openObjects()).toEqual({});
  await controls.reset();
});

async function annAndBob() {
  const ann = await room.join('ann', rtpCapabilities);
  const bob = await room.join('bob', rtpCapabilities);

  return { ann, bob };
}

test('what one says goes to everybody else', async () => {
  await annAndBob();
  await room.join('eve', rtpCapabilities);

  const { producer, consumers } = await room.publish('ann', microphone(1));

  expect(consumers.map(({ producerId }) => producerId)).toEqual([producer.id, producer.id]);
  expect(controls.openObjects()).toMatchObject({ transports: 3, producers: 1, consumers: 2 });
});

test('tells who speaks', async () => {
  await annAndBob();
  const { producer } = await room.publish('bob', microphone(1));
  const speaking = once(room, 'speaker');

  await controls.emit(room.speakers, 'dominantspeaker', { producer });

  expect(await speaking).toEqual(['bob']);
});

test('tells who is hard to hear', async () => {
  await annAndBob();
  const { consumers } = await room.publish('ann', microphone(1));
  const poor = jest.fn();
  const [consumer] = /** @type {[types.Consumer]} */ (consumers);

  room.on('poor', poor);
  await controls.emit(consumer, 'score', { score: 9, producerScore: 9, producerScores: [9] });
  await controls.emit(consumer, 'score', { score: 2, producerScore: 9, producerScores: [9] });

  expect(poor.mock.calls).toEqual([['ann', 'bob']]);
});

test('a peer whose connection fails leaves', async () => {
  const { ann } = await annAndBob();
  const { consumers } = await room.publish('ann', microphone(1));
  const [consumer] = /** @type {[types.Consumer]} */ (consumers);
  const gone = once(consumer, 'producerclose');
  const left = jest.fn();

  room.on('left', left);
  await controls.emit(ann, 'dtlsstatechange', 'connected');
  expect(left).not.toHaveBeenCalled();
  await controls.emit(ann, 'dtlsstatechange', 'failed');

  expect(left).toHaveBeenCalledWith('ann');
  await gone;
  expect(controls.openObjects()).toMatchObject({ transports: 1 });
});

test('who is still joining when the room closes is told so', async () => {
  const held = controls.holdNext('router.createWebRtcTransport');
  const joining = expect(room.join('ann', rtpCapabilities)).rejects.toThrow(/Channel closed/);

  await held.arrived;
  room.close();

  await joining;
});

test('a room that cannot open leaves nothing behind', async () => {
  controls.failNext('worker.createRouter', new Error('out of memory'));

  await expect(Room.open()).rejects.toThrow('out of memory');
  expect(controls.openObjects()).toMatchObject({ workers: 1, routers: 1 });
});

test('a room whose worker dies tells why', async () => {
  const closed = once(room, 'closed');

  await controls.kill(room.worker, { signal: 'SIGSEGV' });

  expect(await closed).toEqual([expect.stringContaining('signal:SIGSEGV')]);
});
