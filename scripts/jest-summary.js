'use strict';

/** How long the process may live on once all tests are done. */
const EXIT_MS = 30_000;

/** Closes a run of jest with one line of figures. */
class JestSummary {
  #watching;

  /** @param {import('@jest/types').Config.GlobalConfig} config */
  constructor({ watch, watchAll }) {
    this.#watching = watch || watchAll;
  }

  /**
   * @param {unknown} _contexts
   * @param {import('@jest/reporters').AggregatedResult} result
   */
  onRunComplete(_contexts, result) {
    if (this.#watching) {
      return;
    }
    // A file that cannot be run has no tests that could fail.
    let failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
    const skipped = result.numPendingTests + result.numTodoTests;

    // Later than whatever other reporters print.
    process.once('exit', () => {
      console.log(`${result.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
    });

    setTimeout(() => {
      console.error(`The tests are done, but something keeps the process running.`);
      failed += 1;
      process.exit(1);
    }, EXIT_MS).unref();
  }
}

module.exports = JestSummary;
