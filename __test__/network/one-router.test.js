'use strict';

const { Scattered } = require('../fleet/lib/scattered');
const { LOOPBACK } = require('../fleet/lib/source');
const { hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');

/** @import { Source } from '../fleet/lib/source' */

const { afterAll, beforeAll, test } = onNetwork(__filename);

const FRAMES = 20;
const HOSTS = [hosts.agent1, hosts.agent2, hosts.app];
/** On the app's own host, what the app says holds. */
const ADDRESSES = [hosts.agent1.ip, hosts.agent2.ip, LOOPBACK];

/** @type {Scattered} */
let scattered;

beforeAll(async () => {
  scattered = await Scattered.open(HOSTS);
});

afterAll(() => scattered?.close());

test('media of one Router get from every host to every other one', async () => {
  /** @type {Source[]} */
  const sources = [];

  for (let mark = 0; mark < HOSTS.length; mark++) {
    sources.push(await scattered.source([{ kind: mark === 0 ? 'audio' : 'video', mark }]));
  }

  const listeners = await scattered.listeners(HOSTS.length);

  for (const all of [sources, listeners]) {
    const addresses = all.map(({ transport }) => transport.tuple.localAddress);

    expect(addresses.sort()).toEqual(ADDRESSES.toSorted());
  }

  const ways = await Promise.all(
    listeners.flatMap((listener) =>
      sources.map(async (source) => ({ source, heard: await listener.consume(source.producer) })),
    ),
  );

  for (const source of sources) {
    source.start();
  }
  await Promise.all(ways.map(({ heard }) => heard.hears()));
  await Promise.all(sources.map((source) => source.frames(FRAMES)));
  await scattered.expectOnlyOwn();
  for (const source of sources) {
    source.stop();
  }
  for (const { source, heard } of ways) {
    await heard.hearsEnd(source.stream);
    heard.expectIntact(source.stream);
  }
});
