'use strict';

const { pause } = require('../../../examples/lib/deadline');
const { workerPorts } = require('./worker-ports');
const { MEDIA_CODECS } = require('../../network/lib/clip-call');
const { Fleet } = require('../../network/lib/fleet');
const { hosts } = require('../../network/lib/hosts');
const { EVENT_TIMEOUT } = require('../../support/events');
const { Listener } = require('./listener');
const { LOOPBACK, Source } = require('./source');

/** @import { Router, Transport, Worker } from 'mediasoup-upstream/types' */
/** @import { FleetOptions } from '../../network/lib/fleet' */
/** @import { Host } from '../../network/lib/hosts' */
/** @import { Heard } from './listener' */
/** @import { TestAgent } from '../../support/agent' */

/** @type {Host} */
const HERE = { ...hosts.app, ip: LOOPBACK };
/** @type {import('mediasoup-upstream/types').RouterRtpCodecCapability} */
const VP9 = { kind: 'video', mimeType: 'video/VP9', clockRate: 90000 };
const POLL_INTERVAL = 25;
/** For a test here. Each step in it has a deadline of its own. */
const TEST_TIMEOUT = 90_000;

/**
 * One Router whose transports live on the workers of agents, each on another one than the
 * one before.
 */
class Scattered {
  #fleet;
  #own;
  /** @type {Set<{ close(): void }>} */
  #opened = new Set();

  /**
   * Use `Scattered.open()`.
   *
   * @param {Fleet} fleet
   * @param {Worker} worker
   * @param {Router} router
   */
  constructor(fleet, worker, router) {
    this.#fleet = fleet;
    this.worker = worker;
    this.router = router;
    this.#own = watchObjects(router);
  }

