'use strict';

const { EventEmitter } = require('node:events');
const net = require('node:net');
const readline = require('node:readline');

/**
 * Stands for the WebSocket library of real servers: requests, responses and notifications as JSON
 * lines over TCP.
 *
 * @typedef {{ method: string, data: any }} Request
 */

class Peer extends EventEmitter {
  #socket;

  /** @param {net.Socket} socket */
  constructor(socket) {
    super();
    this.#socket = socket;
    const lines = readline.createInterface({ input: socket });

    // The client may go at any time, which 'close' tells.
    for (const stream of [socket, lines]) {
      stream.on('error', () => {});
    }
    socket.once('close', () => this.emit('close'));
    lines.on('line', (line) => {
      const { id, method, data } = JSON.parse(line);
      const answer = (/** @type {object} */ content) => this.#send({ id, ...content });

      this.emit(
        'request',
        { method, data },
        (/** @type {unknown} */ result) => answer({ data: result ?? {} }),
        (/** @type {Error} */ error) =>
          answer({ error: `${error.constructor.name}: ${error.message}` }),
      );
    });
  }

  /**
   * @param {string} method
   * @param {unknown} [data]
   */
  notify(method, data) {
    this.#send({ method, data: data ?? {} });
  }

  /** @param {object} message */
  #send(message) {
    if (!this.#socket.destroyed) {
      this.#socket.write(`${JSON.stringify(message)}\n`);
    }
  }
}

/**
 * Listens for clients, and says where.
 *
 * @param {(peer: Peer) => void} onPeer
 */
function listen(onPeer) {
  const server = net.createServer((socket) => onPeer(new Peer(socket)));

  server.listen(0, '127.0.0.1', () => {
    const { port } = /** @type {net.AddressInfo} */ (server.address());

    console.log(JSON.stringify({ port }));
  });
  // Whoever started this server holds its stdin.
  process.stdin.resume().once('end', () => process.exit(0));
}

module.exports = { Peer, listen };
