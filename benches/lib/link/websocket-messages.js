'use strict';

const HEAD_END = '\r\n\r\n';
const BINARY = 2;
const FINAL = 0x80;
const MASKED = 0x80;
const MASK_LENGTH = 4;

/**
 * @typedef {object} WebSocketMessage
 * @property {Buffer} bytes As on the wire.
 * @property {Buffer | undefined} binary What it says, if it is a binary one.
 */

/**
 * Cuts one side of a WebSocket connection into the HTTP head and its messages.
 */
class WebSocketMessages {
  #rest = Buffer.alloc(0);
  #headSeen = false;

  /**
   * @param {Buffer} data
   * @returns {WebSocketMessage[]} Those that are complete now.
   */
  push(data) {
    this.#rest = Buffer.concat([this.#rest, data]);
    /** @type {WebSocketMessage[]} */
    const found = [];

    for (let next = this.#next(); next; next = this.#next()) {
      found.push(next);
      this.#rest = this.#rest.subarray(next.bytes.length);
    }

    return found;
  }

  /** @returns {WebSocketMessage | undefined} */
  #next() {
    return this.#headSeen ? readMessage(this.#rest) : this.#readHead();
  }

  /** @returns {WebSocketMessage | undefined} */
  #readHead() {
    const end = this.#rest.indexOf(HEAD_END);

    if (end < 0) {
      return undefined;
    }
    this.#headSeen = true;

    return { bytes: this.#rest.subarray(0, end + HEAD_END.length), binary: undefined };
  }
}

/**
 * @param {Buffer} data
 * @returns {WebSocketMessage | undefined} Undefined if there is no whole one.
 */
function readMessage(data) {
  if (data.length < 2) {
    return undefined;
  }

  const first = data.readUInt8(0);
  const second = data.readUInt8(1);
  const lengthBytes = { 126: 2, 127: 8 }[second & 0x7f] ?? 0;
  const mask = 2 + lengthBytes;
  const start = mask + (second & MASKED ? MASK_LENGTH : 0);

  if (data.length < start) {
    return undefined;
  }

  const length = readLength(data, second & 0x7f);

  if (data.length < start + length) {
    return undefined;
  }
  if (!(first & FINAL)) {
    throw new Error('a WebSocket message in pieces, which neither side sends');
  }

  const payload = Buffer.from(data.subarray(start, start + length));

  if (second & MASKED) {
    for (let i = 0; i < length; i++) {
      payload[i] = (payload[i] ?? 0) ^ (data[mask + (i % MASK_LENGTH)] ?? 0);
    }
  }

  return {
    bytes: data.subarray(0, start + length),
    binary: (first & 0x0f) === BINARY ? payload : undefined,
  };
}

/**
 * @param {Buffer} data
 * @param {number} short
 * @returns {number}
 */
function readLength(data, short) {
  if (short === 126) {
    return data.readUInt16BE(2);
  }

  return short === 127 ? Number(data.readBigUInt64BE(2)) : short;
}

module.exports = { WebSocketMessages };
