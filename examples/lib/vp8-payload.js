'use strict';

/**
 * The RTP payload format of VP8 (RFC 7741).
 *
 * @typedef {object} Vp8Descriptor
 * @property {boolean} startOfFrame
 * @property {boolean} keyFrame True only in the first packet of a key frame.
 * @property {number | undefined} pictureId
 * @property {number} length Bytes that the descriptor takes.
 */

const DESCRIPTOR_LENGTH = 4;

/**
 * Splits an encoded frame into RTP payloads of about equal size, each with its descriptor.
 *
 * @param {Buffer} frame
 * @param {number} pictureId
 * @param {number} maxPayload
 * @returns {Buffer[]}
 */
function packetiseVp8(frame, pictureId, maxPayload) {
  const count = Math.max(1, Math.ceil(frame.length / (maxPayload - DESCRIPTOR_LENGTH)));

  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor((frame.length * i) / count);
    const end = Math.floor((frame.length * (i + 1)) / count);
    const descriptor = Buffer.alloc(DESCRIPTOR_LENGTH);

    descriptor[0] = 0x80 | (i === 0 ? 0x10 : 0); // X, and S in the first packet.
    descriptor[1] = 0x80; // I: a picture id follows.
    descriptor.writeUInt16BE(0x8000 | (pictureId & 0x7fff), 2); // M: of 15 bits.

    return Buffer.concat([descriptor, frame.subarray(start, end)]);
  });
}

/**
 * @param {Buffer} payload
 * @returns {Vp8Descriptor | undefined} Undefined if this cannot be VP8.
 */
function parseVp8Descriptor(payload) {
  const first = payload[0];

  if (first === undefined) {
    return undefined;
  }

  const startOfFrame = (first & 0x10) !== 0 && (first & 0x07) === 0;
  let pictureId;
  let length = 1;

  if (first & 0x80) {
    const flags = payload[length++] ?? 0;

    if (flags & 0x80) {
      const high = payload[length++] ?? 0;

      pictureId = high & 0x80 ? ((high & 0x7f) << 8) | (payload[length++] ?? 0) : high;
    }

    length += flags & 0x40 ? 1 : 0; // TL0PICIDX.
    length += flags & 0x30 ? 1 : 0; // TID, Y and KEYIDX share a byte.
  }

  const frameByte = payload[length];

  if (frameByte === undefined) {
    return undefined;
  }

  return { startOfFrame, keyFrame: startOfFrame && isVp8KeyFrame(frameByte), pictureId, length };
}

/**
 * @param {number} firstByte The first byte of an encoded frame.
 * @returns {boolean}
 */
function isVp8KeyFrame(firstByte) {
  return (firstByte & 0x01) === 0;
}

module.exports = { packetiseVp8, parseVp8Descriptor, isVp8KeyFrame };
