'use strict';

const { within } = require('../../examples/lib/deadline');
const { EVENT_TIMEOUT, eventOf } = require('../support/events');
const { HeldLink } = require('../support/held-link');
const { Scattered, TEST_TIMEOUT, startWays } = require('./lib/scattered');

/** @import { Heard, Listener } from './lib/listener' */
/** @import { Source } from './lib/source' */
/** @import { TestAgent } from '../support/agent' */

jest.setTimeout(TEST_TIMEOUT);

const FRAMES = 10;
/** Silence is noticed in less than a second, for the test's sake. */
const QUICK = { heartbeatMs: 200, silenceMs: 800, silentWindowMs: 200 };
const POLL_MS = 20;

/** @type {Scattered} */
let scattered;
/** The way to each agent. @type {Map<TestAgent, HeldLink>} */
let links;
/** One on each agent. @type {Source[]} */
let sources;
/** One on each agent. @type {Listener[]} */
let listeners;
/** Of each source at each listener. @type {{ source: Source, listener: Listener, heard: Heard }[]} */
let ways;

beforeEach(async () => {
  links = new Map();
  scattered = await Scattered.open(undefined, {
    connection: QUICK,
    via: async (agent) => {
      const link = await HeldLink.open(agent.url);

      links.set(agent, link);

      return link.url;
    },
  });
  sources = [];
  for (let mark = 0; mark < 3; mark++) {
    sources.push(await scattered.source([{ kind: 'video', mark }]));
  }
  listeners = await scattered.listeners(3);
  ways = await startWays(sources, listeners);
});

afterEach(async () => {
  for (const link of links.values()) {
    link.release();
  }
  await scattered?.close();
  for (const link of links.values()) {
    link.close();
  }
});

/**
 * @param {TestAgent} agent
 * @param {string} state
 */
async function reach(agent, state) {
  const reached = async () => {
    while (scattered.stateOf(agent) !== state) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  };

  await within(reached(), { ms: EVENT_TIMEOUT, what: `a connection that is ${state}` });
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {string} what
 */
function answered(promise, what) {
  return within(promise, { ms: EVENT_TIMEOUT, what });
}

test('an agent that swallows everything freezes nothing, and then hears all of it', async () => {
  const { worker, router } = scattered;
  const agents = scattered.agentsOf([...sources, ...listeners].map(({ transport }) => transport));
  const away = agents.find((agent) => agent !== scattered.home);
  const link = links.get(/** @type {TestAgent} */ (away));
  const near = sources.filter((_, i) => agents[i] !== away);
  const [paused, resumed] = /** @type {[Source, Source]} */ (near);
  const far = ways.filter(({ listener }) => agents[3 + listeners.indexOf(listener)] === away);
  const heardFar = (/** @type {Source} */ source) =>
    /** @type {Heard} */ (far.find((way) => way.source === source)?.heard);

  expect(far).toHaveLength(3);
  link?.hold();
  await reach(/** @type {TestAgent} */ (away), 'disconnected');

  // Within reach all goes on.
  const told = ways.filter((way) => way.source === paused && !far.includes(way));
  const pauses = Promise.all(told.map(({ heard }) => eventOf(heard.consumer, 'producerpause')));

  await answered(paused.producer.pause(), 'pause()');
  await pauses;
  await answered(resumed.producer.pause(), 'pause()');
  await answered(resumed.producer.resume(), 'resume()');
  await answered(worker.updateSettings({ logLevel: 'warn' }), 'updateSettings()');
  expect(await answered(worker.getResourceUsage(), 'getResourceUsage()')).toMatchObject({
    ru_maxrss: expect.any(Number),
  });
  expect(await answered(worker.dump(), 'dump()')).toMatchObject({ routerIds: [router.id] });
  await answered(scattered.expectOnlyOwn(), "the Router's dump()");
  // What is new goes where it can be made.
  const [more] = await answered(scattered.listeners(1), 'a transport');
  const [place] = scattered.agentsOf([/** @type {Listener} */ (more).transport]);

  expect(place).not.toBe(away);
  expect(heardFar(paused).consumer.producerPaused).toBe(false);

  // Nothing of the media went over that link.
  const before = far.map(({ heard }) => heard.payloads.length);

  await Promise.all(sources.map((source) => source.frames(FRAMES)));
  await Promise.all(
    far
      .filter(({ source }) => source !== paused)
      .map(({ heard }) => heard.hears(heard.payloads.length)),
  );
  expect(far.map(({ heard }) => heard.payloads.length)).not.toEqual(before);

  const late = [
    eventOf(heardFar(paused).consumer, 'producerpause'),
    eventOf(heardFar(resumed).consumer, 'producerresume'),
  ];

  link?.release();
  await Promise.all(late);
  await reach(/** @type {TestAgent} */ (away), 'connected');
  expect(heardFar(paused).consumer.producerPaused).toBe(true);
  expect(heardFar(resumed).consumer.producerPaused).toBe(false);
  expect(worker.closed).toBe(false);
  await answered(scattered.expectOnlyOwn(), "the Router's dump()");
});
