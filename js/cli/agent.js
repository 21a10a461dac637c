'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const native = require('../native');
const { upstreamDir, versionOf } = require('../worker-binary/paths');

/** What each signal is to the agent. It knows no SIGHUP, which here means a closed terminal. */
const SIGNALS = /** @type {const} */ ({
  SIGINT: 'SIGINT',
  SIGTERM: 'SIGTERM',
  SIGHUP: 'SIGTERM',
});

/** What speaks with an agent that runs already. */
const ADMIN_COMMANDS = ['drain', 'status'];

/**
 * Runs the native agent, or what speaks with one, until it ends.
 *
 * @param {string[]} args
 * @returns {Promise<number>} Its exit status.
 */
async function runAgent(args) {
  native.checkNative();

  // Before the agent starts: whoever reads its ready line may send a signal at once.
  for (const [received, sent] of Object.entries(SIGNALS)) {
    process.on(received, () => child.kill(sent));
  }

  const child = ADMIN_COMMANDS.includes(args[0])
    ? spawn(native.agentPath, args, { stdio: 'inherit' })
    : spawnAgent(args);

  const [status, signal] = await once(child, 'exit');
  if (signal) {
    for (const name of Object.keys(SIGNALS)) {
      process.removeAllListeners(name);
    }
    process.kill(process.pid, signal);
  }

  return status ?? 1;
}

/** @param {string[]} args */
function spawnAgent(args) {
  const child = spawn(native.agentPath, ['--exit-with-stdin', ...workerArgs(args), ...args], {
    // The pipe on its stdin ends with this process, even when that is killed.
    stdio: ['pipe', 'inherit', 'inherit'],
    // A group of its own: the terminal's Ctrl-C must reach it once, through here.
    detached: true,
  });

  // It need not read what is never written.
  child.stdin.on('error', () => {});

  return child;
}

/**
 * Names the worker that the mediasoup package brought, which the agent does not know of.
 *
 * @param {string[]} args
 * @returns {string[]}
 */
function workerArgs(args) {
  const dir = upstreamDir();
  const worker = path.join(dir, 'worker', 'out', 'Release', 'mediasoup-worker');
  const named = args.some((arg) => arg === '--worker-bin' || arg.startsWith('--worker-bin='));

  return named || !fs.existsSync(worker) ? [] : ['--worker-bin', `${versionOf(dir)}=${worker}`];
}

module.exports = { runAgent };
