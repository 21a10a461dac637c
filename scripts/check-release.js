'use strict';

/**
 * Whether what is about to be published fits together: `node scripts/check-release.js v3.27.1` for
 * a tag of that name. The version is mediasoup's minor version, and the same everywhere.
 */

const fs = require('node:fs');
const path = require('node:path');
const manifest = require('../package.json');
const lock = require('../package-lock.json');

/**
 * @param {string | undefined} tag
 * @returns {string[]} What is wrong.
 */
function findProblems(tag) {
  const { version } = manifest;
  const cargo = /^version = "(.*)"/m.exec(read('Cargo.toml'))?.[1];
  const upstream = manifest.dependencies['mediasoup-upstream'].split('@').at(-1) ?? '';
  const heading = version.includes('-') ? '[Unreleased]' : `[${version}]`;
  const minor = (/** @type {string} */ text) => text.split('.').slice(0, 2).join('.');
  const checks = /** @type {const} */ ([
    [tag === undefined || tag === `v${version}`, `the tag is ${tag}, package.json says ${version}`],
    [cargo === version, `Cargo.toml says ${cargo}, package.json ${version}`],
    [lock.version === version, `package-lock.json says ${lock.version}, package.json ${version}`],
    [minor(upstream) === minor(version), `${version} is not of mediasoup ${upstream}`],
    [read('CHANGELOG.md').includes(`## ${heading}`), `CHANGELOG.md has no heading ${heading}`],
  ]);

  return checks.filter(([fine]) => !fine).map(([, problem]) => problem);
}

/** @param {string} name */
function read(name) {
  return fs.readFileSync(path.join(__dirname, '..', name), 'utf8');
}

module.exports = { findProblems };

if (require.main === module) {
  const problems = findProblems(process.argv[2]);

  for (const problem of problems) {
    console.error(`check-release: ${problem}`);
  }
  process.exitCode = problems.length > 0 ? 1 : 0;
}
