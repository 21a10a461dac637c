'use strict';

const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');

jest.setTimeout(TEST_TIMEOUT);

const LISTENERS = 60;
const FRAMES = 30;

/** @type {Scattered} */
let scattered;

beforeEach(async () => {
  scattered = await Scattered.open();
});

afterEach(() => scattered?.close());

test('one source reaches 60 Consumers on three agents, whole', async () => {
  const source = await scattered.source([{ kind: 'video' }]);
  const listeners = await scattered.listeners(LISTENERS);
  const agents = scattered.agentsOf(listeners.map(({ transport }) => transport));
  const heard = await Promise.all(listeners.map((one) => one.consume(source.producer)));

  for (const agent of scattered.agents) {
    expect(agents.filter((other) => other === agent)).toHaveLength(LISTENERS / 3);
  }

  source.start();
  await Promise.all(heard.map((one) => one.hears()));
  await source.frames(FRAMES);
  await scattered.expectOnlyOwn();
  source.stop();
  await Promise.all(heard.map((one) => one.hearsEnd(source.stream)));

  const ssrcs = new Set(heard.map(({ consumer }) => consumer.rtpParameters.encodings?.[0]?.ssrc));

  expect(ssrcs.size).toBe(LISTENERS);
  for (const [i, one] of heard.entries()) {
    one.expectIntact(source.stream);
    expect(one.payloads.length).toBeGreaterThanOrEqual(FRAMES);
    expect(listeners[i]?.unexpected).toBe(0);
  }
});
