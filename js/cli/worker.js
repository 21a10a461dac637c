'use strict';

const fs = require('node:fs');
const { InstallError, stopCommands } = require('../worker-binary/commands');
const { installWorker } = require('../worker-binary/install');
const { installedWorker, upstreamDir, versionOf } = require('../worker-binary/paths');

/**
 * Makes sure that there is a worker, and prints its path.
 *
 * @param {{ force: boolean }} options
 * @returns {Promise<number>} Exit status.
 */
async function installCommand({ force }) {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    // What is under way fails then, and is cleared away.
    process.once(signal, stopCommands);
  }

  try {
    const { binary } = await installWorker({ force, log: (line) => console.error(line) });
    console.log(binary);

    return 0;
  } catch (error) {
    if (error instanceof InstallError) {
      console.error(`error: ${error.message}`);

      return 1;
    }
    throw error;
  }
}

/**
 * Prints the path of the installed worker.
 *
 * @returns {number} Exit status.
 */
function pathCommand() {
  const version = versionOf(upstreamDir());
  const binary = installedWorker(version);

  if (!fs.existsSync(binary)) {
    console.error(
      `no mediasoup-worker ${version} is installed; "mediasoup-horizontal worker install" does that`,
    );

    return 1;
  }
  console.log(binary);

  return 0;
}

module.exports = { installCommand, pathCommand };
