'use strict';

const { Scattered } = require('../fleet/lib/scattered');
const { hosts } = require('../network/lib/hosts');
const { onNetwork } = require('../network/lib/on-network');
const { within } = require('../processes/lib/deadline');
const { eventOf } = require('../support/events');
const { Random } = require('../support/random');
const { FaultyLink } = require('./lib/faulty-link');
const { keyFrameComes } = require('./lib/key-frame');
const { RelayedHosts } = require('./lib/relayed-hosts');

/** @import { Heard, Listener } from '../fleet/lib/listener' */
/** @import { Source } from '../fleet/lib/source' */
/** @import { Host } from '../network/lib/hosts' */
/** @import { Side } from '../../benches/lib/link/tcp-proxy' */

const { afterEach, beforeEach, test } = onNetwork(__filename);

const SEED = Number(process.env.TEST_SEED ?? 4_711);
const ROUNDS = Number(process.env.TEST_ROUNDS ?? 12);
const FAR = { delayMs: 40, jitterMs: 30 };
const LOSSY = { lossRate: 0.05, delayMs: 20, jitterMs: 10 };
/** Silence is noticed in less than a second, for the test's sake. */
const QUICK = { heartbeatMs: 200, silenceMs: 800, silentWindowMs: 300 };
/** How often a way between the hosts is one that swallows all. */
const BLACK_HOLES = 1 / 3;
const FRAMES = 20;

/** @type {[Host, Host][]} */
const WAYS = [
  [hosts.agent1, hosts.agent2],
  [hosts.agent2, hosts.agent1],
];

/** @type {RelayedHosts} */
let network;
/** @type {FaultyLink[]} */
let links;
/** @type {Scattered} */
let scattered;
/** Anything that must not happen. @type {string[]} */
let strange;

beforeEach(async () => {
  [links, strange] = [[], []];
  network = await RelayedHosts.open(SEED);
  scattered = await Scattered.open(RelayedHosts.hosts, {
    argsOf: RelayedHosts.argsOf,
    connection: QUICK,
    via: async ({ url }) => {
      const link = await FaultyLink.at(url, { seed: SEED + links.length, impairment: FAR });

      links.push(link);

      return link.url;
    },
  });
  scattered.worker.on('died', ({ message }) => strange.push(message));
  await network.impairAll(LOSSY);
});

afterEach(async () => {
  mend();
  await scattered?.close();
  links.forEach((link) => void link.close());
  await network?.close();
});

/** @type {((link: FaultyLink) => void)[]} */
const HARMS = [
  (link) => link.cut(),
  (link) => link.down(),
  (link) => link.hold(),
  (link) => link.hold(/** @type {Side[]} */ (['agent'])),
  (link) => link.hold(/** @type {Side[]} */ (['controller'])),
  (link) => link.forget('agent'),
  (link) => link.forget('controller'),
  (link) => link.freeze(),
];

function mend() {
  for (const link of links) {
    link.release();
    link.up();
  }
}

/** @param {Heard} heard */
function keyFrame(heard) {
  return keyFrameComes(heard, (error) => strange.push(`${error}`));
}

/**
 * Somebody who comes, listens to all, and goes.
 *
 * @param {Source[]} sources
 */
async function visit(sources) {
  const listener = await within(scattered.listener(), 'a transport', 20_000);
  const all = await within(
    Promise.all(sources.map((source) => listener.consume(source.producer))),
    'Consumers',
    20_000,
  );

  await Promise.all(all.map(keyFrame));

  return { listener, all };
}

/**
 * @param {Listener} listener
 * @param {Heard[]} all
 */
function leave(listener, all) {
  listener.transport.close();
  listener.close();
  for (const { consumer, order } of all) {
    expect(consumer.closed).toBe(true);
    expect(order.duplicates).toBe(0);
  }
}

test('links that are cut, far and half open, over a network that loses packets: a room goes on', async () => {
  const random = new Random(SEED);
  const sources = [
    await scattered.source([{ kind: 'video', mark: 1 }]),
    await scattered.source([{ kind: 'video', mark: 2 }]),
  ];

  for (const source of sources) {
    source.start();
  }
  // Those who stay from the beginning to the end, one on each host.
  const residents = [await visit(sources), await visit(sources)];

  for (let round = 0; round < ROUNDS; round++) {
    const link = random.pick(links);
    const harm = HARMS[round % HARMS.length];
    const source = random.pick(sources);
    const hearing = residents.map(
      ({ all }) => /** @type {Heard} */ (all[sources.indexOf(source)]).consumer,
    );

    const paused = Promise.all(hearing.map((consumer) => eventOf(consumer, 'producerpause')));
    const visiting = visit(sources);

    harm?.(link);
    if (random.next() < BLACK_HOLES) {
      await network.impair(...random.pick(WAYS), { lossRate: 1 });
    }
    const pausing = source.producer.pause();

    // It lasts as long as it takes some frames to be sent.
    await /** @type {Source} */ (sources.find((one) => one !== source)).frames(FRAMES);
    mend();
    await network.impairAll(LOSSY);
    await within(pausing, 'pause()', 20_000);
    await paused;

    const resumed = Promise.all(hearing.map((consumer) => eventOf(consumer, 'producerresume')));

    await within(source.producer.resume(), 'resume()', 20_000);
    await resumed;
    const { listener, all } = await visiting;

    leave(listener, all);
  }
  await scattered.expectOnlyOwn();
  await network.impairAll({});
  await Promise.all(residents.flatMap(({ all }) => all).map(keyFrame));
  for (const { all } of residents) {
    expect(all.every(({ consumer }) => !consumer.closed && !consumer.producerPaused)).toBe(true);
  }
  expect(strange).toEqual([]);
});
