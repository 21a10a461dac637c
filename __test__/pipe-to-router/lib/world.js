'use strict';

const { setImmediate: turn } = require('node:timers/promises');
const mediasoup = require('mediasoup-upstream');
const { Horizontal, LocalConnection, RemoteConnection } = require('../../..');
const { installedWorker } = require('../../../js/worker-binary/paths');
const { TestAgent } = require('../../support/agent');
const { eventOf } = require('../../support/events');
const { HeldLink } = require('../../support/held-link');

/** @import { types } from 'mediasoup-upstream' */

/**
 * Where Workers come from.
 *
 * @typedef {object} Kind
 * @property {string} name
 * @property {boolean} ours Whether `pipeToRouter()` is.
 * @property {number} agents
 */

/** mediasoup as it is. @type {Kind} */
const UPSTREAM = { name: 'mediasoup itself', ours: false, agents: 0 };

/** @type {Kind} */
const LOCAL = { name: 'workers of this host', ours: true, agents: 0 };

/** @type {Kind} */
const AGENTS = { name: 'workers of two agents', ours: true, agents: 2 };

const OURS = [LOCAL, AGENTS];
const ALL = [UPSTREAM, ...OURS];

/** @type {types.RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];

/** @type {types.ProducerOptions} */
const AUDIO = {
  kind: 'audio',
  rtpParameters: {
    codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }],
    encodings: [{ ssrc: 11111111 }],
    rtcp: { cname: 'test' },
  },
};

/** @type {types.TransportListenInfo} */
const LOOPBACK = { protocol: 'udp', ip: '127.0.0.1' };

/**
 * Workers of one kind. The first and the third share an agent, where there are agents.
 */
class World {
  /** @type {types.Worker[]} */
  #workers = [];
  /** @type {TestAgent[]} */
  #agents = [];
  /** @type {HeldLink[]} */
  #links = [];
  /** @type {Horizontal | undefined} */
  #horizontal;

  mediaCodecs = MEDIA_CODECS;

  /** @param {Kind} kind */
  constructor(kind) {
    this.kind = kind;
  }

  /**
   * @param {Kind} kind
   * @returns {Promise<World>}
   */
  static async open(kind) {
    const world = new World(kind);

    try {
      await world.#start();
    } catch (error) {
      await world.close();
      throw error;
    }

    return world;
  }

  /**
   * @returns {Promise<types.Worker>} Ended with this world.
   */
  async newWorker() {
    const worker = this.#horizontal
      ? await this.#horizontal.mediasoup.createWorker()
      : await mediasoup.createWorker({ workerBin: installedWorker(mediasoup.version) });

    this.#workers.push(worker);

    return worker;
  }

  /**
   * @param {number} count
   * @returns {Promise<types.Router[]>} Each on a Worker of its own, the same ones for each call.
   */
  async routers(count) {
    while (this.#workers.length < count) {
      await this.newWorker();
    }

    return Promise.all(
      this.#workers
        .slice(0, count)
        .map((worker) => worker.createRouter({ mediaCodecs: MEDIA_CODECS })),
    );
  }

  /**
   * @param {types.Router} router
   * @returns {Promise<types.Router>} Another one on its Worker.
   */
  async sibling(router) {
    const worker = /** @type {types.Worker} */ (
      this.#workers.find((one) => /** @type {any} */ (one).routersForTesting.has(router))
    );

    return worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  }

  /**
   * Lets nothing reach or leave the Worker of the second Router while something runs.
   *
   * @param {() => Promise<void>} run
   */
  async withoutSecond(run) {
    const [, worker] = this.#workers;
    const [, link] = this.#links;

    if (link) {
      link.hold();
    } else {
      process.kill(/** @type {types.Worker} */ (worker).pid, 'SIGSTOP');
    }

    try {
      await run();
    } finally {
      if (link) {
        link.release();
      } else {
        process.kill(/** @type {types.Worker} */ (worker).pid, 'SIGCONT');
      }
    }
  }

