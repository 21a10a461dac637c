'use strict';

const { pause } = require('../../examples/lib/deadline');
const { Scattered, startWays } = require('../fleet/lib/scattered');
const { hosts } = require('../network/lib/hosts');
const { onNetwork } = require('../network/lib/on-network');
const { MessageStream } = require('../../benches/lib/soak/message-stream');
const { keyFrameComes } = require('./lib/key-frame');
const { RelayedHosts } = require('./lib/relayed-hosts');

/** @import { Host } from '../network/lib/hosts' */
/** @import { Heard, Listener } from '../fleet/lib/listener' */
/** @import { CountedStream } from '../fleet/lib/counted-stream' */
/** @import { Source } from '../fleet/lib/source' */

const { afterEach, beforeEach, describe, test } = onNetwork(__filename);

const { agent1, agent2 } = hosts;
const SEED = 20_261_127;
/** The delay is more than the jitter: what is sent again never comes before what was only late. */
const LOSSY = { lossRate: 0.05, delayMs: 20, jitterMs: 10 };
const BLACK_HOLE = { lossRate: 1 };
const CUT_MS = 3_000;
const FRAMES = 150;
const RATE = 50;
const MESSAGES = 200;

/** @type {RelayedHosts} */
let network;
/** @type {Scattered} */
let scattered;
/** Video and audio on each host. @type {Source[]} */
let sources;
/** One on each host. @type {Listener[]} */
let listeners;
/** Of each source at each listener. @type {{ source: Source, listener: Listener, heard: Heard }[]} */
let ways;
/** Through the pipes, both ways. @type {MessageStream[]} */
let streams;
/** Anything that a Consumer heard of its Producer, or of its transport. @type {string[]} */
let events;

beforeEach(async () => {
  network = await RelayedHosts.open(SEED);
  scattered = await Scattered.open(RelayedHosts.hosts, { argsOf: RelayedHosts.argsOf });
  sources = [];
  for (let mark = 0; mark < 2; mark++) {
    sources.push(await scattered.source([{ kind: 'video', mark, rate: RATE }]));
  }
  for (let mark = 2; mark < 4; mark++) {
    sources.push(await scattered.source([{ kind: 'audio', mark, rate: RATE }]));
  }
  listeners = await scattered.listeners(2);
  ways = await startWays(sources, listeners);
  // The transports of each are on different hosts.
  streams = [await MessageStream.open(scattered.router)];
  await skipOne();
  streams.push(await MessageStream.open(scattered.router));
  events = [];
  for (const { heard } of ways) {
    for (const event of /** @type {const} */ (['producerclose', 'transportclose'])) {
      heard.consumer.on(event, () => events.push(event));
    }
  }
  scattered.worker.on('died', () => events.push('died'));
});

afterEach(async () => {
  await scattered?.close();
  await network?.close();
});

/** So that the next transport is on the other host than it would have been. */
async function skipOne() {
  await scattered.router.createDirectTransport();
}

/** Those whose source and listener are on different hosts. */
function far() {
  const hostOf = (/** @type {Source | Listener} */ one) => one.transport.tuple.localAddress;
  const found = ways.filter(({ source, listener }) => hostOf(source) !== hostOf(listener));

  expect(found).toHaveLength(sources.length);

  return found;
}

/** @param {{ source: Source, heard: Heard }} way */
async function keyFrame({ source, heard }) {
  const asked = source.stream.keyFrameRequests;

  await keyFrameComes(heard, (error) => events.push(`${error}`));
  expect(source.stream.keyFrameRequests).toBeGreaterThan(asked);
}

/** Messages at an even pace, until all were sent. */
async function sendMessages() {
  for (let i = 0; i < MESSAGES; i++) {
    for (const stream of streams) {
      stream.send();
    }
    await pause(5);
  }
}

/** Each message came once and in order. */
async function expectAllMessages() {
  for (const stream of streams) {
    await stream.settle();
    expect(stream).toMatchObject({ waiting: 0, refused: 0, broken: 0 });
    expect(stream.numbers).toMatchObject({ arrived: stream.sent, doubled: 0, reordered: 0 });
  }
}

/**
 * All that was sent since the first packet that came is here, once, in whatever order.
 *
 * @param {CountedStream} stream
 * @param {Heard} heard
 */
