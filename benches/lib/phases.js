'use strict';

const { within } = require('../../examples/lib/deadline');
const { ownCpu } = require('./cpu');
const { quantile } = require('./statistics');

/** @import { OpenMode } from './modes' */
/** @import { CallName } from './subject' */

/**
 * What one round tells about one call in one mode.
 *
 * @typedef {object} Sample
 * @property {number} p50 Back to back, in microseconds, as the next two.
 * @property {number} p99
 * @property {number} idleP50
 * @property {number} perSecond
 * @property {number} messages Between app and worker during the throughput phase.
 * @property {number} appCpu In microseconds, as the next two.
 * @property {number} [otherCpu]
 * @property {number} [coreCpu]
 */

const IN_FLIGHT = 64;
const IDLE_MS = 2;
const MIN_CALLS = 10;
/** How much longer than planned a phase may take. */
const SPARE_MS = 20_000;

/**
 * @param {OpenMode} mode
 * @param {CallName} call
 * @param {object} options
 * @param {number} options.ms How long each of the three phases lasts.
 * @param {AbortSignal} options.signal
 * @returns {Promise<Sample>}
 */
async function takeSample(mode, call, { ms, signal }) {
  /**
   * @template T
   * @param {string} what
   * @param {Promise<T>} phase
   */
  const guarded = (what, phase) =>
    within(phase, { ms: ms + SPARE_MS, what: `${call}, ${what}`, signal });

  const hot = await guarded('back to back', measureLatency(mode, call, { ms, idleMs: 0 }));
  const idle = await guarded('after idle', measureLatency(mode, call, { ms, idleMs: IDLE_MS }));
  const throughput = await guarded('throughput', measureThroughput(mode, call, ms));

  return {
    p50: quantile(hot, 0.5),
    p99: quantile(hot, 0.99),
    idleP50: quantile(idle, 0.5),
    ...throughput,
  };
}

/**
 * @param {OpenMode} mode
 * @param {CallName} call
 * @param {{ ms: number, idleMs: number }} options
 * @returns {Promise<number[]>} In microseconds.
 */
async function measureLatency({ subject }, call, { ms, idleMs }) {
  const operation = subject.operations[call];
  const end = performance.now() + ms;
  const times = [];

  while (performance.now() < end || times.length < MIN_CALLS) {
    if (idleMs > 0) {
      await sleep(idleMs);
    }

    const start = performance.now();
    const made = await operation.call();
    times.push((performance.now() - start) * 1_000);

    if (operation.undo) {
      operation.undo(made);
      // The next call must not wait behind the closing.
      await subject.settle();
    }
  }

  return times;
}

/**
 * @param {OpenMode} mode
 * @param {CallName} call
 * @param {number} ms
 */
async function measureThroughput({ subject, otherCpu, coreCpu }, call, ms) {
  const operation = subject.operations[call];
  const clocks = [ownCpu, otherCpu, coreCpu];
  const before = clocks.map((clock) => clock?.());
  const start = performance.now();
  const end = start + ms;
  let calls = 0;

  async function lane() {
    do {
      const made = await operation.call();
      operation.undo?.(made);
      calls++;
    } while (performance.now() < end);
  }

  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  await subject.settle();

  const seconds = (performance.now() - start) / 1_000;
  const [appCpu, other, core] = clocks.map((clock, i) => difference(clock?.(), before[i]));
  const requests = calls * (operation.undo ? 2 : 1) + 1;

  return {
    perSecond: calls / seconds,
    messages: requests * 2, // Each has an answer.
    appCpu: appCpu ?? NaN,
    otherCpu: other,
    coreCpu: core,
  };
}

/**
 * @param {number | undefined} after
 * @param {number | undefined} before
 * @returns {number | undefined}
 */
function difference(after, before) {
  return after === undefined || before === undefined ? undefined : after - before;
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

module.exports = { IDLE_MS, IN_FLIGHT, takeSample };
