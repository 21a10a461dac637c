'use strict';

const { once } = require('node:events');
const net = require('node:net');

/** @import { Socket } from 'node:net' */

/**
 * What a proxy does with what comes from one side of a connection, to the other side of it.
 *
 * @typedef {(to: Socket, from: 'controller' | 'agent') => (data: Buffer) => void} Passage
 */

/**
 * A TCP proxy in front of one agent.
 */
class TcpProxy {
  #server;
  /** @type {Set<Socket>} */
  #sockets = new Set();

  /**
   * @param {string} url `ws://host:port` of what is behind it.
   * @param {Passage} passage
   */
  constructor(url, passage) {
    const { hostname, port } = new URL(url);

    this.#server = net.createServer((near) => {
      const far = net.connect(Number(port), hostname);

      this.#join(near, far, passage(far, 'controller'));
      this.#join(far, near, passage(near, 'agent'));
    });
  }

  get url() {
    const { port } = /** @type {net.AddressInfo} */ (this.#server.address());

    return `ws://127.0.0.1:${port}`;
  }

  close() {
    this.#server.close();

    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  /** @protected */
  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /**
   * @param {Socket} from
   * @param {Socket} to
   * @param {(data: Buffer) => void} pass
   */
  #join(from, to, pass) {
    this.#sockets.add(from);
    from.setNoDelay();
    from
      .on('data', pass)
      .on('end', () => to.end())
      .on('error', () => to.destroy())
      .on('close', () => this.#sockets.delete(from));
  }
}

module.exports = { TcpProxy };
