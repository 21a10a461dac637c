'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { UnsupportedError } = require('mediasoup-upstream/errors');
const { version } = require('../package.json');
const { PLATFORMS, describeHost, hostPlatform, packageOf } = require('./platforms');
const { IncompatibleConnectionError } = require('./errors');

/** What set-up makes in a checkout. It comes first, so that a checkout runs what it built. */
const BUILT_DIR = path.join(__dirname, '..', 'native-build');

const ADDON = 'mediasoup-horizontal.node';

/** @type {string | undefined} */
let nativeDir;

/**
 * The folder with the addon and the two programs. Looked for when somebody needs it: which C library
 * this host has takes a while to tell, and many only want types and constants.
 *
 * @returns {string}
 */
function findOnce() {
  nativeDir ??= findNativeDir();

  return nativeDir;
}

/** @returns {string} Where the native parts are, or would be in a checkout. */
function findNativeDir() {
  const platform = fs.existsSync(path.join(BUILT_DIR, ADDON)) ? undefined : hostPlatform();

  try {
    return platform
      ? path.dirname(require.resolve(`${packageOf(platform)}/package.json`))
      : BUILT_DIR;
  } catch {
    // Nobody may ever need them: whoever does is told by checkNative().
    return BUILT_DIR;
  }
}

/**
 * @typedef {object} NativeCore
 * @property {(options: string, chooser?: (text: string) => string) => string} start
 * @property {(onEvents: (batch: string) => void) => void} hear
 * @property {(connection: string, own?: (text: string) => string) => string} add
 * @property {(connection: string, own: ((text: string) => string) | undefined, done: (text: string) => void) => string} join
 * @property {(name: string) => boolean} giveUp
 * @property {(name: string, told: string) => string} tellOwn
 * @property {(name: string) => boolean} remove
 * @property {(name: string) => boolean} drain
 * @property {(name: string) => boolean} undrain
 * @property {(name: string) => number} workersLeft
 * @property {(name: string, told: (left: boolean) => void) => void} drained
 * @property {() => string} connections
 * @property {() => string} states
 * @property {(wanted: boolean) => void} wantObjects
 * @property {(wanted: string, tell: (text: string) => void) => void} stats
 * @property {(request: string) => string} ticket
 * @property {(ticket: string) => string} settle
 * @property {(pid: number) => string} whereIs
 * @property {(pid: number) => string} whyDied
 * @property {() => void} close
 * @property {(request: string) => string} mockEvent
 * @property {(request: string, arrived?: () => void) => string} mockRule
 * @property {(id: number, failure?: string) => string} mockEndRule
 * @property {() => void} mockReset
 * @property {() => string} mockCalls
 * @property {() => string} mockMethods
 * @property {(request: string) => string} mockKill
 * @property {(begins: boolean) => void} mockOwnCall
 */

/**
 * @typedef {object} NativeBinding
 * @property {new () => NativeCore} NativeCore
 * @property {() => string} identity
 */

/**
 * Throws where no Worker can run.
 *
 * @throws {UnsupportedError} Where none ever can, naming the platform.
 * @throws {Error} Where the native parts are missing or another version's, saying what to install.
 */
function checkNative() {
  const systems = [...new Set(PLATFORMS.map(({ os }) => /** @type {string} */ (os)))];

  if (!systems.includes(process.platform)) {
    throw new UnsupportedError(
      `mediasoup-horizontal cannot run Workers on ${process.platform} yet; ` +
        `it can on ${systems.join(' and ')}`,
    );
  }
  const dir = findOnce();

  if (!fs.existsSync(path.join(dir, ADDON))) {
    throw new Error(missing());
  }
  if (dir === BUILT_DIR) {
    return;
  }

  const own = require(path.join(dir, 'package.json'));

  if (own.version !== version) {
    throw new Error(
      `${own.name} is ${own.version}, but mediasoup-horizontal is ${version}: ` +
        `npm install ${own.name}@${version}`,
    );
  }
}

/** @returns {string} Why there are no native parts, and what to do. */
function missing() {
  const platform = hostPlatform();
  const host = describeHost();

  if (!platform) {
    return (
      `mediasoup-horizontal has no native parts for ${host}. There are packages for ` +
      `${PLATFORMS.map(({ name }) => name).join(', ')}; in a checkout, scripts/setup builds them`
    );
  }
  const name = packageOf(platform);

  return (
    `the native parts of mediasoup-horizontal for ${host} are missing, which the package ${name} ` +
    `brings: npm install ${name}@${version} (npm leaves it out with --omit=optional, and where ` +
    'package-lock.json was made on another platform). In a checkout, scripts/setup builds them'
  );
}

/**
 * Loads the addon.
 *
 * @returns {NativeBinding}
 */
function loadBinding() {
  checkNative();
  const file = path.join(findOnce(), ADDON);

  try {
    return require(file);
  } catch (error) {
    throw new Error(
      `cannot load ${file} for ${describeHost()}: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/**
 * Reads an answer of the addon, throwing the error that it may be.
 *
 * @param {string} text
 * @returns {any}
 */
function unwrap(text) {
  const { ok, error, differences } = JSON.parse(text);

  if (error !== null) {
    throw differences ? new IncompatibleConnectionError(error, differences) : new Error(error);
  }

  return ok;
}

module.exports = {
  checkNative,
  loadBinding,
  unwrap,

  /** Absolute path of the stub, what mediasoup spawns as its worker. */
  get stubPath() {
    return path.join(findOnce(), 'mediasoup-horizontal-worker');
  },

  /** Absolute path of the agent. */
  get agentPath() {
    return path.join(findOnce(), 'mediasoup-horizontal-agent');
  },
};
