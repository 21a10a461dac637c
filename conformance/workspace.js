'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { upstreamDir } = require('../js/worker-binary/paths');
const { makeCertificate } = require('./certificate');

const ROOT = path.join(__dirname, '..');

/**
 * Where mediasoup's tests run.
 *
 * @typedef {object} Workspace
 * @property {string} dir
 * @property {string} testDir
 * @property {() => void} remove
 */

/**
 * Copies mediasoup with its tests into a temporary folder and adds the two files that the tests
 * read and the package lacks. The folder of the installed package stays as it is.
 *
 * @returns {Workspace}
 */
function makeWorkspace() {
  const source = upstreamDir();
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-conformance-')));
  const copy = path.join(dir, 'node_modules', 'mediasoup-upstream');
  const testDir = path.join(copy, 'node', 'lib', 'test');
  const remove = () => fs.rmSync(dir, { recursive: true, force: true, maxRetries: 3 });

  try {
    fs.mkdirSync(copy, { recursive: true });
    fs.copyFileSync(path.join(source, 'package.json'), path.join(copy, 'package.json'));
    fs.symlinkSync(path.join(source, 'worker'), path.join(copy, 'worker'), 'dir');
    fs.cpSync(path.join(source, 'node'), path.join(copy, 'node'), {
      recursive: true,
      filter: (file) => !/\.d\.ts(\.map)?$/.test(file),
    });

    const { certificate, privateKey } = makeCertificate();
    const data = path.join(testDir, 'data');
    fs.mkdirSync(data, { recursive: true });
    fs.writeFileSync(path.join(data, 'dtls-cert.pem'), certificate);
    fs.writeFileSync(path.join(data, 'dtls-key.pem'), privateKey, { mode: 0o600 });
    fs.writeFileSync(
      path.join(dir, 'jest.config.json'),
      JSON.stringify(jestConfig(testDir), null, 2),
    );
  } catch (error) {
    remove();
    throw error;
  }

  return { dir, testDir, remove };
}

/**
 * @param {string} testDir
 * @returns {import('jest').Config}
 */
function jestConfig(testDir) {
  return {
    rootDir: testDir,
    testEnvironment: 'node',
    testRegex: 'test-.*\\.js$',
    // The copy is in a folder named node_modules, which jest would leave out.
    testPathIgnorePatterns: [],
    haste: { retainAllFiles: true },
    transform: {},
    resolver: path.join(__dirname, 'resolver.js'),
    modulePaths: [path.join(ROOT, 'node_modules')],
    reporters: [path.join(__dirname, 'progress-reporter.js')],
    watchman: false,
  };
}

module.exports = { ROOT, makeWorkspace };
