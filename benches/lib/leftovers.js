'use strict';

const { pause } = require('../../examples/lib/deadline');
const { keepRunning, listDescendants } = require('../../examples/lib/process-tree');

const GRACE_MS = 5_000;
const INTERVAL_MS = 50;

/**
 * Calls a function that ends all processes of this one, and proves that it did. No sampling
 * meanwhile, which would disturb what is measured.
 *
 * @param {() => Promise<void>} close
 * @returns {Promise<void>}
 */
async function closeAll(close) {
  const processes = listDescendants(process.pid);

  try {
    await close();
  } finally {
    const end = Date.now() + GRACE_MS;
    let left = keepRunning(processes);

    while (left.length > 0 && Date.now() < end) {
      await pause(INTERVAL_MS);
      left = keepRunning(left);
    }
    if (left.length > 0) {
      left.forEach(({ pid }) => void kill(pid));
      console.error(`error: left running: ${left.map(({ name }) => name).join(', ')}`);
      process.exitCode = 1;
    }
  }
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}

module.exports = { closeAll };
