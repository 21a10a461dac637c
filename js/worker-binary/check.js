'use strict';

const { spawnSync } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { InstallError, findTool } = require('./commands');
const { DtlsPeer, HOST } = require('./dtls-peer');

// With this a worker ends that is not told for which version of mediasoup it runs.
const EXIT_WITHOUT_VERSION = 41;
const PROBE_MS = 10_000;
const START_MS = 15_000;
const HANDSHAKE_MS = 15_000;
const CLOSE_MS = 5_000;
const DEATH_NEWS_MS = 500;

/**
 * @typedef {import('mediasoup-upstream/types').Worker} Worker
 * @typedef {import('mediasoup-upstream/types').WebRtcTransport} WebRtcTransport
 * @typedef {import('./dtls-peer').OpenSsl} OpenSsl
 */

/**
 * @typedef {object} CheckOptions
 * @property {string} binary  Path of the worker binary.
 * @property {Pick<typeof import('mediasoup-upstream'), 'createWorker'>} mediasoup
 * @property {OpenSsl} [openssl]  The one on the PATH unless told otherwise.
 */

/**
 * Starts the binary through mediasoup and lets it do a real DTLS handshake, since a worker built
 * with an unfit OpenSSL answers every request and then crashes with the first WebRTC client.
 * Rejects with an InstallError that tells what does not work.
 *
 * @param {CheckOptions} options
 * @returns {Promise<void>}
 */
async function checkWorker({ binary: file, mediasoup, openssl }) {
  const binary = path.resolve(file);
  const command = openssl ?? { command: findTool('openssl') ?? '' };
  if (!command.command) {
    throw new InstallError(
      'openssl is missing: it checks that the worker can do a DTLS handshake. ' +
        'Install it with: apt-get install openssl',
    );
  }

  /** @param {unknown} error */
  const explain = (error) =>
    new InstallError(`The worker ${binary} does not work: ${messageOf(error)}`);
  // First without mediasoup, which would wait for ever for a program that is no worker.
  const probe = spawnSync(binary, [], { env: {}, stdio: 'ignore', timeout: PROBE_MS });
  if (probe.status !== EXIT_WITHOUT_VERSION) {
    const ended = probe.signal ? `signal ${probe.signal}` : `exit code ${probe.status}`;
    throw explain(probe.error ?? new Error(`it is no worker that runs here (${ended})`));
  }

  const worker = await withTimeout(
    mediasoup.createWorker({ workerBin: binary, logLevel: 'warn' }),
    START_MS,
    'it did not report that it is running',
  ).catch((error) => {
    throw explain(error);
  });

  const death = new AbortController();
  worker.on('died', (error) => death.abort(error));
  try {
    await withTimeout(worker.getResourceUsage(), START_MS, 'it did not answer a request');
    await checkHandshake(worker, command, death.signal);
  } catch (error) {
    // What was awaited when the worker died often fails first, but says less.
    await sleep(DEATH_NEWS_MS);
    const died = death.signal.aborted ? `; it died: ${messageOf(death.signal.reason)}` : '';
    throw explain(`${messageOf(error)}${died}`);
  } finally {
    await closeWorker(worker);
  }
}

/**
 * @param {Worker} worker
 * @param {OpenSsl} openssl
 * @param {AbortSignal} death  Aborted when the worker dies.
 */
async function checkHandshake(worker, openssl, death) {
  // Not AbortSignal.timeout(), whose timer does not keep the process alive.
  const end = new AbortController();
  const late = new Error(`not done within ${HANDSHAKE_MS / 1000} s`);
  const timer = setTimeout(() => end.abort(late), HANDSHAKE_MS);
  death.addEventListener('abort', () => end.abort(death.reason), { once: true });
  const { signal } = end;
  const peer = new DtlsPeer(openssl);
  try {
    const value = await orAborted(peer.createCertificate(), signal);
    const router = await orAborted(worker.createRouter(), signal);
    const transport = await orAborted(
      router.createWebRtcTransport({ listenInfos: [{ protocol: 'udp', ip: HOST }] }),
      signal,
    );
    const { port } = transport.iceCandidates[0];
    const connected = dtlsConnected(transport, signal);
    // It may fail while something else is awaited, which is no unhandled rejection.
    connected.catch(() => {});

    // The role is that of the peer, so the worker becomes the server.
    const fingerprints = [{ algorithm: /** @type {const} */ ('sha-256'), value }];
    await orAborted(
      transport.connect({ dtlsParameters: { role: 'client', fingerprints } }),
      signal,
    );
    await peer.connectIce(port, transport.iceParameters, signal);
    await peer.startDtls(port, signal);
    await connected;
  } catch (error) {
    const what = death.aborted ? 'the worker died' : messageOf(signal.aborted ? late : error);
    const said = peer.output ? `; openssl said:\n${peer.output.slice(-1500)}` : '';
    throw new Error(`the ICE and DTLS handshake failed: ${what}${said}`);
  } finally {
    clearTimeout(timer);
    await peer.close();
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
async function orAborted(promise, signal) {
  signal.throwIfAborted();
  /** @type {() => void} */
  let onAbort = () => {};
  /** @type {Promise<never>} */
  const aborted = new Promise((_resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * @param {WebRtcTransport} transport
 * @param {AbortSignal} signal
 */
async function dtlsConnected(transport, signal) {
  for (;;) {
    const [state] = await once(transport, 'dtlsstatechange', { signal });
    if (state === 'connected') {
      return;
    }
    if (state === 'failed' || state === 'closed') {
      throw new Error(`the worker reports the DTLS state '${state}'`);
    }
  }
}

/** @param {Worker} worker */
async function closeWorker(worker) {
  if (worker.subprocessClosed) {
    return;
  }
  const closed = once(worker, 'subprocessclose');
  worker.close();
  try {
    await withTimeout(closed, CLOSE_MS, 'it did not end');
  } catch {
    try {
      process.kill(worker.pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {string} problem
 * @returns {Promise<T>}
 */
async function withTimeout(promise, ms, problem) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${problem} within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, /** @type {Promise<never>} */ (late)]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

module.exports = { checkWorker };