function expectRepaired(stream, heard) {
  const sent = stream.sent.map((payload) => payload.toString('hex'));
  const came = heard.payloads.map((payload) => payload.toString('hex'));
  const first = Math.min(...came.map((payload) => sent.indexOf(payload)));

  expect(heard.order).toMatchObject({ lost: 0, duplicates: 0 });
  expect(came.toSorted()).toEqual(sent.slice(first).toSorted());
}

/**
 * @param {Host} from
 * @param {Host} to
 */
async function lostBetween(from, to) {
  return (await network.counts(from, to)).lost;
}

describe('between hosts', () => {
  test('what is lost, late or overtaken on the way is sent again: consumers miss nothing', async () => {
    await network.impairAll(LOSSY);
    await Promise.all([...sources.map((source) => source.frames(FRAMES)), sendMessages()]);
    expect(await lostBetween(agent1, agent2)).toBeGreaterThan(10);
    expect(await lostBetween(agent2, agent1)).toBeGreaterThan(10);
    // The loss of a last packet shows only in the next one.
    await network.impairAll({});
    await Promise.all(sources.map((source) => source.frames(RATE)));
    for (const source of sources) {
      source.stop();
    }
    await Promise.all(ways.map(({ source, heard }) => heard.hearsEnd(source.stream)));
    for (const { source, heard } of ways) {
      expectRepaired(source.stream, heard);
    }
    // Where something was missing for a while, what came later went first.
    expect(far().some(({ heard }) => heard.order.reordered > 0)).toBe(true);
    await expectAllMessages();
    expect(events).toEqual([]);
  });

  test('key frames that are asked for as clients do come, however much is lost', async () => {
    const videos = far().filter(({ heard }) => heard.consumer.kind === 'video');

    await network.impairAll({ ...LOSSY, lossRate: 0.2 });

    for (let i = 0; i < 3; i++) {
      await Promise.all(videos.map(keyFrame));
    }
    expect(videos).toHaveLength(2);
    expect(events).toEqual([]);
  });

  test.each([
    { what: 'one way', cut: [[agent1, agent2]] },
    { what: 'the other way', cut: [[agent2, agent1]] },
    {
      what: 'both ways',
      cut: [
        [agent1, agent2],
        [agent2, agent1],
      ],
    },
  ])(
    'nothing gets through for 3 s, $what: media and messages go on afterwards',
    async ({ cut }) => {
      const both = /** @type {[Host, Host][]} */ (cut);
      const sending = sendMessages();
      const quiet = far().filter(({ source }) =>
        both.some(([from]) => source.transport.tuple.localAddress === addressOf(from)),
      );
      const loud = ways.filter((way) => !quiet.includes(way));

      for (const [from, to] of both) {
        await network.impair(from, to, BLACK_HOLE);
      }
      // The cut itself, during which all others are heard.
      await pause(CUT_MS);
      await Promise.all(loud.map(({ heard }) => heard.hears(heard.payloads.length)));
      const before = quiet.map(({ heard }) => heard.payloads.length);

      // One stream of messages goes each way.
      expect(streams.filter(({ waiting }) => waiting > 0).length).toBeGreaterThanOrEqual(
        both.length,
      );
      for (const [from, to] of both) {
        expect(await lostBetween(from, to)).toBeGreaterThan(RATE);
      }
      await network.impairAll({});
      await Promise.all(
        quiet.map(({ heard }, i) => heard.hears(/** @type {number} */ (before[i]) + RATE)),
      );
      await Promise.all(quiet.filter(({ heard }) => heard.consumer.kind === 'video').map(keyFrame));
      await sending;
      await expectAllMessages();
      expect(ways.every(({ heard }) => heard.order.duplicates === 0)).toBe(true);
      expect(events).toEqual([]);
      // Who was not cut off lost nothing.
      for (const source of sources) {
        source.stop();
      }
      for (const { source, heard } of loud) {
        await heard.hearsEnd(source.stream);
        expectRepaired(source.stream, heard);
      }
    },
  );

  test('a narrow way between hosts costs packets, and nothing else', async () => {
    // Less than the sources send.
    await network.impair(agent1, agent2, { bytesPerSecond: 4_000 });
    await Promise.all(sources.map((source) => source.frames(FRAMES)));
    expect(await lostBetween(agent1, agent2)).toBeGreaterThan(0);
    expect(await lostBetween(agent2, agent1)).toBe(0);
    await network.impairAll({});
    await Promise.all(far().map(({ heard }) => heard.hears(heard.payloads.length + RATE)));
    expect(events).toEqual([]);
  });
});

/** @param {Host} host */
function addressOf({ name }) {
  return RelayedHosts.addresses[name];
}
