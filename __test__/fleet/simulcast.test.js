'use strict';

const { eventUntil } = require('../support/events');
const { markOf } = require('./lib/counted-stream');
const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');

/** @import { RtpParameters } from 'mediasoup-upstream/types' */
/** @import { CountedStream } from './lib/counted-stream' */
/** @import { Heard, Listener } from './lib/listener' */
/** @import { Source } from './lib/source' */

jest.setTimeout(TEST_TIMEOUT);

/** Of the spatial layers, lowest first. */
const LAYERS = [0, 1, 2].map((mark) => ({
  kind: /** @type {const} */ ('video'),
  rate: 50,
  cname: 'simulcast',
  mark,
}));
const TOP = 2;
const WARM_UP = 10;
const FRAMES = 10;

/** @type {Scattered} */
let scattered;
/** @type {Source} */
let source;
/** @type {Listener} */
let near;
/** @type {Listener[]} */
let far;

beforeEach(async () => {
  scattered = await Scattered.open();
  source = await scattered.source(LAYERS, { parameters: simulcast });

  const listeners = await scattered.listeners(3);

  near = scattered.beside(listeners, source.transport);
  far = listeners.filter((one) => one !== near);
  source.start();
  await source.frames(WARM_UP);
});

afterEach(() => scattered?.close());

/**
 * @param {CountedStream[]} streams
 * @returns {RtpParameters[]}
 */
function simulcast(streams) {
  const [first] = streams.map(({ rtpParameters }) => rtpParameters);

  return [
    {
      .../** @type {RtpParameters} */ (first),
      encodings: streams.map(({ ssrc }) => ({ ssrc })),
    },
  ];
}

/**
 * @param {Heard} heard
 * @param {number} layer
 * @param {number} [from] Since which packet.
 */
async function hearsLayer(heard, layer, from = 0) {
  await eventUntil(heard.events, 'packet', () =>
    heard.payloads.slice(from).some((payload) => markOf(payload) === layer),
  );
}

/** @param {Listener} listener */
async function timeToTop(listener) {
  const start = performance.now();
  const heard = await listener.consume(source.producer);

  expect(heard.consumer).toMatchObject({ type: 'simulcast', paused: false });
  await hearsLayer(heard, TOP);

  return { heard, ms: Math.round(performance.now() - start) };
}

test('the top layer reaches Consumers over cold pipes', async () => {
  const control = await timeToTop(near);
  const cold = [];

  for (const listener of far) {
    cold.push(await timeToTop(listener));
  }

  const warm = await timeToTop(/** @type {Listener} */ (far[0]));

  // Clocks of busy machines tell too little to judge by.
  console.info(
    `ms to the top layer: ${control.ms} on one worker; ` +
      `${cold.map(({ ms }) => ms).join(' and ')} over cold pipes; ${warm.ms} over a warm one`,
  );

  const all = [control, ...cold, warm].map(({ heard }) => heard);

  await source.frames(FRAMES);
  source.stop();
  await Promise.all(
    all.map((heard) => heard.hearsEnd(/** @type {CountedStream} */ (source.streams[TOP]))),
  );
  for (const heard of all) {
    expect(heard.order).toEqual({ lost: 0, duplicates: 0, reordered: 0 });
    expect(heard.isKeyFrame(0)).toBe(true);
    // Once there, it stays there, and what comes is what was sent, in order.
    const marks = heard.payloads.map(markOf);
    const top = heard.payloads.slice(marks.indexOf(TOP));

    expect(top.map(markOf)).toEqual(top.map(() => TOP));
    expect(bodies(top)).toEqual(
      bodies(/** @type {CountedStream} */ (source.streams[TOP]).sent.slice(-top.length)),
    );
    expect(heard.consumer.currentLayers).toMatchObject({ spatialLayer: TOP });
  }
});

test('the preferred layer is what comes, on each agent', async () => {
  const all = await Promise.all(
    [near, ...far].map((listener) => listener.consume(source.producer)),
  );

  await Promise.all(all.map((heard) => hearsLayer(heard, TOP)));
  for (const layer of [0, 2, 1]) {
    const from = all.map(({ payloads }) => payloads.length);

    await Promise.all(
      all.map(({ consumer }) => consumer.setPreferredLayers({ spatialLayer: layer })),
    );
    await Promise.all(all.map((heard, i) => hearsLayer(heard, layer, from[i])));
    for (const { consumer } of all) {
      await eventUntil(
        consumer,
        'layerschange',
        () => consumer.currentLayers?.spatialLayer === layer,
      );
    }
  }
  source.stop();
  await Promise.all(
    all.map((heard) => heard.hearsEnd(/** @type {CountedStream} */ (source.streams[1]))),
  );
  expect(all.map(({ order }) => order)).toEqual(
    all.map(() => ({ lost: 0, duplicates: 0, reordered: 0 })),
  );
});

/**
 * Without their descriptors: a Consumer numbers its pictures itself.
 *
 * @param {Buffer[]} payloads
 */
function bodies(payloads) {
  return payloads.map((payload) => payload.subarray(4).toString('hex'));
}
