'use strict';

const { Load } = require('../../../benches/lib/soak/load');
const { MEDIA_CODECS } = require('../../../benches/lib/options');
const { Fleet } = require('../../network/lib/fleet');
const { hosts } = require('../../network/lib/hosts');
const { SOON, until } = require('../../processes/lib/deadline');
const { FaultyLink } = require('./faulty-link');

/** @import { Worker, Router } from 'mediasoup-upstream/types' */
/** @import { TestAgent } from '../../support/agent' */
/** @import { RemoteConnectionOptions } from '../../..' */
/** @import { Impairment } from './way' */

const HERE = { ...hosts.app, ip: '127.0.0.1' };
/** Of the soak's rates: all tests of a busy machine carry that. */
const SHARE = 0.1;
const SEED = 20_261_127;

/**
 * Agents behind links that fail, and an app that calls, sends numbered messages and has media flow
 * on a Router on each, or on one over all of them.
 */
class LinkedRoom {
  #fleet;
  #load;
  /** Why each Worker that died did. @type {string[]} */
  deaths = [];

  /**
   * Use `LinkedRoom.open()`.
   *
   * @param {object} parts
   * @param {Fleet} parts.fleet
   * @param {FaultyLink[]} parts.links
   * @param {Worker[]} parts.workers
   * @param {Router[]} parts.routers
   * @param {Load} parts.load
   */
  constructor({ fleet, links, workers, routers, load }) {
    this.#fleet = fleet;
    this.#load = load;
    this.links = links;
    this.workers = workers;
    this.routers = routers;

    for (const worker of workers) {
      worker.on('died', ({ message }) => this.deaths.push(message));
    }
  }

  /**
   * @param {object} [options]
   * @param {number} [options.agents]
   * @param {string[]} [options.args] Of each.
   * @param {boolean} [options.scatter] One Router over all of them.
   * @param {Impairment} [options.impairment] Of all links, from the first byte on.
   * @param {Partial<RemoteConnectionOptions>} [options.connection]
   * @returns {Promise<LinkedRoom>} Whose app is busy.
   */
  static async open({ agents = 1, args = [], scatter = false, impairment, connection } = {}) {
    /** @type {FaultyLink[]} */
    const links = [];
    const via = async (/** @type {TestAgent} */ { url }) => {
      const link = await FaultyLink.at(url, { seed: SEED + links.length, impairment });

      links.push(link);

      return link.url;
    };
    const fleet = await Fleet.open({
      agents: Array.from({ length: agents }, () => ({ host: HERE, args, via })),
      connection,
      horizontal: scatter ? { placement: 'scatter', maxParts: agents } : {},
    });

    try {
      const workers = scatter ? [await fleet.worker()] : await fleet.workers();
      const routers = await Promise.all(
        workers.map((worker) => worker.createRouter({ mediaCodecs: MEDIA_CODECS })),
      );
      const load = await Load.open(routers);

      load.start(SHARE);

      return new LinkedRoom({ fleet, links, workers, routers, load });
    } catch (error) {
      links.forEach((link) => void link.close());
      await fleet.close();
      throw error;
    }
  }

  get agents() {
    return this.#fleet.agents;
  }

  /** How each connection is. */
  get states() {
    return this.agents.map((agent) => this.#fleet.stateOf(agent));
  }

  /** How much was done so far. */
  get done() {
    const { calls, messages, rtp } = this.#load.counts;

    return { calls: calls.made, messages: messages.arrived, packets: rtp.packets };
  }

  /**
   * Waits until the app has got so many more answers, and ten times as many messages.
   *
   * @param {number} [calls]
   * @param {number} [ms]
   */
  async goesOn(calls = 10, ms = SOON) {
    const before = this.done;

    await until(
      () => {
        const { done } = this;

        return (
          done.calls >= before.calls + calls &&
          done.messages >= before.messages + calls * 10 &&
          done.packets > before.packets
        );
      },
      () => `the app goes on from ${JSON.stringify(before)}, is at ${JSON.stringify(this.done)}`,
      ms,
    );
  }

  /**
   * Waits until connections are in some state.
   *
   * @param {string} state
   */
  async all(state) {
    await until(
      () => this.states.every((one) => one === state),
      () => `connections that are ${state}, they are ${this.states}`,
    );
  }

  /** Media goes from hosts to clients without the links. */
  async mediaFlows() {
    const { packets } = this.done;

    await until(() => this.done.packets > packets + 10, 'media');
  }

  /** Nothing was lost, doubled or reordered, no call failed and nothing died. */
  async expectFaultless() {
    await this.#load.stop();
    const { calls, messages, rtp } = this.#load.counts;

    expect(calls).toMatchObject({ failed: 0, errors: [] });
    expect(messages).toMatchObject({
      arrived: messages.sent,
      ...{ lost: 0, doubled: 0, reordered: 0, refused: 0, broken: 0 },
    });
    expect(rtp).toMatchObject({ lost: 0, doubled: 0, reordered: 0, errors: [] });
    // Each close has arrived too.
    expect(await this.#load.strays()).toBe(0);
    expect(this.deaths).toEqual([]);
    expect([calls.made, messages.sent, rtp.packets].every(Boolean)).toBe(true);
  }

  async close() {
    this.#load.close();
    for (const link of this.links) {
      link.impair({});
      link.release();
      link.up();
    }

    try {
      await this.#fleet.close();
    } finally {
      this.links.forEach((link) => void link.close());
    }
  }
}

module.exports = { LinkedRoom };
