'use strict';

const mediasoup = require('mediasoup-upstream');
const { WorkerClosedError } = require('mediasoup-upstream/errors');
const native = require('./native');
const { installPipeToRouter } = require('./pipe-to-router');

/** @import { NativeCore } from './native' */
/** @import { types } from 'mediasoup-upstream' */

const TICKET = 'MEDIASOUP_HORIZONTAL_TICKET';
const SOCKET = 'MEDIASOUP_HORIZONTAL_SOCKET';
/** It would wrap the stub; the core applies it to the real worker. */
const VALGRIND = 'MEDIASOUP_USE_VALGRIND';

/**
 * What keeps a core while a Worker of it lives, even if the app kept nothing but the Worker.
 *
 * @type {WeakMap<types.Worker, NativeCore>}
 */
const coreOf = new WeakMap();

/**
 * Where stubs find their core.
 *
 * @typedef {object} Source
 * @property {NativeCore} core
 * @property {string} socket
 * @property {() => boolean} closed Whether somebody closed it meanwhile.
 * @property {(worker: types.Worker) => void} made Hears of every Worker.
 */

/**
 * A `createWorker` whose Workers the given core serves.
 *
 * @param {() => Source} source Starts the core on first use.
 * @returns {typeof mediasoup.createWorker}
 */
function createWorkerWith(source) {
  return async function createWorker(settings) {
    // mediasoup's own words for what it checks itself, before anything is started.
    if (settings === null || (settings?.appData && typeof settings.appData !== 'object')) {
      return mediasoup.createWorker(settings);
    }

    const { core, socket, closed, made } = source();
    const wanted = settings?.workerBin;
    const workerBin = wanted === undefined || wanted === mediasoup.workerBin ? null : wanted;
    const ticket = native.unwrap(core.ticket(JSON.stringify({ workerBin })));

    try {
      const worker = await spawnWith(
        { [SOCKET]: socket, [TICKET]: ticket, [VALGRIND]: undefined },
        () => mediasoup.createWorker({ ...settings, workerBin: native.stubPath }),
      );

      if (closed()) {
        // It ran just before that, and is about to die.
        worker.close();
        throw closedError();
      }
      coreOf.set(worker, core);
      tellWhyItDied(worker, core);
      installPipeToRouter(worker);
      made(worker);

      return worker;
    } catch (error) {
      const failure = JSON.parse(core.settle(ticket));

      if (closed()) {
        throw closedError();
      }
      throw failure?.ours ? new Error(failure.message) : error;
    } finally {
      core.settle(ticket);
    }
  };
}

/**
 * mediasoup knows of a dead Worker only how a process ended. Where a host is lost, the Error that
 * comes with 'died' tells that too.
 *
 * @param {types.Worker} worker
 * @param {NativeCore} core
 */
function tellWhyItDied(worker, core) {
  worker.prependOnceListener('died', (error) => {
    const why = core.whyDied(worker.pid);

    if (why !== '') {
      const before = error.message;

      error.message = `${before}: ${why}`;
      error.stack = error.stack?.replace(before, () => error.message);
    }
  });
}

function closedError() {
  return new WorkerClosedError('this Horizontal is closed');
}

/**
 * Calls with other environment variables. mediasoup reads them when it spawns, which it does
 * before it first awaits.
 *
 * @template T
 * @param {Record<string, string | undefined>} variables
 * @param {() => T} call
 * @returns {T}
 */
function spawnWith(variables, call) {
  /** @type {Record<string, string | undefined>} */
  const saved = {};

  for (const [name, value] of Object.entries(variables)) {
    saved[name] = process.env[name];
    set(name, value);
  }

  try {
    return call();
  } finally {
    for (const [name, value] of Object.entries(saved)) {
      set(name, value);
    }
  }
}

/**
 * @param {string} name
 * @param {string | undefined} value
 */
function set(name, value) {
  if (value === undefined) {
    delete process.env[name];
  } else {
    process.env[name] = value;
  }
}

module.exports = { createWorkerWith };
