'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/**
 * @typedef {object} Manifest
 * @property {string} version   Version of mediasoup that the binary belongs to.
 * @property {string} schema    Fingerprint of that version's schema, see `schemaFingerprint()`.
 * @property {string} sha256    Of the binary, in hex.
 * @property {'download' | 'build'} origin
 */

/**
 * Folder under which everything lives that can be fetched or built again.
 *
 * @returns {string}
 */
function cacheRoot() {
  const own = process.env.MEDIASOUP_HORIZONTAL_CACHE;
  if (own) {
    return path.resolve(own);
  }

  // The XDG specification says that a relative path is to be ignored.
  const xdg = process.env.XDG_CACHE_HOME;
  const base = xdg && path.isAbsolute(xdg) ? xdg : path.join(os.homedir(), '.cache');

  return path.join(base, 'mediasoup-horizontal');
}

/**
 * Where the worker binary for a version of mediasoup is kept, whether it is there or not.
 *
 * @param {string} version
 * @returns {string}
 */
function installedWorker(version) {
  const folder = `${version}-${process.platform}-${process.arch}`;

  return path.join(cacheRoot(), 'worker', folder, 'mediasoup-worker');
}

/**
 * @param {string} binary  Path of a worker binary.
 * @returns {string}
 */
function manifestOf(binary) {
  return path.join(path.dirname(binary), 'manifest.json');
}

/**
 * Folder of the mediasoup that this package depends on.
 *
 * @returns {string}
 */
function upstreamDir() {
  let dir = path.dirname(require.resolve('mediasoup-upstream'));
  while (!fs.existsSync(path.join(dir, 'package.json'))) {
    const parent = path.dirname(dir);
    if (parent === dir) {
      throw new Error('the package mediasoup-upstream has no package.json; install it again');
    }
    dir = parent;
  }

  return dir;
}

/**
 * SHA-256 over the schema files of a mediasoup package: for each file in byte order of the names
 * its name, a zero byte, its content and a zero byte. The Rust core computes the same.
 *
 * @param {string} mediasoupDir
 * @returns {string}
 */
function schemaFingerprint(mediasoupDir) {
  const dir = path.join(mediasoupDir, 'worker', 'fbs');
  const names = fs.readdirSync(dir).filter((name) => name.endsWith('.fbs'));
  names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  if (names.length === 0) {
    throw new Error(`no schema files (*.fbs) in ${dir}; is it a complete mediasoup package?`);
  }

  const hash = createHash('sha256');
  for (const name of names) {
    hash.update(name).update('\0');
    hash.update(fs.readFileSync(path.join(dir, name))).update('\0');
  }

  return hash.digest('hex');
}

/**
 * @param {string} file
 * @returns {string}  SHA-256 of the file in hex.
 */
function sha256Of(file) {
  return createHash('sha256').update(fs.readFileSync(file)).digest('hex');
}

/**
 * @param {string} mediasoupDir
 * @returns {string}
 */
function versionOf(mediasoupDir) {
  const file = path.join(mediasoupDir, 'package.json');

  return JSON.parse(fs.readFileSync(file, 'utf8')).version;
}

module.exports = {
  cacheRoot,
  installedWorker,
  manifestOf,
  schemaFingerprint,
  sha256Of,
  upstreamDir,
  versionOf,
};
