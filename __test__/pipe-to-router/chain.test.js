'use strict';

const { eventOf } = require('../support/events');
const { ALL, World, heard, pipeData, pipeMedia, produce, produceData } = require('./lib/world');

/** @import { types } from 'mediasoup-upstream' */

/** More than one wait in it may take. */
jest.setTimeout(30_000);

/**
 * @typedef {object} Chain A producer, piped from the first Router to the second, from there to the
 *   third.
 * @property {types.Producer | types.DataProducer} source
 * @property {types.Producer | types.DataProducer} middle
 * @property {types.Producer | types.DataProducer} last
 * @property {types.Consumer | types.DataConsumer} pipeConsumer The one of the first Router.
 * @property {() => Promise<void>} heardFirst
 * @property {() => Promise<void>} heardLast
 */

/**
 * @param {World} world
 * @param {'media' | 'data'} what
 * @returns {Promise<Chain>}
 */
async function openChain(world, what) {
  const [a, b, c] = /** @type {[types.Router, types.Router, types.Router]} */ (
    await world.routers(3)
  );
  const heardOf = { heardFirst: () => heard(a), heardLast: () => heard(c) };

  if (what === 'media') {
    const source = await produce(a);
    const { pipeConsumer, ...one } = await pipeMedia(a, { producerId: source.id, router: b });
    const two = await pipeMedia(b, { producerId: source.id, router: c });

    return { source, middle: one.pipeProducer, last: two.pipeProducer, pipeConsumer, ...heardOf };
  }

  const source = await produceData(a);
  const { pipeDataConsumer: pipeConsumer, ...one } = await pipeData(a, {
    dataProducerId: source.id,
    router: b,
  });
  const two = await pipeData(b, { dataProducerId: source.id, router: c });

  return {
    source,
    middle: one.pipeDataProducer,
    last: two.pipeDataProducer,
    pipeConsumer,
    ...heardOf,
  };
}

/** @param {Chain['source']} producer */
async function pausedInWorker(producer) {
  return (await producer.dump()).paused;
}

describe.each(ALL)('$name', (kind) => {
  /** @type {World} */
  let world;

  beforeAll(async () => {
    world = await World.open(kind);
  });

  afterAll(() => world?.close());

  // What mediasoup never forwards cannot be late.
  const kinds = kind.ours
    ? /** @type {const} */ (['media', 'data'])
    : /** @type {const} */ (['media']);

  test.each(kinds)('pause and resume of %s do not wait for a host in between', async (what) => {
    const chain = await openChain(world, what);
    const { source, last } = chain;

    await world.withoutSecond(async () => {
      for (const paused of [true, false]) {
        await (paused ? source.pause() : source.resume());
        await chain.heardFirst();
        expect([paused, await pausedInWorker(last)]).toEqual([paused, kind.ours && paused]);
      }
      await source.pause();
    });

    // In the end they all agree.
    if (!last.paused) {
      await eventOf(last.observer, 'pause');
    }
    expect(await Promise.all([chain.middle, last].map(pausedInWorker))).toEqual([true, true]);
  });

  test.each(['media', 'data'])('close of %s does not wait for a host in between', async (what) => {
    const chain = await openChain(world, /** @type {'media' | 'data'} */ (what));
    const { source, middle, last } = chain;
    const gone = eventOf(last.observer, 'close');

    await world.withoutSecond(async () => {
      source.close();
      await chain.heardFirst();
      await chain.heardLast();
      expect(last.closed).toBe(kind.ours);
    });

    await gone;
    expect([middle.closed, last.closed, chain.pipeConsumer.closed]).toEqual([true, true, true]);
  });

  if (kind.ours) {
    test.each(/** @type {const} */ (['media', 'data']))(
      'the last state of %s wins, however fast they change',
      async (what) => {
        const { source, middle, last } = await openChain(world, what);

        for (const end of [true, false]) {
          const answers = Array.from({ length: 21 }, (_, i) =>
            (i % 2 === 0) === end ? source.pause() : source.resume(),
          );

          await Promise.all(answers);
          expect(source.paused).toBe(end);
          expect(await Promise.all([middle, last].map(pausedInWorker))).toEqual([end, end]);
        }
      },
    );

    test('a pipe producer that the app pauses itself pauses what follows it', async () => {
      const { middle, last, source } = await openChain(world, 'media');
      const [paused, resumed] = [eventOf(last.observer, 'pause'), eventOf(last.observer, 'resume')];

      await middle.pause();
      await paused;
      expect(source.paused).toBe(false);
      await middle.resume();
      await resumed;
    });
  }
});
