'use strict';

const { once } = require('node:events');
const net = require('node:net');

/** @import { Socket } from 'node:net' */

/** Where what goes through a proxy comes from. @typedef {'controller' | 'agent'} Side */

/**
 * What a proxy does with what comes from one side of a connection, to the other side of it. The
 * source is where it comes from, for those who must hold it up.
 *
 * @typedef {(to: Socket, from: Side, source: Socket) => (data: Buffer) => void} Passage
 */

/**
 * A TCP proxy in front of one agent.
 */
class TcpProxy {
  #server;
  /** @type {Map<Socket, Side>} */
  #sockets = new Map();

  /**
   * @param {string} url `ws://host:port` of what is behind it.
   * @param {Passage} passage
   */
  constructor(url, passage) {
    const { hostname, port } = new URL(url);

    this.#server = net.createServer((near) => {
      if (!this.admits()) {
        near.resetAndDestroy();

        return;
      }
      const far = net.connect({ port: Number(port), host: hostname, ...this.origin });

      this.#join(near, far, 'controller', passage(far, 'controller', near));
      this.#join(far, near, 'agent', passage(near, 'agent', far));
    });
  }

  get url() {
    const { port } = /** @type {net.AddressInfo} */ (this.#server.address());

    return `ws://127.0.0.1:${port}`;
  }

  close() {
    this.#server.close();

    for (const socket of this.#sockets.keys()) {
      socket.destroy();
    }
  }

  /**
   * Whether a new connection passes.
   *
   * @protected
   * @returns {boolean}
   */
  admits() {
    return true;
  }

  /**
   * Where connections to what is behind it come from.
   *
   * @protected
   * @returns {{ localAddress?: string }}
   */
  get origin() {
    return {};
  }

  /**
   * Told that one side of a connection has ended in order.
   *
   * @protected
   * @param {Socket} to The other end.
   * @param {Side} _from
   */
  ended(to, _from) {
    to.end();
  }

  /**
   * Told each end of a new connection.
   *
   * @protected
   * @param {Socket} _socket
   * @param {Side} _side Whose end it is.
   */
  joined(_socket, _side) {}

  /**
   * The ends of all connections that are open.
   *
   * @protected
   * @returns {[Socket, Side][]}
   */
  ends() {
    return [...this.#sockets];
  }

  /** @protected */
  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /**
   * @param {Socket} from
   * @param {Socket} to
   * @param {Side} side
   * @param {(data: Buffer) => void} pass
   */
  #join(from, to, side, pass) {
    this.#sockets.set(from, side);
    from.setNoDelay();
    from
      .on('data', pass)
      .on('end', () => this.ended(to, side))
      .on('error', () => to.destroy())
      .on('close', () => this.#sockets.delete(from));
    this.joined(from, side);
  }
}

module.exports = { TcpProxy };
