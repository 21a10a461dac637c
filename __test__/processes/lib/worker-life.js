'use strict';

const { once } = require('node:events');
const { SOON, until, within } = require('./deadline');
const { realWorkers } = require('./process-table');

/** @import { types } from 'mediasoup-upstream' */
/** @import { OpenMode } from './modes' */

/**
 * A Worker, the process behind it, and all that the app hears of its end, in order.
 */
class WorkerLife {
  /** @type {string[]} */
  events = [];
  /** @type {Error | undefined} */
  death;

  /**
   * @param {types.Worker} worker
   * @param {number} realPid
   */
  constructor(worker, realPid) {
    this.worker = worker;
    this.realPid = realPid;
    const note = (/** @type {string} */ event) => () => this.events.push(event);

    worker.on('died', (error) => {
      this.death = error;
      this.events.push(`died closed=${worker.closed} died=${worker.died}`);
    });
    worker.on('subprocessclose', note('subprocessclose'));
    worker.observer.on('close', note('observer close'));
    worker.observer.on('newrouter', (router) => {
      router.on('workerclose', note('router workerclose'));
      router.observer.on('close', note('router observer close'));
      router.observer.on('newtransport', (transport) => {
        transport.on('routerclose', note('transport routerclose'));
        transport.observer.on('close', note('transport observer close'));
      });
    });
  }

  /**
   * Makes a Worker. Nobody else may make one in the same mode meanwhile.
   *
   * @param {OpenMode} open
   * @param {types.WorkerSettings} [settings]
   * @returns {Promise<WorkerLife>}
   */
  static async start(open, settings) {
    const before = new Set(realWorkers(open.mark));
    const worker = await within(open.createWorker(settings), 'createWorker', 15_000);
    const [pid, ...others] = realWorkers(open.mark).filter((one) => !before.has(one));

    if (pid === undefined || others.length > 0) {
      throw new Error(`expected one new worker process, found ${[pid, ...others]}`);
    }

    return new WorkerLife(worker, pid);
  }

  /**
   * Waits until mediasoup has told all about the end.
   *
   * @param {number} [ms]
   */
  async ended(ms = SOON) {
    await until(
      () => this.events.includes('observer close') && this.events.includes('subprocessclose'),
      () => `the end of worker ${this.worker.pid}, heard ${JSON.stringify(this.events)}`,
      ms,
    );
  }

  /** Closes it and waits for its process to end. */
  async close() {
    const { worker } = this;
    const closed = worker.subprocessClosed ? undefined : once(worker, 'subprocessclose');

    worker.close();
    await within(closed, 'subprocessclose');
  }
}

module.exports = { WorkerLife };
