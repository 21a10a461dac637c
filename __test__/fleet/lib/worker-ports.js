'use strict';

const fs = require('node:fs');
const { listDescendants } = require('../../../examples/lib/process-tree');

/** Which UDP ports the mediasoup-workers below a process hold, as Linux tells it. */

/** Those of the network namespace that the process is in. */
const TABLES = ['udp', 'udp6'];
const LOCAL = 1;
const INODE = 9;

/**
 * @param {number} root Process id.
 * @returns {number[]}
 */
function workerPorts(root) {
  return listDescendants(root)
    .filter(({ name }) => name.startsWith('mediasoup-worke'))
    .flatMap(({ pid }) => portsOf(pid));
}

/**
 * @param {number} pid
 * @returns {number[]}
 */
function portsOf(pid) {
  try {
    const inodes = new Set(socketsOf(pid));

    return TABLES.map((table) => `/proc/${pid}/net/${table}`)
      .filter((file) => fs.existsSync(file))
      .flatMap((file) => fs.readFileSync(file, 'latin1').trim().split('\n').slice(1))
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => inodes.has(columns[INODE] ?? ''))
      .map((columns) => Number.parseInt(columns[LOCAL]?.split(':')[1] ?? '', 16));
  } catch {
    return []; // It ended meanwhile.
  }
}

/**
 * @param {number} pid
 * @returns {string[]} Inodes.
 */
function socketsOf(pid) {
  const folder = `/proc/${pid}/fd`;

  return fs.readdirSync(folder).flatMap((fd) => {
    const target = fs.readlinkSync(`${folder}/${fd}`, { encoding: 'latin1' });

    return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [];
  });
}

module.exports = { workerPorts };
