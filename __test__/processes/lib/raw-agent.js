'use strict';

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { SUBPROTOCOL } = require('./raw-websocket');

/** @import { AddressInfo } from 'node:net' */
/** @import { Duplex } from 'node:stream' */

/** What RFC 6455 mixes into the answer to a key. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT = 0x81;
const BINARY = 0x82;

/**
 * An agent that answers each hello with whatever it was given, right or wrong.
 */
class RawAgent {
  #server = http.createServer((_request, response) => {
    response.writeHead(500).end('this is no agent');
  });
  /** @type {Set<Duplex>} */
  #sockets = new Set();

  /**
   * @param {Buffer[]} answers Bytes for the connection once the other side has spoken.
   * @param {object} [options]
   * @param {string} [options.subprotocol]
   * @param {boolean} [options.hangUp] After the answers.
   */
  constructor(answers, { subprotocol = SUBPROTOCOL, hangUp = false } = {}) {
    this.#server.on('upgrade', (request, socket) => {
      const key = `${request.headers['sec-websocket-key']}${GUID}`;

      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
          `Sec-WebSocket-Accept: ${createHash('sha1').update(key).digest('base64')}\r\n` +
          `Sec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`,
      );
      socket.once('data', () => {
        socket.write(Buffer.concat(answers));
        if (hangUp) {
          socket.end();
        }
      });
      socket.resume();
    });
  }

  /**
   * @param {ConstructorParameters<typeof RawAgent>} args
   * @returns {Promise<{ agent: RawAgent, url: string }>}
   */
  static async start(...args) {
    const agent = new RawAgent(...args);

    agent.#server.listen(0, '127.0.0.1');
    await once(agent.#server, 'listening');
    const { port } = /** @type {AddressInfo} */ (agent.#server.address());

    return { agent, url: `ws://127.0.0.1:${port}` };
  }

  stop() {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    this.#server.close();
  }
}

/**
 * @param {string | Buffer} content
 * @returns {Buffer} It as a message of a server.
 */
function message(content) {
  const payload = Buffer.from(content);
  const kind = typeof content === 'string' ? TEXT : BINARY;

  if (payload.length <= 125) {
    return Buffer.concat([Buffer.from([kind, payload.length]), payload]);
  }
  const head = Buffer.from([kind, 127, 0, 0, 0, 0, 0, 0, 0, 0]);

  head.writeBigUInt64BE(BigInt(payload.length), 2);

  return Buffer.concat([head, payload]);
}

module.exports = { RawAgent, message };