  async close() {
    const open = this.#workers.filter(({ subprocessClosed }) => !subprocessClosed);
    const gone = open.map((worker) => eventOf(worker, 'subprocessclose'));

    for (const worker of open) {
      worker.close();
    }

    try {
      await Promise.all(gone);
      this.#horizontal?.close();
      await Promise.all(this.#agents.map((agent) => agent.stop()));
    } finally {
      this.#horizontal?.close();
      for (const closable of this.#links) {
        closable.close();
      }
      for (const agent of this.#agents) {
        agent.kill();
      }
    }
  }

  async #start() {
    if (!this.kind.ours) {
      return;
    }

    for (let i = 0; i < this.kind.agents; i++) {
      const agent = await TestAgent.start({ args: ['--max-workers', '64'] });

      this.#agents.push(agent);
      this.#links.push(await HeldLink.open(agent.url));
    }

    const connections = this.#agents.map(({ token }, i) => {
      const { url } = /** @type {HeldLink} */ (this.#links[i]);

      return new RemoteConnection({ url, token });
    });

    this.#horizontal = new Horizontal(
      connections.length > 0 ? connections : [new LocalConnection()],
    );
  }
}

/**
 * @param {types.Router} router
 * @param {Partial<types.ProducerOptions>} [options]
 * @returns {Promise<types.Producer>} On a transport of its own.
 */
async function produce(router, options) {
  const transport = await router.createPlainTransport({ listenInfo: LOOPBACK });

  return transport.produce({ ...AUDIO, ...options });
}

/**
 * @param {types.Router} router
 * @param {types.DataProducerOptions} [options]
 * @returns {Promise<types.DataProducer>} On a transport of its own.
 */
async function produceData(router, options) {
  const transport = await router.createDirectTransport();

  return transport.produceData(options);
}

/**
 * @param {types.Router} from
 * @param {types.PipeToRouterOptions} options
 */
async function pipeMedia(from, options) {
  const { pipeConsumer, pipeProducer } = await from.pipeToRouter(options);

  if (!pipeConsumer || !pipeProducer) {
    throw new Error('pipeToRouter() gave no Consumer and Producer');
  }

  return { pipeConsumer, pipeProducer };
}

/**
 * @param {types.Router} from
 * @param {types.PipeToRouterOptions} options
 */
async function pipeData(from, options) {
  const { pipeDataConsumer, pipeDataProducer } = await from.pipeToRouter(options);

  if (!pipeDataConsumer || !pipeDataProducer) {
    throw new Error('pipeToRouter() gave no DataConsumer and DataProducer');
  }

  return { pipeDataConsumer, pipeDataProducer };
}

/**
 * @param {Promise<unknown>} promise
 * @returns {Promise<string>} How it ends: `done`, or the error.
 */
function outcome(promise) {
  return promise.then(
    () => 'done',
    ({ name, message }) => `${name}: ${message}`,
  );
}

/**
 * Waits until whatever a Router's worker has said before is here and handled.
 *
 * @param {types.Router} router
 */
async function heard(router) {
  await router.dump();
  // mediasoup emits events a turn later than it gives answers.
  await turn();
}

/**
 * How many PipeTransports a Router has in its worker.
 *
 * @param {types.Router} router
 * @returns {Promise<number>}
 */
async function countPipes(router) {
  await heard(router);

  const { transportIds } = await router.dump();
  /** @type {Map<string, types.Transport>} */
  const transports = /** @type {any} */ (router).transportsForTesting;

  return transportIds.filter((id) => (transports.get(id)?.type ?? 'pipe') === 'pipe').length;
}

module.exports = {
  AGENTS,
  ALL,
  LOCAL,
  LOOPBACK,
  OURS,
  UPSTREAM,
  World,
  countPipes,
  heard,
  outcome,
  pipeData,
  pipeMedia,
  produce,
  produceData,
};
