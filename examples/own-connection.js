'use strict';

/**
 * A source of workers of one's own: anything that can start a mediasoup-worker and move the bytes
 * of its channel. Here a command of the user's starts it, such as `ip netns exec host2` or
 * `nice -n 5`; through `ssh` or a container it would be the same.
 *
 *   node examples/own-connection.js                          a room on two of them
 *   node examples/own-connection.js -- nice -n 5             their workers started by that command
 */

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Horizontal } = require('..');

/**
 * @typedef {import('..').UserConnection} UserConnection
 * @typedef {import('..').WorkerRequest} WorkerRequest
 * @typedef {import('node:stream').Readable} Readable
 * @typedef {import('node:stream').Writable} Writable
 *
 * @typedef {object} CommandOptions
 * @property {string} name
 * @property {string} workerBin Path of the mediasoup-worker, as the command finds it.
 * @property {string[]} [command] What starts it. Default: nothing but this process.
 * @property {UserConnection['addresses']} [addresses] Where its workers are, if not on this host.
 * @property {number} [capacity]
 */

/**
 * Workers that a command starts.
 *
 * @param {CommandOptions} options
 * @returns {UserConnection}
 */
function commandConnection({ name, workerBin, command = [], addresses, capacity }) {
  return {
    name,
    ...(addresses && { addresses }),
    ...(capacity && { capacity }),

    async spawn(request) {
      const files = writeDtlsFiles(request);
      const [file, ...args] = /** @type {[string, ...string[]]} */ ([
        ...command,
        workerBin,
        ...request.args,
        ...files.args,
      ]);
      const child = spawn(file, args, {
        env: { ...process.env, MEDIASOUP_VERSION: request.version },
        // The worker's channel is on its fds 3 and 4.
        stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'],
      });
      /** @type {Promise<{ code: number | null, signal: NodeJS.Signals | null }>} */
      const exited = new Promise((resolve) => {
        child.once('exit', (code, signal) => {
          files.remove();
          resolve({ code, signal });
        });
      });

      try {
        await once(child, 'spawn');
      } catch (error) {
        files.remove();
        throw error;
      }

      return {
        pid: /** @type {number} */ (child.pid),
        input: /** @type {Writable} */ (child.stdio[3]),
        output: /** @type {Readable} */ (child.stdio[4]),
        kill: (signal) => void child.kill(signal),
        exited,
      };
    },
  };
}

/**
 * The certificate of the app, which the worker wants as files of its own host.
 *
 * @param {WorkerRequest} request
 * @returns {{ args: string[], remove: () => void }}
 */
function writeDtlsFiles({ dtlsCertificate, dtlsPrivateKey }) {
  if (!dtlsCertificate || !dtlsPrivateKey) {
    return { args: [], remove: () => {} };
  }

  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'own-connection-'));
  const write = (/** @type {string} */ name, /** @type {string} */ text) => {
    fs.writeFileSync(path.join(folder, name), text, { mode: 0o600 });

    return path.join(folder, name);
  };

  return {
    args: [
      `--dtlsCertificateFile=${write('certificate.pem', dtlsCertificate)}`,
      `--dtlsPrivateKeyFile=${write('key.pem', dtlsPrivateKey)}`,
    ],
    remove: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

async function main() {
  const { installedWorker } = require('../js/worker-binary/paths');
  const { findProblems, printReport } = require('./lib/report');
  const { runRoom } = require('./room');
  const { version } = require('..');
  const workerBin = process.env.MEDIASOUP_WORKER_BIN ?? installedWorker(version);
  const end = process.argv.indexOf('--');
  const command = end < 0 ? [] : process.argv.slice(end + 1);
  const horizontal = new Horizontal([]);

  try {
    await horizontal.add(commandConnection({ name: 'first', workerBin, command }));
    await horizontal.add(commandConnection({ name: 'second', workerBin, command }));

    const { mediasoup } = horizontal;
    const whereIs = (/** @type {{ pid: number }} */ worker) =>
      horizontal.whereIs(worker)?.connection ?? 'nowhere';
    const report = await runRoom({ mediasoup, whereIs, seconds: 4, log: console.log });
    const problems = findProblems(report);

    printReport(report, problems, console.log);
    process.exitCode = problems.length === 0 ? 0 : 1;
  } finally {
    horizontal.close();
  }
}

if (require.main === module) {
  main().catch((error) => {
    console.error(`The room failed: ${error.message}`);
    process.exitCode = 1;
  });
}

module.exports = { commandConnection };
