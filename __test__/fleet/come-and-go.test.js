'use strict';

const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');

/** @import { Listener } from './lib/listener' */

jest.setTimeout(TEST_TIMEOUT);

const ROUNDS = 8;
const FRAMES = 5;

/** @type {Scattered} */
let scattered;

beforeEach(async () => {
  scattered = await Scattered.open();
});

afterEach(() => scattered?.close());

test.each(/** @type {const} */ (['audio', 'video']))(
  '%s: as the last Consumer on an agent goes, the next one comes',
  async (kind) => {
    const source = await scattered.source([{ kind }]);
    const listeners = await scattered.listeners(3);

    source.start();

    let heard = await Promise.all(listeners.map((listener) => listener.consume(source.producer)));

    for (let round = 0; round < ROUNDS; round++) {
      const before = heard;

      await Promise.all(before.map((one) => one.hears()));
      await source.frames(FRAMES);

      // The close is on its way as the consume is, half of the time before it.
      const next = listeners.map((listener, i) => {
        const { consumer } = /** @type {(typeof before)[0]} */ (before[i]);

        if (round % 2 === 0) {
          consumer.close();
        }
        const coming = listener.consume(source.producer);

        consumer.close();

        return coming;
      });

      heard = await Promise.all(next);
      for (const one of before) {
        expect(one.order).toEqual({ lost: 0, duplicates: 0, reordered: 0 });
      }
      await scattered.expectOnlyOwn();
    }

    await Promise.all(heard.map((one) => one.hears()));
    await source.frames(FRAMES);
    source.stop();
    await Promise.all(heard.map((one) => one.hearsEnd(source.stream)));
    for (const one of heard) {
      one.expectIntact(source.stream);
    }
  },
);

test('transports come and go while a source plays on', async () => {
  const source = await scattered.source([{ kind: 'video' }]);
  const [staying] = /** @type {[Listener]} */ (await scattered.listeners(1));
  const stays = await staying.consume(source.producer);

  source.start();
  for (let round = 0; round < ROUNDS; round++) {
    const guests = await scattered.listeners(3);
    const heard = await Promise.all(guests.map((guest) => guest.consume(source.producer)));

    await Promise.all(heard.map((one) => one.hears()));
    for (const { transport } of guests) {
      transport.close();
    }
    await scattered.expectOnlyOwn();
  }
  await stays.hears();
  await source.frames(FRAMES);
  source.stop();
  await stays.hearsEnd(source.stream);
  stays.expectIntact(source.stream);
});
