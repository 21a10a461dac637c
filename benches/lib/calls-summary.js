'use strict';

const { round } = require('./machine');
const { BASELINE } = require('./modes');
const { mean, median } = require('./statistics');
const { CALLS } = require('./subject');

/** @import { Sample } from './phases' */
/** @import { CallName } from './subject' */

/**
 * One call in one mode: medians of the rounds. What compares with mediasoup itself is computed
 * within each round before, so that a slow round does not count as a difference. CPU is in
 * microseconds per message between app and worker.
 *
 * @typedef {object} Result
 * @property {CallName} call
 * @property {string} mode
 * @property {number} p50us
 * @property {number} p99us
 * @property {number} idleP50us
 * @property {number} perSecond64
 * @property {number} ratioP50
 * @property {number} diffP50us
 * @property {number} ratioIdleP50
 * @property {number} diffIdleP50us
 * @property {number} ratioPerSecond64
 * @property {Cpu} cpuPerMessage
 */

/**
 * @typedef {object} Cpu
 * @property {number} appUs The app's process.
 * @property {number} appDiffUs The same, less what it is with mediasoup itself.
 * @property {number | null} otherUs The agent's or the rival's process.
 * @property {number | null} coreThreadUs The core's thread alone, part of `appUs`.
 */

/**
 * @typedef {object} Goal
 * @property {string} name
 * @property {string} unit
 * @property {number | null} measured Null: it could not be.
 * @property {number} goal
 * @property {boolean} ok
 */

/** @typedef {Record<string, Record<CallName, Sample[]>>} Samples By mode and call, one a round. */

/** How much later an answer may come, back to back, in microseconds. */
const LATENCY_GOALS = { local: 25, stub: 25, agent: 60 };
const CPU_GOAL = 5;

/**
 * @param {Samples} samples
 * @returns {Result[]}
 */
function summarize(samples) {
  return CALLS.flatMap((call) => Object.keys(samples).map((mode) => resultOf(samples, call, mode)));
}

/**
 * @param {Samples} samples
 * @param {CallName} call
 * @param {string} mode
 * @returns {Result}
 */
function resultOf(samples, call, mode) {
  const own = samplesOf(samples, mode, call);
  const plain = samplesOf(samples, BASELINE, call);
  /** @param {'p50' | 'p99' | 'idleP50' | 'perSecond'} name */
  const middle = (name) => median(own.map((sample) => sample[name]));
  /** @param {'p50' | 'idleP50' | 'perSecond'} name */
  const ratio = (name) => round(median(pair(own, plain, (a, b) => a[name] / b[name])), 2);
  /** @param {'p50' | 'idleP50'} name */
  const diff = (name) => round(median(pair(own, plain, (a, b) => a[name] - b[name])), 1);

  return {
    call,
    mode,
    p50us: round(middle('p50'), 1),
    p99us: round(middle('p99'), 1),
    idleP50us: round(middle('idleP50'), 1),
    perSecond64: Math.round(middle('perSecond')),
    ratioP50: ratio('p50'),
    diffP50us: diff('p50'),
    ratioIdleP50: ratio('idleP50'),
    diffIdleP50us: diff('idleP50'),
    ratioPerSecond64: ratio('perSecond'),
    cpuPerMessage: cpuOf(own, plain),
  };
}

/**
 * @param {Sample[]} own
 * @param {Sample[]} plain
 * @returns {Cpu}
 */
function cpuOf(own, plain) {
  return {
    appUs: round(median(own.map(appOf)), 2),
    appDiffUs: round(median(pair(own, plain, appDiffOf)), 2),
    otherUs: medianOrNull(own.map(otherOf)),
    coreThreadUs: medianOrNull(own.map(({ coreCpu = NaN, messages }) => coreCpu / messages)),
  };
}

/** @param {Sample} sample */
function appOf({ appCpu, messages }) {
  return appCpu / messages;
}

/**
 * @param {Sample} own
 * @param {Sample} plain
 */
function appDiffOf(own, plain) {
  return appOf(own) - appOf(plain);
}

/** @param {Sample} sample */
function otherOf({ otherCpu = NaN, messages }) {
  return otherCpu / messages;
}

/**
 * @param {Samples} samples
 * @param {Result[]} results
 * @returns {Goal[]}
 */
function judge(samples, results) {
  const latency = Object.entries(LATENCY_GOALS).flatMap(([mode, goal]) =>
    results
      .filter((result) => result.mode === mode)
      .map(({ call, diffP50us }) => toGoal(`${mode}: ${call}, p50 above plain`, diffP50us, goal)),
  );
  const cpu = Object.keys(LATENCY_GOALS)
    .filter((mode) => mode in samples)
    .map((mode) =>
      toGoal(
        `${mode}: core in the app's process, CPU a message`,
        meanOfCalls(samples, mode, appDiffOf),
        CPU_GOAL,
      ),
    );

  if ('agent' in samples) {
    const measured = meanOfCalls(samples, 'agent', otherOf);

    cpu.push(toGoal("agent: core in the agent's process, CPU a message", measured, CPU_GOAL));
  }

  return [...latency, ...cpu];
}

/**
 * CPU per message, where each call counts alike: modes do not make as many of each in the same
 * time.
 *
 * @param {Samples} samples
 * @param {string} mode
 * @param {(own: Sample, plain: Sample) => number} cpu Of one call in one round.
 * @returns {number | null}
 */
function meanOfCalls(samples, mode, cpu) {
  const byCall = CALLS.map((call) =>
    pair(samplesOf(samples, mode, call), samplesOf(samples, BASELINE, call), cpu),
  );
  const byRound = byCall[0]?.map((_, i) => mean(byCall.map((values) => values[i] ?? NaN))) ?? [];

  return medianOrNull(byRound);
}

/**
 * @param {string} name
 * @param {number | null} measured
 * @param {number} goal
 * @returns {Goal}
 */
function toGoal(name, measured, goal) {
  return { name, unit: 'us', measured, goal, ok: measured !== null && measured <= goal };
}

/**
 * @param {Samples} samples
 * @param {string} mode
 * @param {CallName} call
 * @returns {Sample[]}
 */
function samplesOf(samples, mode, call) {
  return /** @type {Record<CallName, Sample[]>} */ (samples[mode])[call];
}

/**
 * @param {Sample[]} own
 * @param {Sample[]} plain Of the same rounds.
 * @param {(own: Sample, plain: Sample) => number} compare
 * @returns {number[]}
 */
function pair(own, plain, compare) {
  return own.map((sample, i) => compare(sample, /** @type {Sample} */ (plain[i])));
}

/**
 * @param {number[]} values
 * @returns {number | null}
 */
function medianOrNull(values) {
  return values.some(Number.isNaN) ? null : round(median(values), 2);
}

module.exports = { judge, summarize };
