'use strict';

const { isDeepStrictEqual } = require('node:util');
const { toComparableTransport } = require('./options');

/** @import { PipeTransport, Router } from 'mediasoup-upstream/types' */
/** @import { TransportOptions } from './options' */

/**
 * The pairs between two Routers: the same Set for both.
 *
 * @type {WeakMap<Router, WeakMap<Router, Set<TransportPair>>>}
 */
const pairsOf = new WeakMap();

/**
 * Two connected PipeTransports, one in each of two Routers. It carries what is piped with the same
 * options, in both directions, and lives until one of the transports is closed.
 */
class TransportPair {
  #routers;
  #pairs;
  /** @type {PipeTransport[]} */
  #transports = [];
  #open = true;

  /**
   * Use `TransportPair.between()`.
   *
   * @param {[Router, Router]} routers
   * @param {TransportOptions} options
   * @param {Set<TransportPair>} pairs Those between the two Routers.
   */
  constructor(routers, options, pairs) {
    this.#routers = routers;
    this.#pairs = pairs;
    this.options = toComparableTransport(options);

    const created = this.#create(options);

    /** Resolves once both transports exist. */
    this.created = created;
    /** Resolves once they are connected too. */
    this.connected = created.then((transports) => this.#connect(transports));
    // Whoever wants to know awaits it too.
    this.connected.catch(() => {});
    pairs.add(this);
  }

  /**
   * The pair of that kind between two Routers. There is at most one, whoever asks first.
   *
   * @param {Router} from
   * @param {Router} to
   * @param {TransportOptions} options
   * @returns {TransportPair}
   */
  static between(from, to, options) {
    const pairs = pairsBetween(from, to);
    const wanted = toComparableTransport(options);

    for (const pair of pairs) {
      if (pair.open && isDeepStrictEqual(pair.options, wanted)) {
        return pair;
      }
    }

    return new TransportPair([from, to], options, pairs);
  }

  get open() {
    return this.#open && this.#transports.every(({ closed }) => !closed);
  }

  /**
   * @param {Router} router One of the two.
   * @returns {Promise<PipeTransport>}
   */
  async in(router) {
    const [first, second] = await this.created;

    return router === this.#routers[0] ? first : second;
  }

  /**
   * @param {TransportOptions} options
   * @returns {Promise<[PipeTransport, PipeTransport]>}
   */
  async #create(options) {
    const [first, second] = this.#routers.map(async (router) =>
      router.createPipeTransport(options),
    );

    try {
      const transports = await Promise.all([
        /** @type {Promise<PipeTransport>} */ (first),
        /** @type {Promise<PipeTransport>} */ (second),
      ]);

      this.#transports = transports;
      this.#closeTogether(transports);

      return transports;
    } catch (error) {
      this.#forget();

      // One may be there already or still come.
      for (const transport of [first, second]) {
        transport?.then(
          (late) => late.close(),
          () => {},
        );
      }
      throw error;
    }
  }

  /** @param {[PipeTransport, PipeTransport]} transports */
  #closeTogether([first, second]) {
    first.observer.on('close', () => {
      second.close();
      this.#forget();
    });
    second.observer.on('close', () => {
      first.close();
      this.#forget();
    });
  }

  /** @param {[PipeTransport, PipeTransport]} transports */
  async #connect([first, second]) {
    try {
      await Promise.all([connect(first, second), connect(second, first)]);
    } catch (error) {
      this.#forget();
      first.close();
      second.close();
      throw error;
    }
  }

  /** From now on the Routers get a new pair. */
  #forget() {
    this.#open = false;
    this.#pairs.delete(this);
  }
}

/**
 * @param {PipeTransport} transport
 * @param {PipeTransport} peer
 */
function connect(transport, { tuple, srtpParameters }) {
  return transport.connect({ ip: tuple.localAddress, port: tuple.localPort, srtpParameters });
}

/**
 * @param {Router} one
 * @param {Router} other
 * @returns {Set<TransportPair>}
 */
function pairsBetween(one, other) {
  const known = pairsOf.get(one)?.get(other);

  if (known) {
    return known;
  }

  /** @type {Set<TransportPair>} */
  const pairs = new Set();

  for (const [from, to] of /** @type {[Router, Router][]} */ ([
    [one, other],
    [other, one],
  ])) {
    const peers = pairsOf.get(from) ?? new WeakMap();

    pairsOf.set(from, peers.set(to, pairs));
  }

  return pairs;
}

module.exports = { TransportPair };
