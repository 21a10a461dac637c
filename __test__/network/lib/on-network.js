'use strict';

const { INSIDE } = require('./inside');
const { NetworkRun } = require('./network-run');

/**
 * Tests among hosts with addresses of their own. A file that asks for this is loaded twice: jest
 * loads it as always, where each test stands for the one of the same name in a second jest that
 * runs on the app's host.
 *
 * @typedef {Pick<typeof globalThis, 'afterAll' | 'afterEach' | 'beforeAll' |
 *   'beforeEach' | 'describe' | 'test'>} TestGlobals
 */

/** For one test, or for all that a file does first. Each step in it has a deadline of its own. */
const TEST_TIMEOUT = 90_000;
/** The first test waits for the hosts and for jest too. */
const OUTER_TIMEOUT = TEST_TIMEOUT * 2;

/**
 * @param {string} file The test file that calls.
 * @returns {TestGlobals}
 */
function onNetwork(file) {
  if (process.env[INSIDE]) {
    jest.setTimeout(TEST_TIMEOUT);

    return { afterAll, afterEach, beforeAll, beforeEach, describe, test };
  }

  const run = new NetworkRun(file);

  jest.setTimeout(OUTER_TIMEOUT);
  beforeAll(() => run.start());
  afterAll(() => run.stop());

  return standIns(run);
}

/**
 * @param {NetworkRun} run
 * @returns {TestGlobals}
 */
function standIns(run) {
  const outcome = () => run.outcome(expect.getState().currentTestName ?? '');
  /** @param {string} name */
  const standIn = (name) => test(name, outcome);

  standIn.each = (/** @type {readonly any[]} */ table) => (/** @type {string} */ name) =>
    test.each(table)(name, outcome);

  return {
    afterAll: () => {},
    afterEach: () => {},
    beforeAll: () => {},
    beforeEach: () => {},
    describe,
    test: /** @type {jest.It} */ (/** @type {unknown} */ (standIn)),
  };
}

module.exports = { onNetwork };
