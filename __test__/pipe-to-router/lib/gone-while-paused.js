'use strict';

/**
 * A pipe producer is gone before it learns that its producer is paused. A process of its own, which
 * a rejection that nobody handles ends.
 *
 *   node gone-while-paused.js KIND
 */

const { eventOf } = require('../../support/events');
const { ALL, World, pipeMedia, produce } = require('./world');

/** @param {string | undefined} name */
async function main(name) {
  const kind = ALL.find((one) => one.name === name);

  if (kind === undefined) {
    throw new Error(`there are no ${name}`);
  }

  const world = await World.open(kind);

  try {
    const [workerA, workerB] = [await world.newWorker(), await world.newWorker()];
    const options = { mediaCodecs: world.mediaCodecs };
    const [a, b] = [await workerA.createRouter(options), await workerB.createRouter(options)];
    const producer = await produce(a);
    const { pipeConsumer } = await pipeMedia(a, { producerId: producer.id, router: b });
    const told = [pipeConsumer, producer].map(({ observer }) => eventOf(observer, 'pause'));

    await world.withoutSecond(async () => {
      await Promise.all([producer.pause(), ...told]);
      // The pipe producer has been asked by now, and cannot answer.
      workerB.close();
    });
  } finally {
    await world.close();
  }
}

void main(process.argv[2]);
