'use strict';

const { EventEmitter } = require('node:events');
const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { WorkerClosedError } = require('mediasoup-upstream/errors');
const { EnhancedEventEmitter } = require('mediasoup-upstream/extras');
const { checkOptions, show } = require('./check-options');
const { ConnectionSet } = require('./connection-set');
const { toConnection } = require('./connections');
const { shareCore } = require('./core-access');
const { createWorkerWith } = require('./create-worker');
const { toArguments, toEventFunction } = require('./events');
const { closeAtExit, forgetAtExit } = require('./exit');
const { CHANGE, Changes } = require('./monitor/changes');
const { readMetrics, readStats } = require('./monitor/stats');
const native = require('./native');
const { toPlacement } = require('./placement');

/** @import { Connection, DeleteOptions } from './connection-set' */
/** @import { CoreEvent } from './events' */
/** @import { HorizontalChange, HorizontalStats, StatsOptions } from './monitor/types' */
/** @import { NativeCore } from './native' */
/** @import { PlacementFunction } from './placement' */

/** Folder of the mediasoup package that this one drives. */
const MEDIASOUP_DIR = path.join(path.dirname(require.resolve('mediasoup-upstream')), '..', '..');

/** What is told of objects, which is only worth the work where somebody listens. */
const OBJECT_EVENTS = ['newobject', 'closeobject', CHANGE];

/**
 * A URL of an agent, a connection of this package, a mediasoup module, or a connection of the app's
 * own.
 *
 * @typedef {string | Connection | typeof mediasoup} ConnectionLike
 */

/**
 * What keeps a Horizontal while its core lives: an app may hold a Worker and nothing else, and
 * still listen.
 *
 * @type {WeakMap<NativeCore, object>}
 */
const ownerOf = new WeakMap();

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
 * @property {'strict' | 'pipes' | 'schema'} [compatibility] How much the workers of a connection may
 * differ from the library's own. Default `strict`, its very version.
 */

/**
 * The connections whose workers carry an app's media, as a Set of them.
 */
class Horizontal extends EnhancedEventEmitter {
  /** @type {NativeCore | undefined} */
  #core;
  /** @type {ConnectionSet | undefined} */
  #set;
  #socket = '';
  #closed = false;
  /** @type {Connection[] | 'environment'} */
  #initial;
  /** @type {HorizontalOptions} */
  #options;
  /** @type {typeof mediasoup | undefined} */
  #mediasoup;
  #observer = new EnhancedEventEmitter();
  #receiver = { take: (/** @type {CoreEvent} */ event) => this.#take(event) };

