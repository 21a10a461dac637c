'use strict';

const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { WorkerClosedError } = require('mediasoup-upstream/errors');
const { EnhancedEventEmitter } = require('mediasoup-upstream/extras');
const { toSettings } = require('./connections');
const { createWorkerWith } = require('./create-worker');
const { toEventFunction } = require('./events');
const { closeAtExit, forgetAtExit } = require('./exit');
const { Changes } = require('./monitor/changes');
const { followListeners, isHeard } = require('./monitor/object-events');
const { readMetrics, readStats } = require('./monitor/stats');
const { loadBinding, stubPath, unwrap } = require('./native');
const { toPlacement } = require('./placement');

/** @import { LocalConnection, MockConnection, RemoteConnection } from './connections' */
/** @import { CoreEvent } from './events' */
/** @import { HorizontalChange, HorizontalStats, StatsOptions } from './monitor/types' */
/** @import { NativeCore } from './native' */
/** @import { PlacementFunction } from './placement' */

/** Folder of the mediasoup package that this one drives. */
const MEDIASOUP_DIR = path.join(path.dirname(require.resolve('mediasoup-upstream')), '..', '..');

/**
 * @typedef {string | LocalConnection | RemoteConnection | MockConnection} ConnectionLike
 */

/**
 * @typedef {object} HorizontalOptions
 * @property {number} [connectTimeoutMs] How long `createWorker` looks for a worker. Default 10000.
 * @property {number | 'infinite'} [callTimeoutMs] How long a call may wait for the answer of a
 * mediasoup-worker that can be reached. Default: 10 s more than the session timeout, 40000.
 * @property {string[]} [selfAddresses] Further addresses and names of the app's own host.
 * @property {'auto' | 'identity'} [announcedMode] Whether announced addresses that are not the
 * app's own are replaced by the agent's (`auto`, the default) or kept (`identity`).
 * @property {'home' | 'pack' | 'leastLoaded' | 'roundRobin' | 'region' | 'scatter' |
 * PlacementFunction} [placement] Where Workers, and the transports of a Router whose mediasoup-worker
 * is busy, go. Default `pack`; `home` keeps every Router on one mediasoup-worker, as mediasoup does.
 * @property {number} [watermark] The share of a core below which a mediasoup-worker takes more.
 * Default 0.6.
 * @property {number} [maxParts] On how many mediasoup-workers the objects of one Worker may live.
 * Default 32, with `scatter` 3.
 * @property {'continue' | 'died'} [onPartLost] What becomes of a Worker that loses one of several
 * mediasoup-workers: it lives on without what was there (`continue`), or it dies (`died`). Default:
 * it lives on, unless a PlainTransport or DirectTransport was there, which have no event to tell.
 * @property {number} [maxFanOut] How many mediasoup-workers one of them feeds with the same Producer
 * before others pass it on. Default 8.
 * @property {string} [region] Where the app is, for `region` and for placement functions.
 * @property {number} [workersPerHost] How many mediasoup-workers an app may have on one host; further
 * Workers share them. Default: what the host says, which is its number of cores.
 */

/**
 * The connections whose workers carry an app's media.
 */
class Horizontal extends EnhancedEventEmitter {
  /** @type {NativeCore | undefined} */
  #core;
  #socket = '';
  #closed = false;
  /** @type {ConnectionLike[] | 'environment'} */
  #initial;
  /** @type {HorizontalOptions} */
  #options;
  /** @type {typeof mediasoup | undefined} */
  #mediasoup;
  #receiver = { take: (/** @type {CoreEvent} */ event) => this.#take(event) };

  /**
   * @param {Iterable<ConnectionLike>} [connections] Default: what the environment names
   * (`MEDIASOUP_HORIZONTAL_AGENTS`), else this host.
   * @param {HorizontalOptions} [options]
   */
  constructor(connections, options = {}) {
    super();
    followListeners(this, (wanted) => this.#core?.wantObjects(wanted));
    this.#initial = connections === undefined ? 'environment' : [...connections];
    this.#options = options;
    toPlacement(options);
    checkCallTimeout(options.callTimeoutMs);

    if (this.#initial !== 'environment') {
      this.#initial.forEach(toSettings);
      this.#start();
    }
  }

  /**
   * mediasoup itself, with a `createWorker` whose Workers live on these connections.
   *
   * @returns {typeof mediasoup}
   */
  get mediasoup() {
    this.#mediasoup ??= Object.freeze({
      ...mediasoup,
      // A getter there, which spreading would keep only by accident.
      workerBin: mediasoup.workerBin,
      createWorker: createWorkerWith(() => this.#ticketSource()),
    });

    return this.#mediasoup;
  }

