'use strict';

/** jest as users run it, on the mock. */

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const ROOT = path.join(__dirname, '..', '..');
const JEST = path.join(path.dirname(require.resolve('jest/package.json')), 'bin', 'jest.js');
const TIMEOUT_MS = 60_000;

/** A test of an app whose jest finds the mock under mediasoup's names. */
const MAPPED_TEST = `
  const { createWorker } = require('mediasoup');
  const { NotFoundError } = require('mediasoup/errors');
  const { controls } = require('mediasoup-horizontal/mock');

  afterAll(() => controls.reset());

  test('errors are of the classes that the app knows', async () => {
    const worker = await createWorker();

    controls.failNext('worker.createRouter', new NotFoundError('not here'));
    await expect(worker.createRouter()).rejects.toBeInstanceOf(NotFoundError);
  });
`;

/** @type {string} */
let dir;

beforeEach(() => {
  dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-jest-mock-')));
});

afterEach(() => {
  fs.rmSync(dir, { recursive: true, force: true });
});

/**
 * Rejects unless jest ends by itself, and well.
 *
 * @param {string} config
 */
async function runJest(config) {
  const outputFile = path.join(dir, 'result.json');
  const { stderr } = await promisify(execFile)(
    process.execPath,
    [
      JEST,
      '--config',
      config,
      '--runInBand',
      '--detectOpenHandles',
      '--json',
      '--outputFile',
      outputFile,
    ],
    { timeout: TIMEOUT_MS },
  );

  expect(stderr).not.toMatch(/open handle|did not exit/);

  return JSON.parse(fs.readFileSync(outputFile, 'utf8'));
}

test(
  'the example passes, leaves no handle open and lets jest end',
  async () => {
    const result = await runJest(path.join(ROOT, 'examples', 'jest-mock', 'jest.config.js'));

    expect(result).toMatchObject({ success: true, numPassedTests: 7, numTotalTests: 7 });
    expect(result.openHandles).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "the mock can be mapped to mediasoup's name, subpaths too",
  async () => {
    const modules = path.join(dir, 'node_modules');
    const config = path.join(dir, 'jest.config.json');

    fs.mkdirSync(modules);
    fs.symlinkSync(ROOT, path.join(modules, 'mediasoup-horizontal'), 'dir');
    fs.writeFileSync(path.join(dir, 'app.test.js'), MAPPED_TEST);
    fs.writeFileSync(
      config,
      JSON.stringify({
        moduleNameMapper: {
          '^mediasoup$': 'mediasoup-horizontal/mock',
          '^mediasoup/(.*)$': 'mediasoup-horizontal/$1',
        },
      }),
    );

    expect(await runJest(config)).toMatchObject({ success: true, numPassedTests: 1 });
  },
  TIMEOUT_MS,
);
