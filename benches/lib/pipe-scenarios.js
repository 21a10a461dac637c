'use strict';

const { once } = require('node:events');
const { Horizontal } = require('../../js/horizontal');

/** @import { Consumer, PlainTransport, Producer, Router, Transport, Worker } from 'mediasoup-upstream/types' */
/** @import { ConnectionLike } from '../../js/horizontal' */

/**
 * What an app does to be heard on another host, in the ways that there are to do it.
 *
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} text
 * @property {boolean} spread Whether one Router is on all hosts. Else each host has one.
 * @property {(routers: Pair, producer: Producer) => Promise<unknown>} pipe Before a consume.
 */

/** @typedef {[from: Router, to: Router]} Pair The same one twice where it is spread. */

/** @typedef {{ [step in StepName]: Step }} Steps */

/**
 * @typedef {'newPair' | 'samePair' | 'pause'} StepName
 * @typedef {() => Promise<unknown>} Step
 */

const AGENTS = 3;

const STEP_TEXTS = {
  newPair: 'first Consumer on another host, its transport included',
  samePair: 'Consumer of another Producer there',
  pause: 'producer.pause(), until that Consumer has heard',
};

/** @type {Scenario[]} */
const SCENARIOS = [
  {
    name: 'router',
    text: 'ours, one Router on all hosts',
    spread: true,
    pipe: async () => {},
  },
  {
    name: 'pipeToRouter',
    text: 'ours, pipeToRouter() between two Routers',
    spread: false,
    pipe: ([from, to], { id }) => from.pipeToRouter({ producerId: id, router: to }),
  },
  {
    name: 'mediasoup',
    text: "mediasoup's own pipeToRouter() between two Routers",
    spread: false,
    pipe: ([from, to], { id }) => upstreamPipe(from).call(from, { producerId: id, router: to }),
  },
];

const MEDIA_CODECS = [
  { kind: /** @type {const} */ ('audio'), mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
];

/** @type {import('mediasoup-upstream/types').TransportListenInfo} */
const LISTEN = { protocol: 'udp', ip: '127.0.0.1' };

/**
 * A scenario over agents, ready for its steps.
 */
class PipeWorld {
  #horizontal;
  #scenario;
  /** @type {Worker[]} */
  #workers = [];
  /** One behind each link. @type {Transport[]} */
  fences = [];

  /**
   * Use `PipeWorld.open()`.
   *
   * @param {Scenario} scenario
   * @param {ConnectionLike[]} connections
   */
  constructor(scenario, connections) {
    const options = scenario.spread
      ? { placement: /** @type {const} */ ('scatter'), maxParts: connections.length }
      : {};

    this.#scenario = scenario;
    this.#horizontal = new Horizontal(connections, options);
  }

  /**
   * @param {Scenario} scenario
   * @param {ConnectionLike[]} connections Of three agents.
   * @returns {Promise<PipeWorld>}
   */
  static async open(scenario, connections) {
    const world = new PipeWorld(scenario, connections);

    try {
      await world.#start();
    } catch (error) {
      world.close();
      throw error;
    }

    return world;
  }

  async #start() {
    const workers = this.#scenario.spread ? 1 : AGENTS;

    for (let i = 0; i < workers; i++) {
      this.#workers.push(await this.#horizontal.mediasoup.createWorker());
    }

    /** @type {Router | undefined} */
    let shared;

    for (let i = 0; i < AGENTS; i++) {
      const router = shared ?? (await this.#worker(i).createRouter());

      // Of one Router, each next transport is on the next agent. This starts its parts too.
      shared = this.#scenario.spread ? router : undefined;
      this.fences.push(await router.createPlainTransport({ listenInfo: LISTEN }));
    }
  }

  /** @param {number} index */
  #worker(index) {
    return /** @type {Worker} */ (this.#workers[index % this.#workers.length]);
  }

  /**
   * The steps, each of which wants to be taken once and in this order, on Routers of their own.
   *
   * @returns {Promise<Steps>}
   */
  async steps() {
    const codecs = { mediaCodecs: MEDIA_CODECS };
    const from = await this.#worker(0).createRouter(codecs);
    const to = this.#scenario.spread ? from : await this.#worker(1).createRouter(codecs);
    /** @type {Pair} */
    const routers = [from, to];
    const ingest = await from.createPlainTransport({ listenInfo: LISTEN, comedia: true });
    const producers = [await produce(ingest, 1), await produce(ingest, 2)];
    const [first, second] = /** @type {[Producer, Producer]} */ (producers);
    /** @type {PlainTransport} */
    let transport;
    /** @type {Consumer} */
    let consumer;
    const { pipe } = this.#scenario;

    return {
      newPair: async () => {
        // An app that hurries does both at once.
        [transport] = await Promise.all([
          to.createPlainTransport({ listenInfo: LISTEN }),
          pipe(routers, first),
        ]);
        consumer = await consume(to, transport, first);
      },
      samePair: async () => {
        await pipe(routers, second);
        await consume(to, transport, second);
      },
      pause: () => Promise.all([once(consumer, 'producerpause'), first.pause()]),
    };
  }

  close() {
    this.#horizontal.close();
  }
}

/**
 * What is replaced by our own otherwise.
 *
 * @param {Router} router
 * @returns {Router['pipeToRouter']}
 */
function upstreamPipe(router) {
  return Object.getPrototypeOf(router).pipeToRouter;
}

/**
 * @param {PlainTransport} transport
 * @param {number} ssrc
 */
function produce(transport, ssrc) {
  return transport.produce({
    kind: 'audio',
    rtpParameters: {
      codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }],
      encodings: [{ ssrc }],
    },
  });
}

/**
 * @param {Router} router
 * @param {PlainTransport} transport
 * @param {Producer} producer
 */
function consume(router, transport, producer) {
  const { rtpCapabilities } = router;

  return transport.consume({ producerId: producer.id, rtpCapabilities });
}

module.exports = { AGENTS, PipeWorld, SCENARIOS, STEP_TEXTS };
