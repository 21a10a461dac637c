'use strict';

const path = require('node:path');
const { UnsupportedError } = require('mediasoup-upstream/errors');
const { IncompatibleConnectionError } = require('./errors');

/** Platforms whose native parts exist. Elsewhere everything but Workers still works. */
const PLATFORMS = ['linux', 'darwin'];

/** The native parts of this package: one folder, made by its set-up or brought by the package. */
const NATIVE_DIR = path.join(__dirname, '..', 'native-build');

/** Absolute path of the stub, what mediasoup spawns as its worker. */
const stubPath = path.join(NATIVE_DIR, 'mediasoup-horizontal-worker');

/** Absolute path of the agent. */
const agentPath = path.join(NATIVE_DIR, 'mediasoup-horizontal-agent');

/**
 * @typedef {object} NativeCore
 * @property {(options: string, chooser?: (text: string) => string, onEvents?: (batch: string) => void) => string} start
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
 */

/**
 * @typedef {object} NativeBinding
 * @property {new () => NativeCore} NativeCore
 * @property {() => string} identity
 */

/**
 * Throws where no Worker can ever run.
 *
 * @throws {UnsupportedError} Naming the platform.
 */
function checkPlatform() {
  if (!PLATFORMS.includes(process.platform)) {
    throw new UnsupportedError(
      `mediasoup-horizontal cannot run Workers on ${process.platform} yet; ` +
        `it can on ${PLATFORMS.join(' and ')}`,
    );
  }
}

/**
 * Loads the addon.
 *
 * @returns {NativeBinding}
 */
function loadBinding() {
  checkPlatform();
  const file = path.join(NATIVE_DIR, 'mediasoup-horizontal.node');

  try {
    return require(file);
  } catch (error) {
    throw new Error(
      `cannot load ${file}: ${error instanceof Error ? error.message : error}. ` +
        'In a checkout, scripts/setup builds it; in an installed package, install it again',
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

module.exports = { agentPath, checkPlatform, loadBinding, stubPath, unwrap };
