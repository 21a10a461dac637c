'use strict';

const { execFileSync, spawnSync } = require('node:child_process');
const path = require('node:path');
const upstream = require('mediasoup-upstream');

const ROOT = path.join(__dirname, '..');
const OURS = [
  'Horizontal',
  'IncompatibleConnectionError',
  'LocalConnection',
  'MockConnection',
  'RemoteConnection',
  'horizontal',
];
const SUBPATHS = ['errors', 'extras', 'ortc', 'types'];
const TIMEOUT_MS = 20_000;

/**
 * The names that an app sees which imports the package in ESM.
 *
 * @param {string} specifier
 * @returns {string[]}
 */
function namesInEsm(specifier) {
  const code = `console.log(JSON.stringify(Object.keys(await import('${specifier}'))))`;
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });

  return JSON.parse(output).sort();
}

test('exports all that mediasoup does, and six names more', () => {
  const index = require('../index');

  expect(Object.keys(index).sort()).toEqual([...Object.keys(upstream), ...OURS].sort());
});

test('everything but createWorker is the very thing of mediasoup', () => {
  /** @type {Record<string, unknown>} */
  const index = require('../index');
  const same = Object.entries(upstream).filter(([name]) => name !== 'createWorker');

  for (const [name, value] of same) {
    expect([name, index[name] === value]).toEqual([name, true]);
  }
  expect(index.createWorker).not.toBe(upstream.createWorker);
});

test.each(SUBPATHS)('the subpath %s is the very one of mediasoup', (subpath) => {
  expect(require(`mediasoup-horizontal/${subpath}`)).toBe(require(`mediasoup-upstream/${subpath}`));
});

test('an ESM app can import every name', () => {
  expect(namesInEsm('mediasoup-horizontal')).toEqual(
    expect.arrayContaining([...Object.keys(upstream), ...OURS, 'default']),
  );
});

test.each(['errors', 'extras', 'ortc'])('an ESM app can import the names of %s', (subpath) => {
  expect(namesInEsm(`mediasoup-horizontal/${subpath}`)).toEqual(
    expect.arrayContaining(namesInEsm(`mediasoup-upstream/${subpath}`)),
  );
});

test('the mock exports what the package does, and its controls', () => {
  const mock = require('mediasoup-horizontal/mock');
  const names = [...Object.keys(require('../index')), 'MockControls', 'controls'];

  expect(Object.keys(mock).sort()).toEqual(names.sort());
  for (const name of Object.keys(upstream).filter((other) => other !== 'createWorker')) {
    expect([name, Reflect.get(mock, name) === Reflect.get(upstream, name)]).toEqual([name, true]);
  }
  expect(namesInEsm('mediasoup-horizontal/mock')).toEqual(expect.arrayContaining(names));
});

test('nothing else can be required', () => {
  const code = "require('mediasoup-horizontal/js/native')";
  const { status, stderr } = spawnSync(process.execPath, ['--eval', code], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });

  expect(status).not.toBe(0);
  expect(stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
});
