'use strict';

const { generateKeyPairSync, sign } = require('node:crypto');

/** Object identifiers, as DER. */
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');
const COMMON_NAME = Buffer.from('0603550403', 'hex');

const Tag = { INTEGER: 0x02, BIT_STRING: 0x03, UTF8: 0x0c, TIME: 0x17, SEQUENCE: 0x30, SET: 0x31 };
/** The explicit tag of a certificate's version. */
const VERSION_TAG = 0xa0;

const DAY = 86_400_000;

/**
 * Makes a self-signed certificate, which Node.js can read but not make.
 *
 * @returns {{ certificate: string, privateKey: string }} Both as PEM.
 */
function makeCertificate() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(Tag.SEQUENCE, ECDSA_WITH_SHA256);
  const name = der(
    Tag.SEQUENCE,
    der(Tag.SET, der(Tag.SEQUENCE, COMMON_NAME, der(Tag.UTF8, Buffer.from('conformance')))),
  );
  const content = der(
    Tag.SEQUENCE,
    der(VERSION_TAG, der(Tag.INTEGER, Buffer.from([2]))),
    der(Tag.INTEGER, Buffer.from([1])),
    algorithm,
    name,
    der(Tag.SEQUENCE, time(Date.now() - DAY), time(Date.now() + 30 * DAY)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = der(Tag.BIT_STRING, Buffer.from([0]), sign('sha256', content, privateKey));

  return {
    certificate: pem('CERTIFICATE', der(Tag.SEQUENCE, content, algorithm, signature)),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/**
 * @param {number} tag
 * @param {...Buffer} parts
 * @returns {Buffer}
 */
function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  /** @type {number[]} */
  const size = [];

  for (let rest = length; rest > 0; rest >>= 8) {
    size.unshift(rest & 0xff);
  }

  const head = length < 0x80 ? [tag, length] : [tag, 0x80 | size.length, ...size];

  return Buffer.concat([Buffer.from(head), content]);
}

/**
 * @param {number} ms
 * @returns {Buffer}
 */
function time(ms) {
  const digits = new Date(ms).toISOString().replace(/\D/g, '');

  return der(Tag.TIME, Buffer.from(`${digits.slice(2, 14)}Z`));
}

/**
 * @param {string} label
 * @param {Buffer} content
 * @returns {string}
 */
function pem(label, content) {
  const lines = content.toString('base64').match(/.{1,64}/g) ?? [];

  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

module.exports = { makeCertificate };
