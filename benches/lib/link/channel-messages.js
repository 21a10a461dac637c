'use strict';

const { createRequire } = require('node:module');

/** What a frame of the protocol and the channel message in it say, as far as round trips go. */

const UPSTREAM = require.resolve('mediasoup-upstream');
const { ByteBuffer } = createRequire(UPSTREAM)('flatbuffers');
/** mediasoup's own reader of its worker's messages. @type {any} */
const { Body, Message } = require(UPSTREAM.replace(/index\.js$/, 'fbs/message.js'));
/** @type {any} */
const { Method, Request } = require(UPSTREAM.replace(/index\.js$/, 'fbs/request.js'));

/** docs/protocol.md, section 2. */
const HEADER_LENGTH = 9;
const CHANNEL = 4;
const SIZE_PREFIX = 4;

/**
 * @typedef {object} ChannelMessage
 * @property {'request' | 'response' | 'other'} type
 * @property {string} [method] Of a request.
 */

/**
 * @param {Buffer} message One binary message between a controller and an agent.
 * @returns {ChannelMessage[]} The channel messages in it.
 */
function channelMessages(message) {
  /** @type {ChannelMessage[]} */
  const found = [];

  for (let offset = 0; offset + HEADER_LENGTH <= message.length; ) {
    const length = message.readUInt32LE(offset + 5);
    const start = offset + HEADER_LENGTH;

    if (message[offset] === CHANNEL) {
      found.push(parse(message.subarray(start + SIZE_PREFIX, start + length)));
    }
    offset = start + length;
  }

  return found;
}

/**
 * @param {Buffer} bytes
 * @returns {ChannelMessage}
 */
function parse(bytes) {
  const message = Message.getRootAsMessage(new ByteBuffer(new Uint8Array(bytes)));

  switch (message.dataType()) {
    case Body.Request: {
      const method = message.data(new Request()).method();

      return { type: 'request', method: Method[method] ?? String(method) };
    }
    case Body.Response:
      return { type: 'response' };
    default:
      return { type: 'other' };
  }
}

module.exports = { channelMessages };
