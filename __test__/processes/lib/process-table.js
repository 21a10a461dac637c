'use strict';

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { until } = require('./deadline');

/**
 * Who descends from a test is told by a variable that every child inherits: it survives the death
 * of parents, and other tests on the same machine have another value.
 */
const MARK = 'TEST_PROCESS_MARK';

/**
 * @typedef {object} Entry
 * @property {number} pid
 * @property {number} parent
 * @property {string} name File name of the program.
 * @property {string} state As `/proc/PID/stat` tells it; Z is a zombie.
 */

/** @returns {string} */
function newMark() {
  return `mark-${randomUUID()}`;
}

/**
 * @param {string} mark
 * @returns {NodeJS.ProcessEnv}
 */
function markedEnv(mark) {
  return { ...process.env, [MARK]: mark };
}

/**
 * Every process that carries the mark, but for the watchdogs of agents that run: each of them has
 * one, and one that outlives its agent counts. A zombie carries no mark: see `childrenOf`.
 *
 * @param {string} mark
 * @returns {Entry[]}
 */
function marked(mark) {
  const needle = `${MARK}=${mark}\0`;

  return allPids()
    .filter((pid) => readText(`/proc/${pid}/environ`).includes(needle))
    .map(read)
    .filter((entry) => entry !== undefined)
    .filter((entry) => !guardsAnAgent(entry));
}

/**
 * @param {Entry} entry
 * @returns {boolean}
 */
function guardsAnAgent({ pid, parent }) {
  const [, command] = readText(`/proc/${pid}/cmdline`).split('\0');

  return command === 'watchdog' && read(parent)?.name === 'mediasoup-horizontal-agent';
}

/**
 * @param {number} parent
 * @returns {Entry[]} Zombies too.
 */
function childrenOf(parent) {
  return allPids()
    .map(read)
    .filter((entry) => entry !== undefined)
    .filter((entry) => entry.parent === parent);
}

/**
 * The real workers that carry the mark, whoever started them.
 *
 * @param {string} mark
 * @returns {number[]}
 */
function realWorkers(mark) {
  return marked(mark)
    .filter(({ name }) => name === 'mediasoup-worker')
    .map(({ pid }) => pid);
}

/**
 * @param {number} pid
 * @returns {boolean} False for a zombie, too.
 */
function isRunning(pid) {
  const entry = read(pid);

  return entry !== undefined && entry.state !== 'Z';
}

/**
 * @param {number} pid
 * @returns {Promise<void>}
 */
async function gone(pid) {
  await until(() => !isRunning(pid), `the end of process ${pid}`);
}

/** @param {number[]} pids */
function killAll(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
}

/**
 * @param {number} pid
 * @returns {string[]} Its environment, one variable each.
 */
function environmentOf(pid) {
  return fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
}

/**
 * The sockets that these processes hold, as numbers that are never used twice.
 *
 * @param {number[]} pids
 * @returns {Set<string>}
 */
function socketsOf(pids) {
  const inodes = new Set();

  for (const pid of pids) {
    for (const fd of list(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${fd}`))?.[1];

      if (inode !== undefined) {
        inodes.add(inode);
      }
    }
  }

  return inodes;
}

/**
 * Which of these sockets still own a UDP or TCP port.
 *
 * @param {Set<string>} inodes
 * @returns {string[]} Lines of the kernel's tables.
 */
function openPorts(inodes) {
  return ['udp', 'udp6', 'tcp', 'tcp6']
    .flatMap((table) => readText(`/proc/net/${table}`).split('\n').slice(1))
    .filter((line) => inodes.has(line.trim().split(/\s+/)[9]));
}

/** @returns {number[]} */
function allPids() {
  return list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/**
 * @param {number} pid
 * @returns {Entry | undefined}
 */
function read(pid) {
  const stat = readText(`/proc/${pid}/stat`);

  if (stat === '') {
    return undefined;
  }

  // The command in brackets may hold anything, brackets too.
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const file = readLink(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');

  return { pid, parent: Number(parent), state, name: path.basename(file) };
}

/** @param {string} file */
function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return ''; // It ended meanwhile, or belongs to somebody else.
  }
}

/** @param {string} file */
function readLink(file) {
  try {
    return fs.readlinkSync(file);
  } catch {
    return '';
  }
}

/** @param {string} folder */
function list(folder) {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

module.exports = {
  MARK,
  childrenOf,
  environmentOf,
  gone,
  isRunning,
  killAll,
  marked,
  markedEnv,
  newMark,
  openPorts,
  realWorkers,
  socketsOf,
};
