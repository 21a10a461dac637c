'use strict';

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { cacheRoot } = require('../../../js/worker-binary/paths');

const INSTALL_MS = 120_000;

/** Where Node.js and npm of other versions are kept, each in a folder of its own. */
const TOOLS = path.join(cacheRoot(), 'tools');

/** The oldest Node.js that this package takes, and what is current of the others. */
const NODE_VERSIONS = { 20: '20.17.0', 22: '22.23.3', 24: '24.21.0' };

const NPM_VERSIONS = { 10: '10.9.9', 11: '11.21.2' };

/**
 * A file of a package in a version of its own, fetched at the first use.
 *
 * @param {string} name
 * @param {string} version
 * @param {string} file Path inside of the package.
 * @returns {Promise<string>}
 */
async function tool(name, version, file) {
  const folder = path.join(TOOLS, `${name}-${version}`);
  const found = path.join(folder, 'node_modules', name, file);

  if (!fs.existsSync(found)) {
    fs.mkdirSync(TOOLS, { recursive: true });
    const fresh = fs.mkdtempSync(path.join(TOOLS, 'new-'));

    await promisify(execFile)(
      'npm',
      [
        'install',
        '--prefix',
        fresh,
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--no-save',
      ].concat(`${name}@${version}`),
      { cwd: fresh, timeout: INSTALL_MS },
    );
    try {
      fs.renameSync(fresh, folder);
    } catch (error) {
      // Somebody else was as quick.
      fs.rmSync(fresh, { recursive: true, force: true });
      if (!fs.existsSync(found)) {
        throw error;
      }
    }
  }

  return found;
}

/**
 * @param {keyof typeof NODE_VERSIONS} major
 * @returns {Promise<string>} Path of that Node.js.
 */
function node(major) {
  const { platform, arch } = process;

  return tool(`node-${platform}-${arch}`, NODE_VERSIONS[major], 'bin/node');
}

/**
 * @param {keyof typeof NPM_VERSIONS} major
 * @returns {Promise<string>} Path of that npm, for a Node.js to run.
 */
function npm(major) {
  return tool('npm', NPM_VERSIONS[major], 'bin/npm-cli.js');
}

module.exports = { node, npm };
