'use strict';

/** Closes a run of jest with one line of figures. */
class JestSummary {
  /**
   * @param {unknown} _contexts
   * @param {import('@jest/reporters').AggregatedResult} result
   */
  onRunComplete(_contexts, result) {
    // A file that cannot be run has no tests that could fail.
    const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
    const skipped = result.numPendingTests + result.numTodoTests;

    // Later than whatever other reporters print.
    process.once('exit', () => {
      console.log(`${result.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
    });
  }
}

module.exports = JestSummary;
