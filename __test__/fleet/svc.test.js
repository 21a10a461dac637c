'use strict';

const { eventUntil } = require('../support/events');
const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');
const { SvcStream, layerOf } = require('./lib/svc-stream');

/** @import { Heard } from './lib/listener' */

jest.setTimeout(TEST_TIMEOUT);

const TOP = 2;
const FRAMES = 15;

/** @type {Scattered} */
let scattered;

beforeEach(async () => {
  scattered = await Scattered.open();
});

afterEach(() => scattered?.close());

test('the spatial layers of SVC reach each agent, as many as are preferred', async () => {
  const source = await scattered.source([{ kind: 'video' }], { Stream: SvcStream });
  const listeners = await scattered.listeners(3);
  const { stream } = source;

  source.start();
  await source.frames(FRAMES);

  const heard = await Promise.all(listeners.map((one) => one.consume(source.producer)));
  /** @param {(one: Heard) => boolean} holds */
  const allHold = (holds) =>
    Promise.all(heard.map((one) => eventUntil(one.events, 'packet', () => holds(one))));

  for (const { consumer } of heard) {
    expect(consumer.type).toBe('svc');
  }
  await allHold(({ payloads }) => payloads.some((payload) => layerOf(payload) === TOP));

  const before = stream.keyFrameRequests;

  for (const layer of [0, TOP]) {
    await Promise.all(
      heard.map(({ consumer }) => consumer.setPreferredLayers({ spatialLayer: layer })),
    );
    for (const { consumer } of heard) {
      await eventUntil(
        consumer,
        'layerschange',
        () => consumer.currentLayers?.spatialLayer === layer,
      );
    }

    await source.frames(FRAMES);
    await Promise.all(heard.map((one) => one.hearsEnd(stream)));
  }
  // Up again takes a key frame, which the source is asked for through the pipes.
  expect(stream.keyFrameRequests).toBeGreaterThan(before);
  source.stop();

  // All packets of a picture say the same time.
  const last = /** @type {Buffer} */ (stream.sent.at(-1));

  await allHold(({ payloads }) => payloads.at(-1)?.equals(last) ?? false);
  for (const one of heard) {
    const newest = one.payloads.slice(-FRAMES);

    expect(new Set(newest.map(layerOf))).toEqual(new Set([0, 1, TOP]));
    expect(newest).toEqual(stream.sent.slice(-newest.length));
    expect(one.order).toEqual({ lost: 0, duplicates: 0, reordered: 0 });
    expect(longestRunOfBase(one)).toBeGreaterThanOrEqual(FRAMES / 3);
  }
});

/**
 * @param {Heard} heard
 * @returns {number} How many pictures came in a row with their lowest layer alone.
 */
function longestRunOfBase({ payloads }) {
  let [longest, current] = [0, 0];

  for (const [i, payload] of payloads.entries()) {
    const alone = layerOf(payload) === 0 && layerOf(payloads[i + 1] ?? payload) === 0;

    current = alone ? current + 1 : 0;
    longest = Math.max(longest, current);
  }

  return longest;
}
