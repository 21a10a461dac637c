'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');

const ROUNDS = 1_000;
const PROGRAM = path.join(__dirname, 'fixtures', 'mock-rounds.js');
const TIMEOUT_MS = 300_000;

/**
 * A round makes 17 objects of mediasoup. V8 and the allocator are never quite still; any one of
 * these objects that stayed would show, at some kilobytes each.
 */
const HEAP_SLACK = 2_000_000;
const RSS_SLACK = 16_000_000;

/** @typedef {{ heap: number, rss: number, fds: number }} Measured */

test(
  '1,000 rounds of making and closing everything leave nothing behind, nor do 40 Workers',
  async () => {
    // Ends by itself, or it does not resolve.
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ['--expose-gc', PROGRAM, String(ROUNDS)],
      { timeout: TIMEOUT_MS },
    );
    /** @type {{ before: Measured, afterRounds: Measured, afterWorkers: Measured, open: object,
     *  left: object }} */
    const { before, afterRounds, afterWorkers, open, left } = JSON.parse(stdout);

    expect(stderr).toBe('');
    for (const after of [afterRounds, afterWorkers]) {
      expect(after.fds).toBe(before.fds);
      expect(after.heap - before.heap).toBeLessThan(HEAP_SLACK);
      expect(after.rss - before.rss).toBeLessThan(RSS_SLACK);
    }
    expect(open).toEqual({ workers: 2 });
    expect(left).toEqual({});
  },
  TIMEOUT_MS,
);
