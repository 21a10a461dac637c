'use strict';

const dgram = require('node:dgram');
const { randomBytes } = require('node:crypto');

/** @import { types } from 'mediasoup-upstream' */

const SSRC = 44_444_444;
const PAYLOAD_TYPE = 111;
const LEVEL_EXTENSION = 1;
/** Loudness in -dBov, as RFC 6464 has it. */
const LEVEL = 20;
const FRAME_MS = 20;
const FRAME_SAMPLES = 960;

/**
 * Sends audio packets of a constant loudness to a port of this host until it is closed. What is in
 * them is random, so that each can be told from all others.
 */
class Tone {
  #socket = dgram.createSocket('udp4');
  #sequence = 0;
  #timer;
  /** Payloads, in order. @type {Buffer[]} */
  sent = [];

  static LEVEL = LEVEL;

  /** @type {types.ProducerOptions} */
  static PRODUCER = {
    kind: 'audio',
    rtpParameters: {
      codecs: [
        { mimeType: 'audio/opus', payloadType: PAYLOAD_TYPE, clockRate: 48000, channels: 2 },
      ],
      headerExtensions: [
        { uri: 'urn:ietf:params:rtp-hdrext:ssrc-audio-level', id: LEVEL_EXTENSION },
      ],
      encodings: [{ ssrc: SSRC }],
      rtcp: { cname: 'tone' },
    },
  };

  /** @param {number} port */
  constructor(port) {
    this.#timer = setInterval(() => this.#send(port), FRAME_MS);
  }

  close() {
    clearInterval(this.#timer);
    this.#socket.close();
  }

  /** @param {number} port */
  #send(port) {
    const payload = randomBytes(40);
    const header = Buffer.alloc(20);

    // Version 2 with an extension header.
    header.writeUInt8(0x90, 0);
    header.writeUInt8(PAYLOAD_TYPE, 1);
    header.writeUInt16BE(this.#sequence & 0xffff, 2);
    header.writeUInt32BE(this.#sequence * FRAME_SAMPLES, 4);
    header.writeUInt32BE(SSRC, 8);
    // One word of extensions of one byte each.
    header.writeUInt16BE(0xbede, 12);
    header.writeUInt16BE(1, 14);
    header.writeUInt8(LEVEL_EXTENSION << 4, 16);
    header.writeUInt8(0x80 | LEVEL, 17);
    this.#sequence += 1;
    this.sent.push(payload);
    this.#socket.send(Buffer.concat([header, payload]), port, '127.0.0.1');
  }
}

module.exports = { Tone };
