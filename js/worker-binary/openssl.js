'use strict';

const path = require('node:path');
const { InstallError, findFile, findTool, run } = require('./commands');
const { Packages } = require('./packages');

/**
 * Finds the openssl program, or takes it from the distribution's packages into the work folder.
 *
 * @param {{ workDir: string, logFile: string, log: (line: string) => void }} options
 * @returns {Promise<import('./dtls-peer').OpenSsl>}
 */
async function getOpenssl({ workDir, logFile, log }) {
  const own = findTool('openssl');
  if (own) {
    return { command: own };
  }

  const packages = new Packages({ workDir, logFile, log });
  const dir = path.join(workDir, 'openssl');
  try {
    await packages.unpackDebs(['openssl'], dir);
    const fields = await run('dpkg-deb', ['-f', await packages.deb('openssl'), 'Depends']);
    const [library] = /libssl\d[\w.]*/.exec(fields) ?? ['libssl3'];
    await packages.unpackDebs([library], dir);
  } catch (error) {
    throw new InstallError(
      'openssl is missing: it checks that the worker can do a DTLS handshake. ' +
        `Install it with: apt-get install openssl\n${/** @type {Error} */ (error).message}`,
    );
  }

  const libraries = path.dirname(findFile(dir, /^libssl\.so\.\d+$/) ?? dir);

  return {
    command: path.join(dir, 'usr', 'bin', 'openssl'),
    env: { LD_LIBRARY_PATH: libraries },
  };
}

module.exports = { getOpenssl };
