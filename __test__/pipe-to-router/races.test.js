'use strict';

const { setImmediate: turn } = require('node:timers/promises');
const { within } = require('../../examples/lib/deadline');
const { EVENT_TIMEOUT } = require('../support/events');
const { OURS, World, countPipes, outcome, produce } = require('./lib/world');

/** @import { EventEmitter } from 'node:events' */
/** @import { types } from 'mediasoup-upstream' */

/** More than one wait in it may take. */
jest.setTimeout(30_000);

/** When something goes wrong: while answers are on their way, or as they come. */
const LATER_MOMENTS = ['consuming', 'newconsumer', 'producing', 'newproducer'];
const MOMENTS = ['creating', 'A newtransport', 'B newtransport', ...LATER_MOMENTS];

/**
 * @typedef {object} Scene
 * @property {types.Router} a
 * @property {types.Router} b
 * @property {types.Worker} workerB
 * @property {types.Producer} producer
 * @property {types.PipeTransport[]} pipes Those there are so far.
 * @property {(types.Consumer | types.Producer)[]} ends Those there are so far.
 */

/** @type {Record<string, (scene: Scene) => void>} What goes wrong. */
const ACTS = {
  'the producer closes': ({ producer }) => producer.close(),
  'the pipe consumer closes': ({ ends }) => ends[0]?.close(),
  'a pipe transport closes': ({ pipes }) => pipes[0]?.close(),
  'the local router closes': ({ a }) => a.close(),
  'the remote router closes': ({ b }) => b.close(),
  'the remote worker closes': ({ workerB }) => workerB.close(),
};

/** Others may use the pair of a producer that is gone. */
const PAIR_STAYS = ['the producer closes', 'the pipe consumer closes'];

/** What was asked is not there yet, so there is nothing to close. */
const HARMLESS = [
  'a pipe transport closes: creating',
  ...['creating', 'A newtransport', 'B newtransport', 'consuming'].map(
    (moment) => `the pipe consumer closes: ${moment}`,
  ),
];

const ANY_ERROR = /^(NotFound|WorkerClosed)Error: /;
const ORIGINAL_CLOSED = /^NotFoundError: original Producer closed$/;

describe.each(OURS)('$name', (kind) => {
  /** @type {World} */
  let world;
  /** @type {types.Worker} */
  let workerA;

  beforeAll(async () => {
    world = await World.open(kind);
    workerA = await world.newWorker();
  });

  afterAll(() => world?.close());

  /** @returns {Promise<Scene>} */
  async function open() {
    const workerB = await world.newWorker();
    const [a, b] = await Promise.all(
      [workerA, workerB].map((worker) => worker.createRouter({ mediaCodecs: world.mediaCodecs })),
    );

    if (!a || !b) {
      throw new Error('there are no Routers');
    }

    return { a, b, workerB, producer: await produce(a), pipes: [], ends: [] };
  }

  /**
   * @param {Scene} scene
   * @param {(moment: string) => void} at
   */
  function watch({ a, b, pipes, ends }, at) {
    for (const [side, { observer }] of Object.entries({ A: a, B: b })) {
      observer.on('newtransport', (transport) => {
        if (transport.type !== 'pipe') {
          return;
        }

        /** @type {EventEmitter} */ (transport.observer)
          .on('newconsumer', (consumer) => {
            ends.push(consumer);
            at('newconsumer');
          })
          .on('newproducer', (producer) => {
            ends.push(producer);
            at('newproducer');
          });
        afterAsking(transport, 'consume', () => at('consuming'));
        afterAsking(transport, 'produce', () => at('producing'));
        pipes.push(/** @type {types.PipeTransport} */ (transport));
        at(`${side} newtransport`);
      });
    }
  }

  /**
   * @param {Scene} scene
   * @param {Promise<unknown>} call
   */
  async function end({ workerB }, call) {
    const ended = await within(outcome(call), { ms: EVENT_TIMEOUT, what: 'pipeToRouter()' });

    // What comes later than the error is here too.
    await Promise.all(
      [workerA, workerB].filter(({ closed }) => !closed).map((worker) => worker.dump()),
    );
    await turn();

    return ended;
  }

  /** @param {Scene} scene */
  async function expectNextCallWorks({ a, b }) {
    if (!a.closed && !b.closed) {
      const { id: producerId } = await produce(a, { rtpParameters: otherSsrc(3333) });

      expect(await outcome(a.pipeToRouter({ producerId, router: b }))).toBe('done');
      expect([await countPipes(a), await countPipes(b)]).toEqual([1, 1]);
    }
  }

  describe.each(Object.entries(ACTS))('%s', (name, act) => {
    test.each(MOMENTS)('%s: the first call ends and leaves nothing open', async (moment) => {
      const scene = await open();

      watch(scene, (now) => now === moment && act(scene));

      const call = scene.a.pipeToRouter({ producerId: scene.producer.id, router: scene.b });

      if (moment === 'creating') {
        act(scene);
      }

      const ended = await end(scene, call);

      expectEnded(scene, ended, { name, moment });
      await expectNextCallWorks(scene);
      scene.workerB.close();
    });

    test.each(LATER_MOMENTS)('%s: a later call ends and leaves nothing open', async (moment) => {
      const scene = await open();
      const { a, b } = scene;
      const other = await produce(a, { rtpParameters: otherSsrc(2222) });
      let later = false;

      watch(scene, (now) => later && now === moment && act(scene));
      await a.pipeToRouter({ producerId: other.id, router: b });
      other.close();
      await turn();
      later = true;
      scene.ends.length = 0;

      const call = a.pipeToRouter({ producerId: scene.producer.id, router: b });
      const ended = await end(scene, call);

      expectEnded(scene, ended, { name, moment });
      await expectNextCallWorks(scene);
      scene.workerB.close();
    });
  });
});

/**
 * @param {Scene} scene
 * @param {string} ended
 * @param {{ name: string, moment: string }} what
 */
function expectEnded({ pipes, ends, producer }, ended, { name, moment }) {
  if (HARMLESS.includes(`${name}: ${moment}`)) {
    expect(ended).toBe('done');

    return;
  }

  const late = ends.length > 0 && producer.closed && name === 'the producer closes';

  expect(ended).toMatch(late ? ORIGINAL_CLOSED : ANY_ERROR);
  expect(ends.filter(({ closed }) => !closed)).toEqual([]);
  expect(pipes.filter(({ closed }) => !closed).length).toBe(PAIR_STAYS.includes(name) ? 2 : 0);
}

/**
 * Calls when a request is on its way.
 *
 * @param {any} transport
 * @param {'consume' | 'produce'} method
 * @param {() => void} call
 */
function afterAsking(transport, method, call) {
  const real = transport[method].bind(transport);

  transport[method] = (/** @type {any} */ options) => {
    const answer = real(options);

    call();

    return answer;
  };
}

/** @param {number} ssrc */
function otherSsrc(ssrc) {
  return {
    codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }],
    encodings: [{ ssrc }],
  };
}
