'use strict';

const { Horizontal, LocalConnection, RemoteConnection } = require('../../..');
const { TestAgent } = require('../../support/agent');
const { eventOf } = require('../../support/events');
const { descendantsGone } = require('../../support/processes');
const { hosts } = require('./hosts');

/** @import { Host } from './hosts' */
/** @import { Worker, WorkerSettings } from 'mediasoup-upstream/types' */
/** @import { HorizontalOptions, RemoteConnectionOptions } from '../../..' */

/** More than the tests make: how many cores this machine has is not their business. */
const MAX_WORKERS = '16';

/**
 * @typedef {object} FleetOptions
 * @property {{ host: Host, args?: string[], via?: (agent: TestAgent) => Promise<string> }[]} agents
 *   `via` gives another URL for an agent than its own.
 * @property {LocalConnection} [local]
 * @property {HorizontalOptions} [horizontal]
 * @property {Partial<RemoteConnectionOptions>} [connection] Of each agent's.
 */

/**
 * Agents on hosts, and a Horizontal with all of them.
 */
class Fleet {
  /** @type {TestAgent[]} */
  #agents = [];
  /** With those that were killed. */
  #all;
  /** @type {Worker[]} */
  #workers = [];
  /** In the order of the agents; the local one is the last. */
  #connections;
  #horizontal;

  /**
   * Use `Fleet.open()`.
   *
   * @param {TestAgent[]} agents
   * @param {string[]} urls
   * @param {FleetOptions} options
   */
  constructor(agents, urls, { local, horizontal, connection }) {
    this.#agents = agents;
    this.#all = agents;
    const remote = agents.map(
      ({ token }, i) =>
        new RemoteConnection({ ...connection, url: /** @type {string} */ (urls[i]), token }),
    );

    this.#connections = local ? [...remote, local] : remote;
    this.#horizontal = new Horizontal(this.#connections, horizontal);
  }

  /**
   * @param {FleetOptions} options
   * @returns {Promise<Fleet>}
   */
  static async open(options) {
    const starts = options.agents.map(({ host, args = [] }) => startAgent(host, args));
    const started = await Promise.allSettled(starts);
    const agents = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));

    try {
      await Promise.all(starts);

      const urls = agents.map((agent, i) => options.agents[i]?.via?.(agent) ?? agent.url);

      return new Fleet(agents, await Promise.all(urls), options);
    } catch (error) {
      for (const agent of agents) {
        agent.kill();
      }
      throw error;
    }
  }

  /**
   * A Worker on each connection, in their order.
   *
   * @param {WorkerSettings} [settings]
   * @returns {Promise<Worker[]>}
   */
  async workers(settings) {
    /** @type {Map<string, Worker>} */
    const found = new Map();

    // Each goes where there are fewest.
    for (const _ of this.#connections) {
      const worker = await this.worker(settings);

      found.set(this.#horizontal.whereIs(worker)?.connection ?? '', worker);
    }

    return this.#connections.map(({ name }) => {
      const worker = found.get(name);

      if (worker === undefined) {
        throw new Error(`no Worker is on ${name}, but on ${[...found.keys()].join(' and ')}`);
      }

      return worker;
    });
  }

  /**
   * One Worker, wherever it comes to live.
   *
   * @param {WorkerSettings} [settings]
   * @returns {Promise<Worker>}
   */
  async worker(settings) {
    const worker = await this.#horizontal.mediasoup.createWorker(settings);

    this.#workers.push(worker);

    return worker;
  }

  /**
   * @param {Worker} worker
   * @returns {TestAgent | undefined} The agent that it was born on.
   */
  homeOf(worker) {
    const home = this.#horizontal.whereIs(worker)?.connection;

    return this.#all[this.#connections.findIndex(({ name }) => name === home)];
  }

  /**
   * @param {TestAgent} agent
   * @returns {string | undefined} How its connection is.
   */
  stateOf(agent) {
    return this.#connections[this.#all.indexOf(agent)]?.state;
  }

  /** Those that were not killed. */
  get agents() {
    return [...this.#agents];
  }

  /**
   * Ends an agent without a word.
   *
   * @param {TestAgent} agent
   */
  async kill(agent) {
    this.#agents = this.#agents.filter((other) => other !== agent);
    agent.kill();
    await agent.ended;
  }

  /** Ends all of it, and makes sure that nothing is left. */
  async close() {
    const gone = this.#workers
      .filter(({ subprocessClosed }) => !subprocessClosed)
      .map((worker) => {
        const closed = eventOf(worker, 'subprocessclose');

        worker.close();

        return closed;
      });

    try {
      await Promise.all(gone);
      this.#horizontal.close();
      await Promise.all(this.#agents.map((agent) => agent.stop()));
      await descendantsGone('mediasoup');
    } finally {
      this.#horizontal.close();

      for (const agent of this.#agents) {
        agent.kill();
      }
    }
  }
}

/**
 * @param {Host} host
 * @param {string[]} args
 * @returns {Promise<TestAgent>}
 */
function startAgent({ name, ip }, args) {
  // What runs here already needs no way there.
  const outer = name === hosts.app.name ? [] : ['ip', 'netns', 'exec', name];

  return TestAgent.start({
    within: outer,
    listen: `${ip}:0`,
    args: ['--insecure', '--max-workers', MAX_WORKERS, ...args],
  });
}

module.exports = { Fleet, LocalConnection };
