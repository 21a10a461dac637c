'use strict';

const { createHmac, randomBytes } = require('node:crypto');
const zlib = require('node:zlib');

const MAGIC_COOKIE = 0x2112a442;
const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const HEADER_BYTES = 20;

const Attribute = {
  USERNAME: 0x0006,
  MESSAGE_INTEGRITY: 0x0008,
  PRIORITY: 0x0024,
  USE_CANDIDATE: 0x0025,
  FINGERPRINT: 0x8028,
  ICE_CONTROLLING: 0x802a,
};

/**
 * Builds the ICE connectivity check with which a controlling peer nominates its address.
 *
 * @param {{ username: string, password: string }} credentials
 * @returns {Buffer}
 */
function bindingRequest({ username, password }) {
  const priority = Buffer.alloc(4);
  // Of a host candidate with the highest local preference, for the first component.
  priority.writeUInt32BE(((126 << 24) | (0xffff << 8) | 255) >>> 0);

  /** @type {Buffer} */
  let message = Buffer.alloc(HEADER_BYTES);
  message.writeUInt16BE(BINDING_REQUEST, 0);
  message.writeUInt32BE(MAGIC_COOKIE, 4);
  randomBytes(12).copy(message, 8);

  message = append(message, Attribute.USERNAME, Buffer.from(username));
  message = append(message, Attribute.PRIORITY, priority);
  message = append(message, Attribute.ICE_CONTROLLING, randomBytes(8));
  message = append(message, Attribute.USE_CANDIDATE, Buffer.alloc(0));

  // Both sums cover a header whose length already counts the attribute that holds the sum.
  const integrity = createHmac('sha1', password).update(withLength(message, 24)).digest();
  message = append(message, Attribute.MESSAGE_INTEGRITY, integrity);
  const fingerprint = Buffer.alloc(4);
  fingerprint.writeUInt32BE((crc32(withLength(message, 8)) ^ 0x5354554e) >>> 0);

  return append(message, Attribute.FINGERPRINT, fingerprint);
}

/**
 * @param {Buffer} packet
 * @returns {boolean}  Whether it is STUN at all, as opposed to DTLS or media (RFC 7983).
 */
function isStun(packet) {
  return packet.length >= HEADER_BYTES && packet[0] < 4 && packet.readUInt32BE(4) === MAGIC_COOKIE;
}

/**
 * @param {Buffer} packet
 * @param {Buffer} request
 * @returns {boolean}  Whether the packet is the good answer to that request.
 */
function isSuccessFor(packet, request) {
  return (
    isStun(packet) &&
    packet.readUInt16BE(0) === BINDING_SUCCESS &&
    packet.subarray(8, HEADER_BYTES).equals(request.subarray(8, HEADER_BYTES))
  );
}

/**
 * @param {Buffer} message
 * @param {number} type
 * @param {Buffer} value
 * @returns {Buffer}
 */
function append(message, type, value) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(value.length, 2);
  const padding = Buffer.alloc((4 - (value.length % 4)) % 4);

  return withLength(Buffer.concat([message, head, value, padding]), 0);
}

/**
 * @param {Buffer} message
 * @param {number} extra  Bytes still to come.
 * @returns {Buffer}  A copy whose header tells the length.
 */
function withLength(message, extra) {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(message.length - HEADER_BYTES + extra, 2);

  return copy;
}

/**
 * @param {Buffer} data
 * @returns {number}
 */
function crc32(data) {
  // The trailer of a gzip stream holds the sum; zlib.crc32() is missing in Node 20.14 and 21.
  const gzip = zlib.gzipSync(data, { level: 0 });

  return gzip.readUInt32LE(gzip.length - 8);
}

module.exports = { bindingRequest, isStun, isSuccessFor };
