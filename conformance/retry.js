'use strict';

const { titleOf } = require('./report');

/** @import { TestCase } from './jest-run' */
/** @import { Again } from './modes' */

/** So many failures have one cause, and are not flaky tests. */
const MAX_RETRIES = 20;

/**
 * Runs failed tests again, each alone.
 *
 * @param {TestCase[]} cases
 * @param {(test: TestCase) => Promise<boolean>} passesAlone
 * @param {Again} [again]
 * @returns {Promise<{ cases: TestCase[], flaky: string[] }>}
 */
async function retry(cases, passesAlone, again) {
  const failed = cases.filter(({ status }) => status === 'failed');
  /** @type {string[]} */
  const flaky = [];

  if (failed.length > MAX_RETRIES) {
    return { cases, flaky };
  }

  for (const one of failed.filter((test) => again?.tests.includes(titleOf(test)) ?? true)) {
    for (let time = 0; time < (again?.times ?? 1) && one.status === 'failed'; time++) {
      console.error(`  again, alone: ${titleOf(one)}`);
      if (await passesAlone(one)) {
        one.status = 'passed';
        flaky.push(titleOf(one));
      }
    }
  }

  return { cases, flaky };
}

module.exports = { retry };
