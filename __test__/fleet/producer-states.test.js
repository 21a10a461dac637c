'use strict';

const { wallClock } = require('../../examples/lib/rtp-packet');
const { eventOf, eventUntil } = require('../support/events');
const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');

/** @import { Heard, Listener } from './lib/listener' */
/** @import { Source } from './lib/source' */

jest.setTimeout(TEST_TIMEOUT);

const FRAMES = 10;

/** @type {Scattered} */
let scattered;
/** @type {Source} */
let source;
/** @type {Listener[]} */
let listeners;
/** @type {Heard[]} */
let heard;

beforeEach(async () => {
  scattered = await Scattered.open();
});

afterEach(() => scattered?.close());

/** @param {'audio' | 'video'} kind */
async function play(kind) {
  source = await scattered.source([{ kind }]);
  listeners = await scattered.listeners(3);
  heard = await Promise.all(listeners.map((one) => one.consume(source.producer)));
  source.start();
  await allHear();
}

async function allHear() {
  await Promise.all(heard.map((one) => one.hears(one.payloads.length)));
}

/** @param {string} event */
function allTold(event) {
  return Promise.all(heard.map(({ consumer }) => eventOf(consumer, event)));
}

describe.each(/** @type {const} */ (['audio', 'video']))('%s', (kind) => {
  test('stops and goes on everywhere as its Producer pauses and resumes', async () => {
    await play(kind);

    const paused = allTold('producerpause');

    await source.producer.pause();
    await paused;
    expect(heard.map(({ consumer }) => consumer.producerPaused)).toEqual([true, true, true]);

    const silentSince = wallClock();
    const before = source.stream.keyFrameRequests;

    await source.frames(FRAMES);

    const resumed = allTold('producerresume');
    const silentUntil = wallClock();

    await source.producer.resume();
    await resumed;
    expect(heard.map(({ consumer }) => consumer.producerPaused)).toEqual([false, false, false]);

    if (kind === 'video') {
      await source.keyFrameAsked(before);
    }
    await allHear();
    await source.frames(FRAMES);
    source.stop();
    await Promise.all(heard.map((one) => one.hearsEnd(source.stream)));

    for (const one of heard) {
      const first = one.sentTimes.findIndex((time) => time >= silentUntil);

      // What was on its way then may still come, what was sent later may not.
      expect(one.sentTimes.filter((time) => time > silentSince && time < silentUntil)).toEqual([]);
      expect(kind === 'audio' || one.isKeyFrame(first)).toBe(true);
      expect(one.order).toEqual({ lost: 0, duplicates: 0, reordered: 0 });
      // Since then, nothing is missing.
      const newest = one.payloads.slice(first);

      expect(newest).toEqual(source.stream.sent.slice(-newest.length));
    }
  });

  test('ends everywhere as its Producer is closed', async () => {
    await play(kind);

    const told = allTold('producerclose');

    source.producer.close();
    await told;

    const closedAt = wallClock();

    expect(heard.map(({ consumer }) => consumer.closed)).toEqual([true, true, true]);
    await source.frames(FRAMES);
    expect(heard.flatMap(({ sentTimes }) => sentTimes.filter((time) => time > closedAt))).toEqual(
      [],
    );
    await scattered.expectOnlyOwn();
  });

  test('ends everywhere as the transport of its Producer is closed', async () => {
    await play(kind);

    const told = allTold('producerclose');

    source.stop();
    source.transport.close();
    await told;
    await scattered.expectOnlyOwn();
  });
});

test('a Producer that is paused while nobody is told stays paused for those who come', async () => {
  source = await scattered.source([{ kind: 'video' }]);
  await source.producer.pause();
  listeners = await scattered.listeners(3);
  heard = await Promise.all(listeners.map((one) => one.consume(source.producer)));
  expect(heard.map(({ consumer }) => consumer.producerPaused)).toEqual([true, true, true]);
  source.start();
  await source.frames(FRAMES);
  expect(heard.map(({ payloads }) => payloads.length)).toEqual([0, 0, 0]);

  const before = source.stream.keyFrameRequests;

  await source.producer.resume();
  await source.keyFrameAsked(before);
  await allHear();
});

test('a Consumer that pauses and resumes elsewhere gets its key frame, and the others go on', async () => {
  await play('video');

  const [pausing, ...others] = /** @type {[Heard, ...Heard[]]} */ (heard);

  await pausing.consumer.pause();

  const silentSince = wallClock();
  const before = source.stream.keyFrameRequests;

  await source.frames(FRAMES);

  const silentUntil = wallClock();

  await pausing.consumer.resume();
  await source.keyFrameAsked(before);
  await eventUntil(pausing.events, 'packet', () =>
    pausing.sentTimes.some((time) => time >= silentUntil),
  );
  source.stop();
  await Promise.all(heard.map((one) => one.hearsEnd(source.stream)));

  const first = pausing.sentTimes.findIndex((time) => time >= silentUntil);

  expect(pausing.isKeyFrame(first)).toBe(true);
  expect(pausing.sentTimes.filter((time) => time > silentSince && time < silentUntil)).toEqual([]);
  for (const one of others) {
    one.expectIntact(source.stream);
  }
});
