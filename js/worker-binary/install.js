#!/usr/bin/env node
'use strict';

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { buildWorker } = require('./build');
const { checkWorker } = require('./check');
const { InstallError, stopCommands } = require('./commands');
const { downloadPrebuilt } = require('./download');
const { takeLock } = require('./lock');
const { getOpenssl } = require('./openssl');
const {
  cacheRoot,
  installedWorker,
  manifestOf,
  schemaFingerprint,
  sha256Of,
  upstreamDir,
  versionOf,
} = require('./paths');

const STOP_MS = 5_000;

/**
 * @typedef {import('./paths').Manifest} Manifest
 * @typedef {Manifest & { binary: string, cached: boolean }} Installed
 */

/**
 * @typedef {object} InstallOptions
 * @property {string} [mediasoupDir]  The mediasoup that this package depends on unless told.
 * @property {(line: string) => void} [log]  Gets a line for every step.
 * @property {boolean} [force]  Install again even if there is a good worker.
 */

/**
 * Makes sure that a worker for this version of mediasoup is in the cache: one that is there, that
 * the mediasoup package brought, that can be downloaded, or else one built here.
 *
 * @param {InstallOptions} [options]
 * @returns {Promise<Installed>}
 */
async function installWorker({ mediasoupDir = upstreamDir(), log = () => {}, force } = {}) {
  const version = versionOf(mediasoupDir);
  const schema = schemaFingerprint(mediasoupDir);
  const found = force ? undefined : findInstalled(version, schema);
  if (found) {
    return found;
  }

  const name = path.basename(path.dirname(installedWorker(version)));
  const workRoot = path.join(cacheRoot(), 'build', name);
  const unlock = await takeLock(`${workRoot}.lock`, {
    onWait: (holder) => log(`waiting for another installation (${holder})`),
  });
  // A new name each time, since the compilers of a killed run may still write into the old one.
  const workDir = path.join(workRoot, randomUUID());
  try {
    // The one that was waited for may have done it.
    const meanwhile = force ? undefined : findInstalled(version, schema);
    if (meanwhile) {
      return meanwhile;
    }

    const logFile = path.join(cacheRoot(), 'log', `worker-${name}.log`);
    fs.mkdirSync(path.dirname(logFile), { recursive: true });
    fs.writeFileSync(logFile, '');
    removeWork(workRoot);
    fs.mkdirSync(workDir, { recursive: true });

    const { binary, origin } = await obtain({ mediasoupDir, workDir, logFile, log });
    const installed = putIntoPlace(binary, { version, schema, sha256: sha256Of(binary), origin });
    log(`installed ${installed.binary}`);

    return installed;
  } finally {
    removeWork(workRoot);
    unlock();
  }
}

/** Removes the work folders of this run and of those that were killed. */
function removeWork(/** @type {string} */ workRoot) {
  try {
    fs.rmSync(workRoot, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    // What something still writes into is removed by the next run.
  }
}

/**
 * @param {string} version
 * @param {string} schema
 * @returns {Installed | undefined}
 */
function findInstalled(version, schema) {
  const binary = installedWorker(version);
  try {
    /** @type {Manifest} */
    const manifest = JSON.parse(fs.readFileSync(manifestOf(binary), 'utf8'));
    const fits = manifest.version === version && manifest.schema === schema;
    fs.accessSync(binary, fs.constants.X_OK);

    return fits && manifest.sha256 === sha256Of(binary)
      ? { ...manifest, binary, cached: true }
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {{ mediasoupDir: string, workDir: string, logFile: string,
 *   log: (line: string) => void }} options
 * @returns {Promise<{ binary: string, origin: Manifest['origin'] }>}  A worker that was checked.
 */
async function obtain({ mediasoupDir, workDir, logFile, log }) {
  const mediasoup = require(mediasoupDir);
  const openssl = await getOpenssl({ workDir, logFile, log });
  /** @param {string} binary */
  const check = async (binary) => {
    log('checking the worker: start, request, DTLS handshake');
    await checkWorker({ binary, mediasoup, openssl });
  };

  /** @type {Array<() => Promise<string | undefined>>} */
  const ready = [
    async () => {
      const binary = path.join(mediasoupDir, 'worker', 'out', 'Release', 'mediasoup-worker');

      return fs.existsSync(binary) ? binary : undefined;
    },
    async () => {
      if (process.env.MEDIASOUP_SKIP_WORKER_PREBUILT_DOWNLOAD) {
        return undefined;
      }
      log("trying to download mediasoup's prebuilt worker");

      return downloadPrebuilt({ mediasoupDir, workDir: path.join(workDir, 'download'), logFile });
    },
  ];
  for (const find of ready) {
    const binary = await find();
    if (binary) {
      try {
        await check(binary);

        return { binary, origin: 'download' };
      } catch (error) {
        log(`not used: ${/** @type {Error} */ (error).message}`);
      }
    }
  }

  log('no ready-made worker, building one (about 5 minutes on 2 cores)');
  const binary = await buildWorker({ mediasoupDir, workDir, logFile, log });
  await check(binary);

  return { binary, origin: 'build' };
}

/**
 * @param {string} source
 * @param {Manifest} manifest
 * @returns {Installed}
 */
function putIntoPlace(source, manifest) {
  const binary = installedWorker(manifest.version);
  const file = manifestOf(binary);
  const [newBinary, newManifest] = [`${binary}.new`, `${file}.new`];
  fs.mkdirSync(path.dirname(binary), { recursive: true });
  fs.copyFileSync(source, newBinary);
  fs.chmodSync(newBinary, 0o755);
  fs.writeFileSync(newManifest, `${JSON.stringify(manifest, null, 2)}\n`);
  // Replacing the binary first: a manifest that does not fit it means "not installed".
  fs.renameSync(newBinary, binary);
  fs.renameSync(newManifest, file);

  return { ...manifest, binary, cached: false };
}

/** @param {string[]} args */
async function main(args) {
  const unknown = args.find((arg) => !['--force', '--json'].includes(arg));
  if (unknown) {
    console.error(`unknown argument ${unknown}\nusage: install.js [--force] [--json]`);
    process.exitCode = 2;

    return;
  }

  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.once(signal, () => {
      // What is under way fails now and is cleared away; should that hang, the next run does it.
      stopCommands();
      setTimeout(() => process.exit(1), STOP_MS).unref();
    });
  }
  try {
    const start = Date.now();
    const installed = await installWorker({
      force: args.includes('--force'),
      log: (line) => console.error(`[${((Date.now() - start) / 1000).toFixed(0)} s] ${line}`),
    });
    console.log(args.includes('--json') ? JSON.stringify(installed) : installed.binary);
  } catch (error) {
    console.error(error instanceof InstallError ? `error: ${error.message}` : error);
    process.exitCode = 1;
  }
}

module.exports = { installWorker };

if (require.main === module) {
  void main(process.argv.slice(2));
}
