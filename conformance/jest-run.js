'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { stripVTControlCharacters } = require('node:util');
const { pause, within } = require('../examples/lib/deadline');

const JEST = path.join(path.dirname(require.resolve('jest/package.json')), 'bin', 'jest.js');

/** How long jest may live on once all tests are done. */
const EXIT_MS = 30_000;
const KILL_MS = 5_000;
const POLL_MS = 200;

/**
 * @typedef {object} TestCase
 * @property {string} file Such as `test-Worker`.
 * @property {string} name
 * @property {'passed' | 'failed' | 'skipped'} status
 * @property {string} reason Why it failed, else empty.
 *
 * @typedef {object} JestOptions
 * @property {import('./workspace').Workspace} workspace
 * @property {NodeJS.ProcessEnv} env
 * @property {string[]} [files] Such as `test-Worker`. Default: all.
 * @property {string} [name] Full name of the only test to run.
 * @property {string[]} [without] Full names of tests that are not run.
 * @property {number} timeoutMs
 * @property {AbortSignal} signal
 *
 * @typedef {object} JestResult
 * @property {TestCase[]} cases
 * @property {string[]} problems What went wrong beside the tests.
 */

/**
 * Runs mediasoup's tests, one file after the other in one process.
 *
 * @param {JestOptions} options
 * @returns {Promise<JestResult>}
 */
async function runJest({ workspace, env, files, name, without = [], timeoutMs, signal }) {
  const output = path.join(workspace.dir, 'result.json');
  fs.rmSync(output, { force: true });

  const args = [JEST, '--runInBand', '--json', '--outputFile', output];
  if (name !== undefined) {
    args.push('--testNamePattern', `^${escapeRegExp(name)}$`);
  } else if (without.length > 0) {
    args.push('--testNamePattern', `^(?!(?:${without.map(escapeRegExp).join('|')})$)`);
  }
  if (files) {
    args.push('--runTestsByPath');
    args.push(...files.map((file) => path.join(workspace.testDir, `${file}.js`)));
  }

  // A group of its own, so that it can be ended with everything that it started.
  const child = spawn(process.execPath, args, {
    cwd: workspace.dir,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  });
  const exited = once(child, 'exit').then(([code, signalName]) => signalName ?? code);
  /** @type {string[]} */
  const problems = [];

  try {
    const written = waitForFile(output, { exited, timeoutMs, signal });
    await within(written, { ms: timeoutMs, what: "mediasoup's tests", signal });
    await within(exited, { ms: EXIT_MS, what: 'the end of jest after the last test', signal });
  } catch (error) {
    if (signal.aborted) {
      throw error;
    }
    problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    await endGroup(child, exited);
  }

  if (!fs.existsSync(output)) {
    problems.push(`jest gave no result (it ended with ${await exited})`);

    return { cases: [], problems };
  }

  return { cases: readCases(JSON.parse(fs.readFileSync(output, 'utf8')), problems), problems };
}

/**
 * @param {string} file
 * @param {{ exited: Promise<unknown>, timeoutMs: number, signal: AbortSignal }} options
 */
async function waitForFile(file, { exited, timeoutMs, signal }) {
  const end = Date.now() + timeoutMs;
  let running = true;
  const ended = exited.then(() => {
    running = false;
  });

  while (running && !fs.existsSync(file) && Date.now() < end) {
    await Promise.race([ended, pause(POLL_MS, signal)]);
  }
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @param {Promise<unknown>} exited
 */
async function endGroup(child, exited) {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    process.kill(-child.pid, 'SIGKILL');
    await within(exited, { ms: KILL_MS, what: 'the end of jest after SIGKILL' });
  }
}

/**
 * @param {import('@jest/test-result').FormattedTestResults} result
 * @param {string[]} problems Gets the files that could not be run.
 * @returns {TestCase[]}
 */
function readCases(result, problems) {
  /** @type {TestCase[]} */
  const cases = [];

  for (const { name, message, assertionResults } of result.testResults) {
    const file = path.basename(name, '.js');
    if (assertionResults.length === 0) {
      problems.push(`${file} could not be run: ${stripVTControlCharacters(message).trim()}`);
    }

    for (const { fullName, status, failureMessages } of assertionResults) {
      if (status !== 'passed' && status !== 'failed') {
        // Where one test was asked for, the others are reported as pending.
        cases.push({ file, name: fullName, status: 'skipped', reason: '' });
        continue;
      }
      const reason = stripVTControlCharacters((failureMessages ?? []).join('\n')).trim();
      cases.push({ file, name: fullName, status, reason });
    }
  }

  return cases;
}

/** @param {string} text */
function escapeRegExp(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

module.exports = { runJest };
