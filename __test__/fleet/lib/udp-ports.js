'use strict';

const fs = require('node:fs');
const { listDescendants } = require('../../../examples/lib/process-tree');

/** Which UDP ports the mediasoup-workers below a process hold, as Linux tells it. */

const TABLES = ['/proc/net/udp', '/proc/net/udp6'];

/**
 * @param {number} root Process id.
 * @returns {number[]}
 */
function workerPorts(root) {
  const portOf = portsByInode();

  return listDescendants(root)
    .filter(({ name }) => name.startsWith('mediasoup-worke'))
    .flatMap(({ pid }) => inodesOf(pid))
    .flatMap((inode) => portOf.get(inode) ?? []);
}

/** @returns {Map<string, number>} */
function portsByInode() {
  /** @type {Map<string, number>} */
  const found = new Map();

  for (const file of TABLES.filter((name) => fs.existsSync(name))) {
    for (const line of fs.readFileSync(file, 'latin1').trim().split('\n').slice(1)) {
      const [, local = '', , , , , , , , inode = ''] = line.trim().split(/\s+/);

      found.set(inode, Number.parseInt(local.split(':')[1] ?? '', 16));
    }
  }

  return found;
}

/**
 * @param {number} pid
 * @returns {string[]} Inodes of its sockets.
 */
function inodesOf(pid) {
  const folder = `/proc/${pid}/fd`;

  try {
    return fs.readdirSync(folder).flatMap((fd) => {
      const target = fs.readlinkSync(`${folder}/${fd}`, { encoding: 'latin1' });

      return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [];
    });
  } catch {
    return []; // It ended meanwhile.
  }
}

module.exports = { workerPorts };
