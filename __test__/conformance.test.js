'use strict';

const { X509Certificate, createPrivateKey } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { makeCertificate } = require('../conformance/certificate');
const { MODES } = require('../conformance/modes');
const { summarize } = require('../conformance/report');
const { retry } = require('../conformance/retry');
const { makeWorkspace } = require('../conformance/workspace');

/** @import { TestCase } from '../conformance/jest-run' */

/** @type {TestCase[]} */
const CASES = [
  { file: 'test-A', name: 'one', status: 'passed', reason: '' },
  { file: 'test-A', name: 'two', status: 'failed', reason: 'why' },
  { file: 'test-B', name: 'two', status: 'skipped', reason: '' },
];
const NOTHING = { mode: 'local', cases: CASES, flaky: [], problems: [], known: [] };

test('a failed case and a problem of the run count as failures', () => {
  const { passed, failed, skipped, total, failures } = summarize({
    ...NOTHING,
    problems: ['a worker was left running'],
  });

  expect({ passed, failed, skipped, total }).toEqual({
    passed: 1,
    failed: 2,
    skipped: 1,
    total: 3,
  });
  expect(failures).toEqual([
    { test: '(run)', reason: 'a worker was left running' },
    { test: 'test-A: two', reason: 'why' },
  ]);
});

test('a known failure is skipped, with its reason, in its modes only', () => {
  const known = [{ file: 'test-A', test: 'two', modes: ['agent'], reason: 'no such address' }];

  expect(summarize({ ...NOTHING, known })).toMatchObject({ failed: 1, skipped: 1 });
  const { failed, skipped, notes } = summarize({ ...NOTHING, mode: 'agent', known });
  expect({ failed, skipped }).toEqual({ failed: 0, skipped: 2 });
  expect(notes).toEqual(['known failure: test-A: two: no such address']);
});

test('a known failure that was not run is told too', () => {
  const known = [{ file: 'test-A', test: 'one', reason: 'needs media' }];
  const cases = [
    { file: 'test-A', name: 'one', status: /** @type {const} */ ('skipped'), reason: '' },
  ];

  expect(summarize({ ...NOTHING, cases, known })).toMatchObject({
    failed: 0,
    skipped: 1,
    notes: ['known failure: test-A: one: needs media'],
  });
});

test('a known failure that passes is told', () => {
  const known = [{ file: 'test-A', test: 'one', reason: 'was broken' }];

  expect(summarize({ ...NOTHING, known }).notes).toEqual([
    'test-A: one passes, although known-failures.json lists it',
  ]);
});

describe('a failed test', () => {
  const failed = () => [1, 2].map((n) => ({ ...CASES[1], name: `${n}` }));
  /** @param {number} time When it passes. */
  const passesAt = (time) => {
    let times = 0;

    return jest.fn(async () => ++times === time);
  };
  const statuses = (/** @type {TestCase[]} */ cases) => cases.map(({ status }) => status);

  beforeEach(() => {
    jest.spyOn(console, 'error').mockImplementation(() => {});
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  test('is run again once, and is flaky if it passes then', async () => {
    const { cases, flaky } = await retry(failed(), passesAt(2));

    expect(statuses(cases)).toEqual(['failed', 'passed']);
    expect(flaky).toEqual(['test-A: 2']);
  });

  test('is run again as often as its mode says, each time told, and no other one', async () => {
    const again = { tests: ['test-A: 2'], times: 3 };
    const passes = passesAt(3);
    const { cases, flaky } = await retry(failed(), passes, again);

    expect(statuses(cases)).toEqual(['failed', 'passed']);
    expect(flaky).toEqual(['test-A: 2']);
    expect(passes).toHaveBeenCalledTimes(3);
    expect(console.error).toHaveBeenCalledTimes(3);
    expect(console.error).toHaveBeenLastCalledWith('  again, alone: test-A: 2');
  });

  test('that never passes stays failed', async () => {
    const passes = passesAt(4);
    const { cases, flaky } = await retry(failed(), passes, { tests: ['test-A: 1'], times: 3 });

    expect(statuses(cases)).toEqual(['failed', 'failed']);
    expect(flaky).toEqual([]);
    expect(passes).toHaveBeenCalledTimes(3);
  });
});

test('what is run again in mode cut are tests that there are', () => {
  const workspace = makeWorkspace();

  try {
    for (const title of MODES.cut?.again?.tests ?? []) {
      const [file, name] = title.split(': ');
      const text = fs.readFileSync(path.join(workspace.testDir, `${file}.js`), 'utf8');

      expect(text).toContain(`test('${name}'`);
    }
  } finally {
    workspace.remove();
  }
  expect(MODES.cut?.again?.tests).toHaveLength(2);
});

test('the certificate is valid and belongs to the key', () => {
  const { certificate, privateKey } = makeCertificate();
  const parsed = new X509Certificate(certificate);

  expect(parsed.checkPrivateKey(createPrivateKey(privateKey))).toBe(true);
  expect(parsed.verify(parsed.publicKey)).toBe(true);
  expect(Date.parse(parsed.validFrom)).toBeLessThan(Date.now());
  expect(Date.parse(parsed.validTo)).toBeGreaterThan(Date.now());
});

test('the workspace holds all tests and what they read, and goes without a trace', () => {
  const workspace = makeWorkspace();

  try {
    const names = fs.readdirSync(workspace.testDir).filter((name) => /^test-.*\.js$/.test(name));
    expect(names).toHaveLength(17);
    expect(fs.readdirSync(path.join(workspace.testDir, 'data'))).toEqual([
      'dtls-cert.pem',
      'dtls-key.pem',
    ]);
    expect(fs.existsSync(path.join(workspace.testDir, '../../../worker/fbs'))).toBe(true);
  } finally {
    workspace.remove();
  }
  expect(fs.existsSync(workspace.dir)).toBe(false);
});