  /**
   * @param {Iterable<ConnectionLike> | null} [connections] Default: what the environment names
   * (`MEDIASOUP_HORIZONTAL_AGENTS`), else this host.
   * @param {HorizontalOptions} [options]
   */
  constructor(connections, options = {}) {
    super();
    this.#options = checkOptions('Horizontal', options);
    this.#initial =
      connections === undefined || connections === null
        ? 'environment'
        : toConnections(connections);
    shareCore(this, () => this.#start());
    this.#listenToListeners();
    if (this.#initial !== 'environment') {
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
   * As mediasoup's `observer`, for the Workers of these connections only: event `newworker`.
   */
  get observer() {
    return this.#observer;
  }

  /**
   * Whether close() was called.
   */
  get closed() {
    return this.#closed;
  }

  /**
   * How many connections there are.
   */
  get size() {
    return this.#list().length;
  }

  /**
   * Adds a connection. One that is there already stays as it is, and is taken back if it was about
   * to leave.
   *
   * @param {ConnectionLike} connection
   * @returns {Promise<Connection>} The object that stands for it, once it is connected and checked.
   */
  async add(connection) {
    return this.#started().add(connection);
  }

  /**
   * Removes a connection.
   *
   * @param {ConnectionLike} connection Also its name.
   * @param {DeleteOptions} [options]
   * @returns {Promise<boolean>} Whether it was there, and is not any more.
   */
  async delete(connection, options) {
    return this.#closed ? false : this.#started().delete(connection, options);
  }

  /**
   * Removes every connection.
   *
   * @param {DeleteOptions} [options]
   * @returns {Promise<void>}
   */
  async clear(options) {
    await Promise.all(this.#list().map((connection) => this.delete(connection, options)));
  }

  /**
   * @param {ConnectionLike} connection Also its name.
   * @returns {boolean}
   */
  has(connection) {
    return this.#closed ? false : this.#started().find(connection) !== undefined;
  }

  /**
   * @param {(value: Connection, key: Connection, set: this) => void} callback
   * @param {unknown} [thisArg]
   */
  forEach(callback, thisArg) {
    for (const connection of this.#list()) {
      callback.call(thisArg, connection, connection, this);
    }
  }

  /**
   * @returns {IterableIterator<Connection>}
   */
  keys() {
    return this.values();
  }

  /**
   * @returns {IterableIterator<Connection>} In the order in which they came.
   */
  values() {
    return this.#list().values();
  }

  /**
   * @returns {IterableIterator<[Connection, Connection]>}
   */
  entries() {
    return this.#list()
      .map((connection) => /** @type {[Connection, Connection]} */ ([connection, connection]))
      .values();
  }

  [Symbol.iterator]() {
    return this.values();
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
    this.#set?.cancel(closedError());
    if (this.#core) {
      forgetAtExit(this.#core);
      this.#core.close();
    }
    this.#core = undefined;
    this.#set = undefined;
    this.safeEmit(CHANGE);
  }

  /**
   * @returns {Connection[]}
   */
  #list() {
    return this.#closed ? [] : this.#started().list();
  }

  /**
   * @param {CoreEvent} event
   */
  #take(event) {
    if (this.#set) {
      // Its listeners may throw what they like: the next event is none of theirs.
      this.safeEmit(event.type, ...toArguments(event, () => this.#set?.ofEvent(event)));
      this.safeEmit(CHANGE, event);
    }
  }

  /**
   * Objects are followed while somebody listens to them.
   */
  #listenToListeners() {
    const count = () => OBJECT_EVENTS.reduce((sum, event) => sum + super.listenerCount(event), 0);

    super.on('newListener', (event) => {
      if (OBJECT_EVENTS.includes(event)) {
        this.#core?.wantObjects(true);
      }
    });
    super.on('removeListener', (event) => {
      if (OBJECT_EVENTS.includes(event)) {
        this.#core?.wantObjects(count() > 0);
      }
    });
  }

  /**
   * @override
   * @param {string} [event]
   */
  removeAllListeners(event) {
    if (event !== undefined) {
      return super.removeAllListeners(event);
    }
    // Whoever iterates over changes would wait for ever.
    this.safeEmit(CHANGE);
    // mediasoup's own passes `undefined` on, which to Node.js is the name of an event.
    EventEmitter.prototype.removeAllListeners.call(this);
    this.#listenToListeners();
    this.#core?.wantObjects(false);

    return this;
  }

  #ticketSource() {
    const core = this.#start();

    return {
      core,
      socket: this.#socket,
      closed: () => this.#closed,
      made: (/** @type {mediasoup.types.Worker} */ worker) =>
        this.#observer.safeEmit('newworker', worker),
    };
  }

  /**
   * @returns {ConnectionSet}
   */
  #started() {
    this.#start();

    return /** @type {ConnectionSet} */ (this.#set);
  }

  /**
   * Starts the core on first use, so that requiring the package costs nothing.
   *
   * @returns {NativeCore}
   */
  #start() {
    if (this.#closed) {
      throw closedError();
    }
    if (this.#core) {
      return this.#core;
    }

    const { NativeCore } = native.loadBinding();
    const core = new NativeCore();
    const { connectTimeoutMs, callTimeoutMs, selfAddresses, announcedMode, compatibility } =
      this.#options;
    const { settings: placement, chooser } = toPlacement(this.#options);

    this.#socket = native.unwrap(
      core.start(
        JSON.stringify({
          connectTimeoutMs: connectTimeoutMs ?? null,
          callTimeoutMs: callTimeoutMs ?? null,
          selfAddresses: selfAddresses ?? [],
          announcedMode: announcedMode ?? null,
          compatibility: compatibility ?? null,
          placement,
          environment: process.env,
          stub: native.stubPath,
          mediasoupDir: MEDIASOUP_DIR,
        }),
        chooser,
      ),
    );

    const set = new ConnectionSet(core);

    try {
      if (this.#initial === 'environment') {
        native.unwrap(core.add(JSON.stringify({ type: 'environment' })));
      } else {
        for (const connection of this.#initial) {
          set.put(connection);
        }
      }
    } catch (error) {
      core.close();
      throw error;
    }
    this.#core = core;
    this.#set = set;
    ownerOf.set(core, this);
    core.wantObjects(OBJECT_EVENTS.some((event) => super.listenerCount(event) > 0));
    closeAtExit(core);
    // Not on behalf of the app's code: jest takes whatever that opens and that lives on for a leak,
    // also what keeps no process alive.
    Promise.resolve().then(() => core.hear(toEventFunction(this.#receiver)));

    return core;
  }
}

/**
 * @param {Iterable<ConnectionLike>} given
 * @returns {Connection[]}
 */
function toConnections(given) {
  // A text can be iterated over too, which nobody means.
  if (typeof given !== 'object' || typeof given[Symbol.iterator] !== 'function') {
    throw new TypeError(
      `Horizontal: connections must be a list of connections, got ${show(given, true)}`,
    );
  }

  return [...given].map((one, i) => toConnection(one, `Horizontal: connections[${i}]`));
}

function closedError() {
  return new WorkerClosedError('this Horizontal is closed');
}

module.exports = { Horizontal };
