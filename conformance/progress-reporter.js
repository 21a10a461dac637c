'use strict';

const path = require('node:path');

/** Prints a line for each file of tests, on stderr. */
class ProgressReporter {
  /**
   * @param {import('@jest/reporters').Test} test
   * @param {import('@jest/reporters').TestResult} result
   */
  onTestResult(test, result) {
    const name = path.basename(test.path, '.js').padEnd(28);
    const failed = result.numFailingTests > 0 ? `, ${result.numFailingTests} failed` : '';
    const text = result.testExecError
      ? 'could not be run'
      : `${result.numPassingTests} passed${failed}`;

    console.error(`  ${name} ${text}`);
  }
}

module.exports = ProgressReporter;
