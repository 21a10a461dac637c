'use strict';

/** @import { types } from 'mediasoup-upstream' */

/**
 * @typedef {'workers' | 'webRtcServers' | 'routers' | 'transports' | 'producers' | 'consumers' |
 * 'dataProducers' | 'dataConsumers' | 'rtpObservers'} Kind
 *
 * @typedef {object} Observed
 * @property {string} [id]
 * @property {{ on(event: any, listener: (...args: any[]) => void): unknown }} observer
 *
 * @typedef {object} Place
 * @property {types.Worker} worker
 * @property {string} [transport] Id of the transport that it is on.
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
  /** @type {WeakMap<object, Place>} */
  #places = new WeakMap();

  /**
   * @param {types.Worker} worker
   */
  follow(worker) {
    this.#add('workers', worker, { worker });
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
   * Where an object belongs, open or not.
   *
   * @param {object} object
   * @returns {Place | undefined}
   */
  placeOf(object) {
    return this.#places.get(object);
  }

  /**
   * @param {Kind} kind
   * @param {Observed} object
   * @param {Place} place
   */
  #add(kind, object, place) {
    this.#open.set(object, kind);
    this.#places.set(object, place);
    object.observer.on('close', () => this.#open.delete(object));

    const inside = kind === 'transports' ? { ...place, transport: object.id } : place;

    for (const event of BRINGS[kind] ?? []) {
      object.observer.on(event, (born) => {
        this.#add(/** @type {Kind} */ (NEW[event]), born, inside);
      });
    }
  }
}

module.exports = { OpenObjects };
