'use strict';

const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');

/** @import { Source } from './lib/source' */

jest.setTimeout(TEST_TIMEOUT);

const SOURCES = 10;
const FRAMES = 20;

/** @type {Scattered} */
let scattered;

beforeEach(async () => {
  scattered = await Scattered.open();
});

afterEach(() => scattered?.close());

test('ten sources on three agents are each heard on every agent, whole', async () => {
  /** @type {Source[]} */
  const sources = [];

  for (let mark = 0; mark < SOURCES; mark++) {
    const kind = mark % 2 === 0 ? 'video' : 'audio';

    sources.push(await scattered.source([{ kind, mark, rate: 15 }]));
  }

  const listeners = await scattered.listeners(3);
  const agents = scattered.agentsOf(listeners.map(({ transport }) => transport));
  const ingests = scattered.agentsOf(sources.map(({ transport }) => transport));
  // All at once: the first uses of a pair, and of each pipe, meet.
  const heard = await Promise.all(
    listeners.flatMap((listener) =>
      sources.map(async (source) => ({ source, one: await listener.consume(source.producer) })),
    ),
  );

  expect(new Set(agents).size).toBe(3);
  expect(new Set(ingests).size).toBe(3);

  for (const source of sources) {
    source.start();
  }
  await Promise.all(heard.map(({ one }) => one.hears()));
  await Promise.all(sources.map((source) => source.frames(FRAMES)));
  await scattered.expectOnlyOwn();
  for (const source of sources) {
    source.stop();
  }
  await Promise.all(heard.map(({ source, one }) => one.hearsEnd(source.stream)));

  for (const { source, one } of heard) {
    one.expectIntact(source.stream);
    expect(one.payloads.length).toBeGreaterThanOrEqual(FRAMES);
  }
  expect(listeners.map(({ unexpected }) => unexpected)).toEqual([0, 0, 0]);
});
