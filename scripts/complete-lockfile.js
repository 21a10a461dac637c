'use strict';

/**
 * Adds what a package-lock.json lacks that was made with a registry mirror without the packages of
 * other platforms: `npm ci` refuses such a file everywhere. Run it after `npm install` there.
 *
 * The entries are without a checksum, which only a complete registry could tell.
 */

const fs = require('node:fs');
const path = require('node:path');

const FILE = path.join(__dirname, '..', 'package-lock.json');

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const CPUS = ['arm', 'arm64', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'x64'];
/** How names of packages say which C library they need. */
const LIBCS = new Map([
  ['gnu', 'glibc'],
  ['gnueabihf', 'glibc'],
  ['musl', 'musl'],
  ['musleabihf', 'musl'],
]);

/**
 * @typedef {object} LockEntry
 * @property {string} [version]
 * @property {boolean} [dev]
 * @property {boolean} [optional]
 * @property {string[]} [os]
 * @property {string[]} [cpu]
 * @property {string[]} [libc]
 * @property {Record<string, string>} [optionalDependencies]
 */

/**
 * @param {Record<string, LockEntry>} packages
 * @returns {Record<string, LockEntry>} What is missing.
 */
function findMissing(packages) {
  /** @type {Record<string, LockEntry>} */
  const missing = {};

  for (const { optionalDependencies = {}, dev } of Object.values(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const key = `node_modules/${name}`;
      const limits = platformOf(name);
      const exact = /^\d+\.\d+\.\d+/.test(version);

      if (!packages[key] && limits && exact) {
        // In the order in which npm writes them.
        const { cpu, libc, os } = limits;
        missing[key] = {
          version,
          cpu,
          ...(dev && { dev }),
          ...(libc && { libc }),
          optional: true,
          os,
        };
      }
    }
  }

  return missing;
}

/**
 * @param {string} name Such as `@scope/tool-linux-arm-gnueabihf`.
 * @returns {Pick<LockEntry, 'os' | 'cpu' | 'libc'> | undefined}
 */
function platformOf(name) {
  const words = name.split(/[/-]/);
  const os = SYSTEMS.filter((word) => words.includes(word));
  const cpu = CPUS.filter((word) => words.includes(word));
  const libc = [...LIBCS].filter(([word]) => words.includes(word)).map(([, value]) => value);

  if (os.length !== 1 || cpu.length !== 1) {
    return undefined;
  }

  return { cpu, os, ...(libc.length > 0 && os[0] === 'linux' && { libc }) };
}

/**
 * @template T
 * @param {Record<string, T>} object
 * @returns {Record<string, T>}
 */
function sortKeys(object) {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => a.localeCompare(b, 'en')));
}

const lock = JSON.parse(fs.readFileSync(FILE, 'utf8'));
const missing = findMissing(lock.packages);
lock.packages = sortKeys({ ...lock.packages, ...missing });
fs.writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
for (const key of Object.keys(missing)) {
  console.log(`added ${key}`);
}
