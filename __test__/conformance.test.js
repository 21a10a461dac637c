'use strict';

const { X509Certificate, createPrivateKey } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { makeCertificate } = require('../conformance/certificate');
const { summarize } = require('../conformance/report');
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

test('a known failure that passes is told', () => {
  const known = [{ file: 'test-A', test: 'one', reason: 'was broken' }];

  expect(summarize({ ...NOTHING, known }).notes).toEqual([
    'test-A: one passes, although known-failures.json lists it',
  ]);
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
