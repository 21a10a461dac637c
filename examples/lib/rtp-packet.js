'use strict';

/**
 * RTP packets (RFC 3550) with the `abs-capture-time` header extension (RFC 8285 one-byte form).
 *
 * The extension carries the time at which a packet was sent. mediasoup passes it on untouched,
 * through pipes too, so a receiver can tell the delay of each packet.
 *
 * @typedef {object} RtpPacket
 * @property {number} payloadType
 * @property {boolean} marker
 * @property {number} sequenceNumber
 * @property {number} timestamp
 * @property {number} ssrc
 * @property {Buffer} payload
 * @property {Map<number, Buffer>} extensions By id.
 */

const FIXED_HEADER_LENGTH = 12;
const CAPTURE_TIME_LENGTH = 8;
const HEADER_LENGTH = FIXED_HEADER_LENGTH + 4 + 12;

/** Seconds between the epochs of NTP (1900) and of Unix (1970). */
const NTP_EPOCH = 2_208_988_800;

const ABS_CAPTURE_TIME_URI = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';

/**
 * @param {object} fields
 * @param {number} fields.payloadType
 * @param {boolean} fields.marker
 * @param {number} fields.sequenceNumber
 * @param {number} fields.timestamp
 * @param {number} fields.ssrc
 * @param {number} fields.captureTimeId Id of the header extension.
 * @param {number} fields.captureTime Milliseconds since 1970.
 * @param {Buffer} fields.payload
 * @returns {Buffer}
 */
function buildRtp(fields) {
  const header = Buffer.alloc(HEADER_LENGTH);

  header[0] = 0x90; // Version 2, with a header extension.
  header[1] = (fields.marker ? 0x80 : 0) | fields.payloadType;
  header.writeUInt16BE(fields.sequenceNumber & 0xffff, 2);
  header.writeUInt32BE(fields.timestamp >>> 0, 4);
  header.writeUInt32BE(fields.ssrc, 8);
  header.writeUInt16BE(0xbede, 12);
  header.writeUInt16BE(3, 14); // 32-bit words that follow: 9 bytes and padding.
  header[16] = (fields.captureTimeId << 4) | (CAPTURE_TIME_LENGTH - 1);
  writeNtp(header, 17, fields.captureTime);

  return Buffer.concat([header, fields.payload]);
}

/**
 * @param {Buffer} data
 * @returns {RtpPacket | undefined} Undefined if this is not RTP.
 */
function parseRtp(data) {
  if (data.length < FIXED_HEADER_LENGTH || data.readUInt8(0) >> 6 !== 2) {
    return undefined;
  }

  const first = data.readUInt8(0);
  const second = data.readUInt8(1);
  let start = FIXED_HEADER_LENGTH + (first & 0x0f) * 4;
  /** @type {Map<number, Buffer>} */
  let extensions = new Map();

  if (first & 0x10) {
    if (start + 4 > data.length) {
      return undefined;
    }

    const profile = data.readUInt16BE(start);
    const end = start + 4 + data.readUInt16BE(start + 2) * 4;

    extensions = parseExtensions(profile, data.subarray(start + 4, end));
    start = end;
  }

  const padding = first & 0x20 ? data.readUInt8(data.length - 1) : 0;

  if (start + padding > data.length) {
    return undefined;
  }

  return {
    payloadType: second & 0x7f,
    marker: (second & 0x80) !== 0,
    sequenceNumber: data.readUInt16BE(2),
    timestamp: data.readUInt32BE(4),
    ssrc: data.readUInt32BE(8),
    payload: data.subarray(start, data.length - padding),
    extensions,
  };
}

/**
 * @param {number} profile 0xbede for one-byte headers, 0x100x for two-byte ones.
 * @param {Buffer} block
 * @returns {Map<number, Buffer>}
 */
function parseExtensions(profile, block) {
  const extensions = new Map();
  const oneByte = profile === 0xbede;

  if (!oneByte && profile >> 4 !== 0x100) {
    return extensions;
  }

  for (let offset = 0; offset < block.length; ) {
    const first = block.readUInt8(offset++);

    // A zero byte is padding.
    if (first === 0) {
      continue;
    }

    const id = oneByte ? first >> 4 : first;
    const length = oneByte ? (first & 0x0f) + 1 : (block[offset++] ?? 0);

    extensions.set(id, block.subarray(offset, offset + length));
    offset += length;
  }

  return extensions;
}

/**
 * Writes a time in the 64-bit format of NTP.
 *
 * @param {Buffer} buffer
 * @param {number} offset
 * @param {number} time Milliseconds since 1970.
 */
function writeNtp(buffer, offset, time) {
  const seconds = Math.floor(time / 1000);

  buffer.writeUInt32BE((seconds + NTP_EPOCH) >>> 0, offset);
  buffer.writeUInt32BE(Math.floor(((time - seconds * 1000) / 1000) * 2 ** 32), offset + 4);
}

/**
 * @param {Buffer} buffer
 * @param {number} offset
 * @returns {number} Milliseconds since 1970.
 */
function readNtp(buffer, offset) {
  const seconds = buffer.readUInt32BE(offset);
  const fraction = buffer.readUInt32BE(offset + 4) / 2 ** 32;
  // The seconds wrap in 2036: small values are of the next era.
  const era = seconds < 0x8000_0000 ? 2 ** 32 : 0;

  return (seconds + era - NTP_EPOCH + fraction) * 1000;
}

/**
 * @returns {number} Milliseconds since 1970, finer than Date.now() and never going back.
 */
function wallClock() {
  return performance.timeOrigin + performance.now();
}

module.exports = {
  ABS_CAPTURE_TIME_URI,
  HEADER_LENGTH,
  buildRtp,
  parseRtp,
  readNtp,
  wallClock,
  writeNtp,
};
