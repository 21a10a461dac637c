'use strict';

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const JEST = path.join(path.dirname(require.resolve('jest/package.json')), 'bin', 'jest.js');
const CONFIG = path.join(__dirname, '..', '..', 'examples', 'jest-mock', 'jest.config.js');
const TIMEOUT_MS = 60_000;

test(
  "a user's tests run on the mock, leave no handle open and let jest end",
  async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-jest-mock-'));
    const outputFile = path.join(dir, 'result.json');

    try {
      // Rejects unless jest ends by itself, and well.
      const { stderr } = await promisify(execFile)(
        process.execPath,
        [
          JEST,
          '--config',
          CONFIG,
          '--runInBand',
          '--detectOpenHandles',
          '--json',
          '--outputFile',
          outputFile,
        ],
        { timeout: TIMEOUT_MS },
      );
      const result = JSON.parse(fs.readFileSync(outputFile, 'utf8'));

      expect(result).toMatchObject({ success: true, numPassedTests: 7, numTotalTests: 7 });
      expect(result.openHandles).toEqual([]);
      expect(stderr).not.toMatch(/open handle|did not exit/);
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  },
  TIMEOUT_MS,
);
