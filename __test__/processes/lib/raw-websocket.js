'use strict';

const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { within } = require('./deadline');

/** @import { Duplex } from 'node:stream' */

const SUBPROTOCOL = 'mediasoup-horizontal.1';

/** Kinds of WebSocket frames. */
const OPCODE = /** @type {const} */ ({ text: 1, binary: 2, close: 8 });
/** Lengths above these need more bytes. */
const LENGTH_7 = 125;
const LENGTH_16 = 0xffff;

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} body
 */

/**
 * A WebSocket client that can say everything wrong.
 */
class RawWebSocket {
  /** @type {Duplex} */
  #socket;
  #received = Buffer.alloc(0);
  #closed;

  /** @param {Duplex} socket */
  constructor(socket) {
    this.#socket = socket;
    // The other side may hang up while we write.
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
  }

  /**
   * @param {string} url
   * @param {Record<string, string>} [headers]
   * @returns {Promise<RawWebSocket | Answer>} The answer of an agent that does not upgrade.
   */
  static async connect(url, headers = {}) {
    const request = http.get(url.replace(/^ws/, 'http'), {
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
        'Sec-WebSocket-Protocol': SUBPROTOCOL,
        ...headers,
      },
    });

    return within(
      new Promise((resolve, reject) => {
        request.on('error', reject);
        request.on('upgrade', (_response, socket) => resolve(new RawWebSocket(socket)));
        request.on('response', async (response) => {
          const body = Buffer.concat(await response.toArray()).toString();

          resolve({ status: response.statusCode ?? 0, body });
        });
      }),
      'the answer to an upgrade',
    );
  }

  /** @param {string} text */
  sendText(text) {
    this.#send(OPCODE.text, Buffer.from(text));
  }

  /** @param {Buffer} bytes */
  sendBinary(bytes) {
    this.#send(OPCODE.binary, bytes);
  }

  /** @param {Buffer} bytes */
  sendRaw(bytes) {
    this.#socket.write(bytes);
  }

  /**
   * @param {number} opcode
   * @param {Buffer} payload
   */
  #send(opcode, payload) {
    // A mask of zeros leaves the payload as it is.
    this.#socket.write(Buffer.concat([head(opcode, payload.length), Buffer.alloc(4), payload]));
  }

  /** @returns {Promise<{ opcode: number, payload: Buffer }>} The next message. */
  async next() {
    for (;;) {
      const message = this.#take();

      if (message) {
        return message;
      }
      await within(once(this.#socket, 'data'), 'a message');
    }
  }

  #take() {
    const bytes = this.#received;

    if (bytes.length < 2) {
      return undefined;
    }
    const short = bytes[1] & 0x7f;
    const start = short === 126 ? 4 : short === 127 ? 10 : 2;

    if (bytes.length < start) {
      return undefined;
    }
    const length =
      start === 2 ? short : start === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));

    if (bytes.length < start + length) {
      return undefined;
    }
    this.#received = bytes.subarray(start + length);

    return { opcode: bytes[0] & 0x0f, payload: bytes.subarray(start, start + length) };
  }

  /** Waits until the other side has hung up. */
  async closed() {
    await within(this.#closed, 'the hang-up', 20_000);
  }

  close() {
    this.#socket.destroy();
  }
}

/**
 * @param {number} opcode
 * @param {number} length
 */
function head(opcode, length) {
  const final = 0x80 | opcode;
  const masked = 0x80;

  if (length <= LENGTH_7) {
    return Buffer.from([final, masked | length]);
  }
  if (length <= LENGTH_16) {
    const bytes = Buffer.from([final, masked | 126, 0, 0]);

    bytes.writeUInt16BE(length, 2);

    return bytes;
  }
  const bytes = Buffer.alloc(10);

  bytes[0] = final;
  bytes[1] = masked | 127;
  bytes.writeBigUInt64BE(BigInt(length), 2);

  return bytes;
}

/**
 * One frame of the protocol inside a binary message.
 *
 * @param {number} kind
 * @param {number} worker
 * @param {Buffer} payload
 * @param {number} [length] Told instead of the true one.
 */
function frame(kind, worker, payload, length = payload.length) {
  const header = Buffer.alloc(9);

  header.writeUInt8(kind, 0);
  header.writeUInt32LE(worker, 1);
  header.writeUInt32LE(length, 5);

  return Buffer.concat([header, payload]);
}

module.exports = { OPCODE, RawWebSocket, SUBPROTOCOL, frame };
