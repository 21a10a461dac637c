'use strict';

/** @import { types } from 'mediasoup-upstream' */

/**
 * @typedef {'workers' | 'webRtcServers' | 'routers' | 'transports' | 'producers' | 'consumers' |
 * 'dataProducers' | 'dataConsumers' | 'rtpObservers'} Kind
 *
 * @typedef {{ observer: { on(event: any, listener: (...args: any[]) => void): unknown } }} Observed
 */

/**
 * Which kind of object an observer's event brings.
 *
 * @type {Record<string, Kind>}
 */
const NEW = {
  newwebrtcserver: 'webRtcServers',
  newrouter: 'routers',
  newtransport: 'transports',
  newrtpobserver: 'rtpObservers',
  newproducer: 'producers',
  newconsumer: 'consumers',
  newdataproducer: 'dataProducers',
  newdataconsumer: 'dataConsumers',
};

/**
 * Which events each kind of object has that bring others.
 *
 * @type {Partial<Record<Kind, string[]>>}
 */
const BRINGS = {
  workers: ['newwebrtcserver', 'newrouter'],
  routers: ['newtransport', 'newrtpobserver'],
  transports: ['newproducer', 'newconsumer', 'newdataproducer', 'newdataconsumer'],
};

/**
 * Follows every object of some Workers from its birth to its close.
 */
class OpenObjects {
  /** @type {Map<Observed, Kind>} */
  #open = new Map();
  /** @type {Set<types.Worker>} */
  #processes = new Set();
  /** @type {WeakMap<object, types.Worker>} */
  #workers = new WeakMap();

  /**
   * @param {types.Worker} worker
   */
  follow(worker) {
    this.#add('workers', worker, worker);
    this.#processes.add(worker);
    worker.once('subprocessclose', () => this.#processes.delete(worker));
  }

  /**
   * How many objects of each kind are open; kinds of which none is are left out.
   *
   * @returns {Partial<Record<Kind, number>>}
   */
  count() {
    /** @type {Partial<Record<Kind, number>>} */
    const counts = {};

    for (const kind of this.#open.values()) {
      counts[kind] = (counts[kind] ?? 0) + 1;
    }

    return counts;
  }

  /**
   * The Workers whose processes live, closed or not.
   *
   * @returns {types.Worker[]}
   */
  processes() {
    return [...this.#processes];
  }

  /**
   * The Worker that an object belongs to, open or not.
   *
   * @param {object} object
   * @returns {types.Worker | undefined}
   */
  workerOf(object) {
    return this.#workers.get(object);
  }

  /**
   * @param {Kind} kind
   * @param {Observed} object
   * @param {types.Worker} worker
   */
  #add(kind, object, worker) {
    this.#open.set(object, kind);
    this.#workers.set(object, worker);
    object.observer.on('close', () => this.#open.delete(object));

    for (const event of BRINGS[kind] ?? []) {
      object.observer.on(event, (born) => {
        this.#add(/** @type {Kind} */ (NEW[event]), born, worker);
      });
    }
  }
}

module.exports = { OpenObjects };
