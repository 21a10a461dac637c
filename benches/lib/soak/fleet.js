'use strict';

const path = require('node:path');
const { AgentProcess } = require('../../../examples/lib/agent-process');
const { RemoteConnection } = require('../../../js/connections');
const { Horizontal } = require('../../../js/horizontal');
const { CutLink } = require('../link/cut-link');
const { MEDIA_CODECS } = require('../options');

/** @import { Router, Worker } from 'mediasoup-upstream/types' */

const CLI = path.join(__dirname, '..', '..', '..', 'js', 'cli.js');
const AGENTS = 3;
/** One of the connections notices silence soon, so that links are given up while they are held. */
const QUICK = { heartbeatMs: 200, silenceMs: 800 };

/** Three agents behind links that can be cut, and a Router on each. */
class Fleet {
  /** @type {AgentProcess[]} */
  #agents = [];
  /** @type {Horizontal | undefined} */
  #horizontal;
  /** @type {Worker[]} */
  #workers = [];

  /** @type {CutLink[]} */
  links = [];
  /** @type {Router[]} */
  routers = [];
  /** Why each Worker that died did. @type {string[]} */
  deaths = [];

  /**
   * @param {object} options
   * @param {boolean} options.scatter Whether each Router is on all agents.
   * @param {AbortSignal} options.signal
   * @returns {Promise<Fleet>}
   */
  static async open({ scatter, signal }) {
    const fleet = new Fleet();

    try {
      await fleet.#start(scatter, signal);
    } catch (error) {
      await fleet.close();
      throw error;
    }

    return fleet;
  }

  async close() {
    this.#horizontal?.close();
    for (const link of this.links) {
      link.close();
    }
    await Promise.all(this.#agents.map((agent) => agent.stop()));
  }

  /**
   * @param {boolean} scatter
   * @param {AbortSignal} signal
   */
  async #start(scatter, signal) {
    // Without parts, each Worker has an agent to itself.
    const args = ['--max-workers', scatter ? String(AGENTS) : '1'];

    for (let i = 0; i < AGENTS; i++) {
      this.#agents.push(new AgentProcess(CLI, { args }));
    }
    for (const agent of this.#agents) {
      this.links.push(await CutLink.open((await agent.ready(signal)).url));
    }
    this.#horizontal = new Horizontal(
      this.links.map(({ url }, i) => new RemoteConnection({ url, ...(i === 0 && QUICK) })),
      scatter ? { placement: 'scatter' } : {},
    );

    for (let i = 0; i < AGENTS; i++) {
      const worker = await this.#horizontal.mediasoup.createWorker();

      worker.on('died', (error) => this.deaths.push(error.message));
      this.#workers.push(worker);
      this.routers.push(await worker.createRouter({ mediaCodecs: MEDIA_CODECS }));
    }
    const used = new Set(this.#workers.map((one) => this.#horizontal?.whereIs(one)?.connection));

    if (used.size !== AGENTS) {
      throw new Error(`${AGENTS} Workers are on ${used.size} agents`);
    }
  }
}

module.exports = { Fleet };