  /**
   * Whether close() was called.
   */
  get closed() {
    return this.#closed;
  }

  /**
   * Adds a connection.
   *
   * @param {ConnectionLike} connection
   * @returns {string} Its name.
   */
  add(connection) {
    const settings = toSettings(connection);

    return unwrap(this.#start().add(JSON.stringify(settings)))[0];
  }

  /**
   * Removes a connection and ends its Workers.
   *
   * @param {string} name
   * @returns {boolean} Whether it was there.
   */
  delete(name) {
    return this.#start().remove(name);
  }

  /**
   * The names of all connections.
   *
   * @returns {string[]}
   */
  names() {
    return JSON.parse(this.#start().connections());
  }

  /**
   * Whether the other side of a connection can be reached: `connecting`, `connected`,
   * `disconnected` (for longer than the silent window; its Workers live on until the session
   * timeout) or `closed`.
   *
   * @param {string} name
   * @returns {'connecting' | 'connected' | 'disconnected' | 'closed' | undefined} Undefined where
   * there is no connection of that name.
   */
  state(name) {
    return JSON.parse(this.#start().states())[name];
  }

  /**
   * Where a Worker lives.
   *
   * @param {{ pid: number }} worker
   * @returns {{ connection: string } | undefined} Undefined once the Worker is gone.
   */
  whereIs(worker) {
    const connection = this.#core?.whereIs(worker.pid) ?? '';

    return connection === '' ? undefined : { connection };
  }

  /**
   * What there is now on all connections. A Worker that does not answer within a second is told
   * without what lives on it.
   *
   * @param {StatsOptions} [options]
   * @returns {Promise<HorizontalStats>}
   */
  async stats(options) {
    return readStats(this.#start(), options);
  }

  /**
   * The same in the text format of Prometheus (OpenMetrics).
   *
   * @returns {Promise<string>}
   */
  async metrics() {
    return readMetrics(this.#start());
  }

  /**
   * What there is now, with every object, and then what changes, for as long as it is iterated.
   *
   * @returns {AsyncIterableIterator<HorizontalChange>}
   */
  changes() {
    return new Changes(this);
  }

  /**
   * Ends every Worker and connection.
   */
  close() {
    this.#closed = true;
    if (this.#core) {
      forgetAtExit(this.#core);
      this.#core.close();
    }
    this.#core = undefined;
    this.safeEmit('close');
  }

  /**
   * @param {CoreEvent} event
   */
  #take({ type, ...about }) {
    this.safeEmit(type, about);
  }

  #ticketSource() {
    const core = this.#start();

    return { core, socket: this.#socket, closed: () => this.#closed };
  }

  /**
   * Starts the core on first use, so that requiring the package costs nothing.
   *
   * @returns {NativeCore}
   */
  #start() {
    if (this.#closed) {
      throw new WorkerClosedError('this Horizontal is closed');
    }
    if (this.#core) {
      return this.#core;
    }

    const { NativeCore } = loadBinding();
    const core = new NativeCore();
    const { connectTimeoutMs, callTimeoutMs, selfAddresses, announcedMode } = this.#options;
    const { settings: placement, chooser } = toPlacement(this.#options);

    this.#socket = unwrap(
      core.start(
        JSON.stringify({
          connectTimeoutMs: connectTimeoutMs ?? null,
          callTimeoutMs: callTimeoutMs ?? null,
          selfAddresses: selfAddresses ?? [],
          announcedMode: announcedMode ?? null,
          placement,
          environment: process.env,
          stub: stubPath,
          mediasoupDir: MEDIASOUP_DIR,
        }),
        chooser,
        toEventFunction(this.#receiver),
      ),
    );

    try {
      const settings =
        this.#initial === 'environment' ? [{ type: 'environment' }] : this.#initial.map(toSettings);

      for (const one of settings) {
        unwrap(core.add(JSON.stringify(one)));
      }
    } catch (error) {
      core.close();
      throw error;
    }
    this.#core = core;
    core.wantObjects(isHeard(this));
    closeAtExit(core);

    return core;
  }
}

/**
 * @param {unknown} value
 * @throws {TypeError}
 */
function checkCallTimeout(value) {
  const limited = Number.isSafeInteger(value) && Number(value) >= 1;

  if (value !== undefined && value !== 'infinite' && !limited) {
    throw new TypeError("callTimeoutMs must be a whole number of milliseconds or 'infinite'");
  }
}

module.exports = { Horizontal };
