'use strict';

const net = require('node:net');
const { eventOf } = require('./events');

/**
 * A TCP proxy in front of one address, which can hold back all that comes from both sides, and cut
 * what is open.
 */
class HeldLink {
  #server;
  /** @type {Set<import('node:net').Socket>} */
  #sockets = new Set();
  #held = false;

  /**
   * Use `HeldLink.open()`.
   *
   * @param {number} port
   * @param {string} host
   */
  constructor(port, host) {
    this.#server = net.createServer((near) => {
      const far = net.connect(port, host);

      for (const [from, to] of /** @type {[net.Socket, net.Socket][]} */ ([
        [near, far],
        [far, near],
      ])) {
        this.#sockets.add(from);
        from.setNoDelay();
        from
          .on('data', (data) => to.write(data))
          .on('end', () => to.end())
          .on('error', () => to.destroy())
          .on('close', () => this.#sockets.delete(from));
        if (this.#held) {
          from.pause();
        }
      }
    });
  }

  /**
   * @param {string} url `ws://host:port` of what is behind it.
   * @returns {Promise<HeldLink>}
   */
  static async open(url) {
    const { hostname, port } = new URL(url);
    const link = new HeldLink(Number(port), hostname);

    link.#server.listen(0, '127.0.0.1');
    await eventOf(link.#server, 'listening');

    return link;
  }

  get url() {
    const { port } = /** @type {net.AddressInfo} */ (this.#server.address());

    return `ws://127.0.0.1:${port}`;
  }

  hold() {
    this.#held = true;

    for (const socket of this.#sockets) {
      socket.pause();
    }
  }

  release() {
    this.#held = false;

    for (const socket of this.#sockets) {
      socket.resume();
    }
  }

  /** Resets every connection. New ones pass. */
  cut() {
    for (const socket of this.#sockets) {
      socket.resetAndDestroy();
    }
  }

  close() {
    this.#server.close();

    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }
}

module.exports = { HeldLink };
