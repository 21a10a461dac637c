'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

// Two rounds of waiting for the session timeout, one after the other, on a busy machine.
jest.setTimeout(180_000);

const BENCHES = path.join(__dirname, '..', '..', 'benches', 'run.js');
const SESSION_TIMEOUT_S = 5;

test('what is lost is noticed, and a lost host or app not before its time', async () => {
  const args = ['failover', '--rounds', '1', '--session-timeout', String(SESSION_TIMEOUT_S)];
  const bench = spawn(process.execPath, [BENCHES, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(bench, 'close');
  const [output, errors] = (
    await Promise.all([bench.stdout.toArray(), bench.stderr.toArray()])
  ).map((chunks) => Buffer.concat(chunks).toString());

  // Nothing is left of what it started, else it fails.
  expect([await ended, errors]).toEqual([[0, null], expect.not.stringContaining('error')]);

  /** @type {{ sessionTimeoutMs: number, results: import('../../benches/failover').Result[] }} */
  const { sessionTimeoutMs, results } = JSON.parse(output?.trim().split('\n').at(-1) ?? '');

  expect(sessionTimeoutMs).toBe(SESSION_TIMEOUT_S * 1_000);
  expect(results.map(({ what, boundsMs }) => [what, boundsMs[0]])).toEqual([
    ['an agent is killed: died', 0],
    ['an agent with a part is killed: its transport closed', 0],
    ['a host vanishes: disconnected', 0],
    ['a host vanishes: died', sessionTimeoutMs],
    ['an app is killed: nothing left on its agents', sessionTimeoutMs],
  ]);
  for (const { what, allMs, boundsMs, ok } of results) {
    const [ms = 0, ...others] = allMs;

    expect(others).toEqual([]);
    // How long it took is the machine's business, but never less.
    expect(ms).toBeGreaterThanOrEqual(boundsMs[0]);
    expect([what, ok]).toEqual([what, ms < boundsMs[1]]);
    expect(output).toContain(what);
  }
});
