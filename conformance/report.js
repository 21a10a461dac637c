'use strict';

/** @import { TestCase } from './jest-run' */

/** How much of a failure is printed. */
const REASON_LINES = 16;
/** How much of it goes into the JSON line. */
const REASON_LENGTH = 2_000;

/**
 * @typedef {object} KnownFailure
 * @property {string} file
 * @property {string} test
 * @property {string[]} [modes] Default: all.
 * @property {string} reason
 *
 * @typedef {object} Summary
 * @property {string} mode
 * @property {number} passed
 * @property {number} failed Cases, and one for each problem beside them.
 * @property {number} skipped Known failures among them.
 * @property {string[]} flaky They count as passed.
 * @property {number} total
 * @property {{ test: string, reason: string }[]} failures
 */

/**
 * The known failures that a mode has.
 *
 * @param {string} mode
 * @param {KnownFailure[]} known
 */
function knownIn(mode, known) {
  return known.filter(({ modes }) => modes === undefined || modes.includes(mode));
}

/**
 * @param {object} options
 * @param {string} options.mode
 * @param {TestCase[]} options.cases
 * @param {string[]} options.flaky
 * @param {string[]} options.problems
 * @param {KnownFailure[]} options.known
 * @returns {Summary & { notes: string[] }}
 */
function summarize({ mode, cases, flaky, problems, known }) {
  const applying = knownIn(mode, known);
  const failures = problems.map((reason) => ({ test: '(run)', reason }));
  /** @type {string[]} */
  const notes = [];
  let passed = 0;
  let skipped = 0;

  for (const one of cases) {
    const test = titleOf(one);
    const expected = applying.find(({ file, test: name }) => titleOf({ file, name }) === test);

    if (one.status === 'passed') {
      passed += 1;
      if (expected) {
        notes.push(`${test} passes, although known-failures.json lists it`);
      }
    } else if (one.status === 'skipped' && !expected) {
      skipped += 1;
    } else if (expected) {
      skipped += 1;
      notes.push(`known failure: ${test}: ${expected.reason}`);
    } else {
      failures.push({ test, reason: one.reason });
    }
  }

  const total = cases.length;

  return { mode, passed, failed: failures.length, skipped, flaky, total, failures, notes };
}

/**
 * @param {Summary & { notes: string[] }} summary
 * @param {boolean} json
 */
function print({ notes, ...summary }, json) {
  for (const { test, reason } of summary.failures) {
    const lines = reason.split('\n').slice(0, REASON_LINES);
    console.log(`failed: ${test}\n    ${lines.join('\n    ')}`);
  }
  for (const test of summary.flaky) {
    console.log(`flaky: ${test}`);
  }
  for (const note of notes) {
    console.log(note);
  }

  console.log(`${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`);
  if (json) {
    const failures = summary.failures.map(({ test, reason }) => ({
      test,
      reason: reason.slice(0, REASON_LENGTH),
    }));
    console.log(JSON.stringify({ ...summary, failures }));
  }
}

/** @param {{ file: string, name: string }} test */
function titleOf({ file, name }) {
  return `${file}: ${name}`;
}

module.exports = { knownIn, print, summarize, titleOf };