  /**
   * @param {Host[]} [on] Where the agents are. Default: three of them here.
   * @param {Pick<FleetOptions['agents'][0], 'via'> & Pick<FleetOptions, 'connection'> &
   *   { argsOf?: (host: Host) => string[] }} [options] Each agent's arguments, by its host.
   * @returns {Promise<Scattered>}
   */
  static async open(on = [HERE, HERE, HERE], { via, connection, argsOf } = {}) {
    const fleet = await Fleet.open({
      agents: on.map((host) => ({ host, via, args: argsOf?.(host) })),
      connection,
      horizontal: { placement: 'scatter', maxParts: on.length },
    });

    try {
      const worker = await fleet.worker();
      const router = await worker.createRouter({ mediaCodecs: [...MEDIA_CODECS, VP9] });

      return new Scattered(fleet, worker, router);
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  /**
   * @param {Parameters<typeof Source.open>[1]} streams
   * @param {Parameters<typeof Source.open>[2]} [options]
   * @returns {Promise<Source>}
   */
  async source(streams, options) {
    const source = await Source.open(this.router, streams, options);

    this.#opened.add(source);

    return source;
  }

  /**
   * @param {Parameters<typeof Listener.open>[1]} [options]
   * @returns {Promise<Listener>}
   */
  async listener(options) {
    const listener = await Listener.open(this.router, options);

    this.#opened.add(listener);

    return listener;
  }

  /**
   * @param {number} count
   * @param {Parameters<typeof Listener.open>[1]} [options]
   * @returns {Promise<Listener[]>}
   */
  async listeners(count, options) {
    const listeners = [];

    for (let i = 0; i < count; i++) {
      listeners.push(await this.listener(options));
    }

    return listeners;
  }

  get agents() {
    return this.#fleet.agents;
  }

  /** The agent that the Router was born on. */
  get home() {
    return this.#fleet.homeOf(this.worker);
  }

  /**
   * Which agents transports with a port of their own are on.
   *
   * @param {Transport[]} transports
   * @returns {TestAgent[]}
   */
  agentsOf(transports) {
    const held = this.agents.map((agent) => ({
      agent,
      ports: new Set(workerPorts(/** @type {number} */ (agent.pid))),
    }));

    return transports.map((transport) => {
      const port = /** @type {{ tuple?: { localPort: number } }} */ (transport).tuple?.localPort;
      const found = held.find(({ ports }) => port !== undefined && ports.has(port));

      if (!found) {
        throw new Error(`no agent's worker holds port ${port} of transport ${transport.id}`);
      }

      return found.agent;
    });
  }

  /**
   * The one of them that is on the agent of a transport.
   *
   * @template {{ transport: Transport }} T
   * @param {T[]} all
   * @param {Transport} transport
   * @returns {T}
   */
  beside(all, transport) {
    const [agent, ...others] = this.agentsOf([transport, ...all.map((one) => one.transport)]);

    return /** @type {T} */ (all[others.indexOf(/** @type {TestAgent} */ (agent))]);
  }

  /**
   * @param {TestAgent} agent
   * @returns {string | undefined} How its connection is.
   */
  stateOf(agent) {
    return this.#fleet.stateOf(agent);
  }

  /** @param {TestAgent} agent */
  async kill(agent) {
    await this.#fleet.kill(agent);
  }

  /** Nothing in the Router is the core's own, as far as the app can see. */
  async expectOnlyOwn() {
    const { transportIds, mapConsumerIdProducerId, mapProducerIdConsumerIds } =
      await this.router.dump();
    const { transports, producers, consumers } = this.#own;

    expect(transportIds.toSorted()).toEqual([...transports].sort());
    expect(mapConsumerIdProducerId.map(({ key }) => key).toSorted()).toEqual([...consumers].sort());
    expect(mapProducerIdConsumerIds.map(({ key }) => key).toSorted()).toEqual(
      [...producers].sort(),
    );
    expect(mapProducerIdConsumerIds.flatMap(({ values }) => values).toSorted()).toEqual(
      [...consumers].sort(),
    );
  }

  /** Ends all of it, and makes sure that neither port nor process is left. */
  async close() {
    for (const one of this.#opened) {
      one.close();
    }

    try {
      if (!this.worker.closed) {
        this.router.close();
        expect(await this.worker.dump()).toMatchObject({ routerIds: [], webRtcServerIds: [] });
        await portsClosed();
      }
    } finally {
      await this.#fleet.close();
    }
  }
}

/**
 * @param {Router} router
 * @returns {Record<'transports' | 'producers' | 'consumers', Set<string>>} Ids of the app's open
 * objects in it, kept as they come and go.
 */
function watchObjects(router) {
  const own = { transports: new Set(), producers: new Set(), consumers: new Set() };
  /**
   * @param {Set<string>} ids
   * @param {{ id: string, observer: import('node:events').EventEmitter }} object
   */
  const watch = (ids, { id, observer }) => {
    ids.add(id);
    observer.once('close', () => ids.delete(id));
  };

  router.observer.on('newtransport', (transport) => {
    watch(own.transports, transport);
    transport.observer.on('newproducer', (producer) => watch(own.producers, producer));
    transport.observer.on('newconsumer', (consumer) => watch(own.consumers, consumer));
  });

  return own;
}

/**
 * Starts sources that every listener consumes.
 *
 * @param {Source[]} sources
 * @param {Listener[]} listeners
 * @returns {Promise<{ source: Source, listener: Listener, heard: Heard }[]>} Of each source at each
 * listener, once all are heard.
 */
async function startWays(sources, listeners) {
  const ways = await Promise.all(
    listeners.flatMap((listener) =>
      sources.map(async (source) => ({
        source,
        listener,
        heard: await listener.consume(source.producer),
      })),
    ),
  );

  for (const source of sources) {
    source.start();
  }
  await Promise.all(ways.map(({ heard }) => heard.hears()));

  return ways;
}

/** Nothing tells of another process's sockets, so this one looks again and again. */
async function portsClosed() {
  const end = performance.now() + EVENT_TIMEOUT;

  for (;;) {
    const ports = workerPorts(process.pid);

    if (ports.length === 0) {
      return;
    }
    if (performance.now() > end) {
      throw new Error(`after ${EVENT_TIMEOUT / 1000} s these ports are left: ${ports}`);
    }
    await pause(POLL_INTERVAL);
  }
}

module.exports = { Scattered, TEST_TIMEOUT, startWays };
