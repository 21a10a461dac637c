'use strict';

const fs = require('node:fs');

/** The name of the core's thread as the kernel keeps it, which is 15 bytes at most. */
const CORE_THREAD = 'mediasoup-horizontal'.slice(0, 15);

/** What the kernel counts in `/proc/PID/stat`: hundredths of a second on Linux. */
const TICK_US = 10_000;

/** @typedef {() => number | undefined} CpuClock CPU time in microseconds, where it can be read. */

/** @type {CpuClock} */
function ownCpu() {
  const { user, system } = process.cpuUsage();

  return user + system;
}

/**
 * @param {number} pid
 * @returns {CpuClock} Of the process with all its threads.
 */
function cpuOfProcess(pid) {
  return () => {
    const threads = listThreads(pid);

    return sum(threads.map((thread) => cpuOfThread(pid, thread))) ?? ticksOf(pid);
  };
}

/**
 * @param {string[]} threads Of this process.
 * @returns {CpuClock}
 */
function cpuOfThreads(threads) {
  return () => sum(threads.map((thread) => cpuOfThread(process.pid, thread)));
}

/** @returns {string[]} The threads of cores in this process. */
function listCoreThreads() {
  return listThreads(process.pid).filter(
    (thread) => read(`/proc/self/task/${thread}/comm`)?.trimEnd() === CORE_THREAD,
  );
}

/**
 * The scheduler counts in nanoseconds.
 *
 * @param {number} pid
 * @param {string} thread
 * @returns {number | undefined}
 */
function cpuOfThread(pid, thread) {
  const [nanoseconds] = read(`/proc/${pid}/task/${thread}/schedstat`)?.split(' ') ?? [];

  return nanoseconds === undefined ? undefined : Number(nanoseconds) / 1_000;
}

/**
 * @param {number} pid
 * @returns {number | undefined}
 */
function ticksOf(pid) {
  const stat = read(`/proc/${pid}/stat`);
  // The name stands in parentheses and may hold any character.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');

  return fields && (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/**
 * @param {number} pid
 * @returns {string[]}
 */
function listThreads(pid) {
  try {
    return fs.readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/**
 * @param {string} file
 * @returns {string | undefined}
 */
function read(file) {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return undefined;
  }
}

/**
 * @param {(number | undefined)[]} values
 * @returns {number | undefined}
 */
function sum(values) {
  let total = 0;

  for (const value of values) {
    if (value === undefined) {
      return undefined;
    }
    total += value;
  }

  return values.length > 0 ? total : undefined;
}

module.exports = { cpuOfProcess, cpuOfThreads, listCoreThreads, ownCpu };
