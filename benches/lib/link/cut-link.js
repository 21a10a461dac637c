'use strict';

const { TcpProxy } = require('./tcp-proxy');

/** @import { Side } from './tcp-proxy' */

/** @type {Side[]} */
const BOTH = ['controller', 'agent'];

/**
 * A TCP proxy in front of an agent that can hold back what comes from either side or both, reset
 * what is open, and refuse what is new.
 */
class CutLink extends TcpProxy {
  /** @type {Set<Side>} */
  #held = new Set();
  #down = false;

  /**
   * @param {string} url `ws://host:port` of what is behind it.
   * @returns {Promise<CutLink>}
   */
  static async open(url) {
    const link = new CutLink(url, (to) => (data) => void to.write(data));

    await link.listen();

    return link;
  }

  /** How many are open. */
  get connections() {
    return this.ends().filter(([, side]) => side === 'controller').length;
  }

  /**
   * Holds back what comes, on new connections too.
   *
   * @param {Side[]} [sides] Whose. Default: of both.
   */
  hold(sides = BOTH) {
    this.#held = new Set(sides);

    for (const [socket, side] of this.ends()) {
      if (this.#held.has(side)) {
        socket.pause();
      }
    }
  }

  /**
   * @protected
   * @param {Side} side
   */
  isHeld(side) {
    return this.#held.has(side);
  }

  /** Lets go what was held. */
  release() {
    this.#held.clear();

    for (const [socket] of this.ends()) {
      socket.resume();
    }
  }

  /** Resets every connection, and what was held is lost. New ones pass. */
  cut() {
    for (const [socket] of this.ends()) {
      socket.resetAndDestroy();
    }
  }

  /** Resets every connection, and each new one until `up()`. */
  down() {
    this.#down = true;
    this.cut();
  }

  up() {
    this.#down = false;
  }

  /** @override */
  admits() {
    return !this.#down;
  }

  /**
   * @override
   * @param {import('node:net').Socket} socket
   * @param {Side} side
   */
  joined(socket, side) {
    if (this.#held.has(side)) {
      socket.pause();
    }
  }
}

module.exports = { CutLink };
