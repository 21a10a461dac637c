'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');

/**
 * Which processes descend from one, to prove that none is left behind.
 *
 * @typedef {object} ProcessEntry
 * @property {number} pid
 * @property {number} parent
 * @property {string} name
 * @property {string} key Tells a process from a later one with the same pid.
 */

/**
 * @param {number} root Process id.
 * @returns {ProcessEntry[]} Without the root itself.
 */
function listDescendants(root) {
  const all = listProcesses();
  /** @type {ProcessEntry[]} */
  const found = [];
  const parents = [root];

  for (const parent of parents) {
    for (const entry of all) {
      if (entry.parent === parent) {
        found.push(entry);
        parents.push(entry.pid);
      }
    }
  }

  return found;
}

/**
 * @param {ProcessEntry[]} entries
 * @returns {ProcessEntry[]} Those that still run.
 */
function keepRunning(entries) {
  const keys = new Set(listProcesses().map(({ key }) => key));

  return entries.filter(({ key }) => keys.has(key));
}

/** @returns {ProcessEntry[]} */
function listProcesses() {
  return fs.existsSync('/proc/self/stat') ? listByProc() : listByPs();
}

/** @returns {ProcessEntry[]} */
function listByProc() {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      let stat;

      try {
        stat = fs.readFileSync(`/proc/${name}/stat`, 'latin1');
      } catch {
        return []; // It ended meanwhile.
      }

      // The name stands in parentheses and may hold any character.
      const nameEnd = stat.lastIndexOf(')');
      const [state, parent, ...rest] = stat.slice(nameEnd + 2).split(' ');

      // A zombie has ended. It only waits for its parent to notice.
      if (state === 'Z' || state === 'X') {
        return [];
      }

      return [
        {
          pid: Number(name),
          parent: Number(parent),
          name: stat.slice(stat.indexOf('(') + 1, nameEnd),
          key: `${name} ${rest[17]}`, // The time of its start.
        },
      ];
    });
}

/** @returns {ProcessEntry[]} */
function listByPs() {
  const options = { encoding: /** @type {const} */ ('utf8'), timeout: 5_000 };
  const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,lstart=,comm='], options);

  return table.split('\n').flatMap((line) => {
    const [, pid, parent, stat, start, name] =
      /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(line) ?? [];

    // `ps` itself is a child too.
    if (!pid || stat?.startsWith('Z') || name === 'ps') {
      return [];
    }

    return [{ pid: Number(pid), parent: Number(parent), name: name ?? '', key: `${pid} ${start}` }];
  });
}

module.exports = { keepRunning, listDescendants };
