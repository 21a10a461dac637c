'use strict';

const { eventOf, eventUntil } = require('../support/events');
const { LoudStream } = require('./lib/loud-stream');
const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');

/** @import { AudioLevelObserver, Producer } from 'mediasoup-upstream/types' */
/** @import { Source } from './lib/source' */

jest.setTimeout(TEST_TIMEOUT);

const LOUD = 10;
const SOFT = 40;
/** Not wholly silent: what is loud is judged beside the noise that a microphone gives all along. */
const SILENT = 100;
/** mediasoup takes nobody for a speaker who was not heard for a while. */
const RATE = 50;

/** @type {Scattered} */
let scattered;
/** One on each agent. @type {Source[]} */
let sources;

beforeEach(async () => {
  scattered = await Scattered.open();
  sources = [];
  for (let mark = 0; mark < 3; mark++) {
    const stream = { kind: /** @type {const} */ ('audio'), rate: RATE, mark };

    sources.push(await scattered.source([stream], { Stream: LoudStream }));
  }
  expect(new Set(scattered.agentsOf(sources.map(({ transport }) => transport))).size).toBe(3);
  speak([SILENT, SILENT, SILENT]);
  for (const source of sources) {
    source.start();
  }
});

afterEach(() => scattered?.close());

/** @param {number[]} levels */
function speak(levels) {
  for (const [i, source] of sources.entries()) {
    /** @type {LoudStream} */ (source.stream).level = levels[i] ?? SILENT;
  }
}

/**
 * Waits until the observer tells what fits. Before, it may tell of what was just now.
 *
 * @template T
 * @param {AudioLevelObserver} observer
 * @param {string} event
 * @param {(told: any) => boolean} fits
 * @returns {Promise<T>}
 */
async function told(observer, event, fits) {
  for (;;) {
    const [found] = await eventOf(observer, event);

    if (fits(found)) {
      return found;
    }
  }
}

test('an AudioLevelObserver hears Producers of all agents', async () => {
  const observer = await scattered.router.createAudioLevelObserver({
    maxEntries: 3,
    threshold: -60,
    interval: 300,
  });

  speak([SOFT, LOUD, SILENT]);
  for (const { producer } of sources) {
    await observer.addProducer({ producerId: producer.id });
  }

  const volumes = await told(observer, 'volumes', ({ length }) => length === 2);

  // The loudest first, and each with the Producer that the app knows.
  expect(volumes).toEqual([
    { producer: sources[1]?.producer, volume: -LOUD },
    { producer: sources[0]?.producer, volume: -SOFT },
  ]);
  speak([SILENT, SILENT, LOUD]);
  expect(
    await told(observer, 'volumes', ([first]) => first.producer === sources[2]?.producer),
  ).toMatchObject([{ producer: sources[2]?.producer, volume: -LOUD }]);
  speak([SILENT, SILENT, SILENT]);
  await eventOf(observer, 'silence');
  await scattered.expectOnlyOwn();
});

test('an AudioLevelObserver hears no more of Producers that left it or are closed', async () => {
  const observer = await scattered.router.createAudioLevelObserver({
    maxEntries: 3,
    threshold: -60,
    interval: 300,
  });

  speak([LOUD, LOUD, LOUD]);
  for (const { producer } of sources) {
    await observer.addProducer({ producerId: producer.id });
  }
  await told(observer, 'volumes', ({ length }) => length === 3);
  await observer.removeProducer({ producerId: sources[0]?.producer.id ?? '' });
  sources[1]?.producer.close();
  expect(await told(observer, 'volumes', ({ length }) => length === 1)).toMatchObject([
    { producer: sources[2]?.producer },
  ]);
});

test('an ActiveSpeakerObserver finds the dominant speaker on any agent', async () => {
  const observer = await scattered.router.createActiveSpeakerObserver({ interval: 100 });
  /** @type {Producer | undefined} */
  let dominant;

  observer.on('dominantspeaker', ({ producer }) => {
    dominant = producer;
  });
  for (const { producer } of sources) {
    await observer.addProducer({ producerId: producer.id });
  }
  // It has to know everybody's noise before.
  await Promise.all(sources.map((source) => source.frames(RATE)));
  for (const speaker of [1, 2, 0]) {
    const { producer } = /** @type {Source} */ (sources[speaker]);

    speak([SILENT, SILENT, SILENT].with(speaker, LOUD));
    await eventUntil(observer, 'dominantspeaker', () => dominant === producer);
  }
});
