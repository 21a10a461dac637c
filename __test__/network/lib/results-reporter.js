'use strict';

const fs = require('node:fs');
const { RESULTS_FD } = require('./inside');

/**
 * Tells the results of tests as they come, one JSON text a line.
 *
 * @typedef {object} Result
 * @property {string} name With the names of the groups around the test.
 * @property {string} status `passed`, or what else jest calls it.
 * @property {string[]} failures
 */

class ResultsReporter {
  /**
   * @param {unknown} _test
   * @param {import('@jest/test-result').TestCaseResult} result
   */
  onTestCaseResult(_test, { fullName, status, failureMessages }) {
    tell({ name: fullName, status, failures: failureMessages });
  }

  /**
   * @param {unknown} _test
   * @param {import('@jest/test-result').TestResult} result
   */
  onTestFileResult(_test, { testExecError, console: printed }) {
    for (const { message, origin } of printed ?? []) {
      process.stderr.write(`${message}\n${origin}\n`);
    }
    // The file could not be run, or failed outside of its tests.
    if (testExecError) {
      process.stderr.write(`${testExecError.stack ?? testExecError.message}\n`);
    }
  }
}

/** @param {Result} result */
function tell(result) {
  fs.writeSync(RESULTS_FD, `${JSON.stringify(result)}\n`);
}

module.exports = ResultsReporter;
