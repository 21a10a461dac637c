'use strict';

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { version } = require('../package.json');
const { keepRunning, listDescendants } = require('../examples/lib/process-tree');

const CLI = path.join(__dirname, '..', 'js', 'cli.js');
const HANDLERS_AT_SPAWN = path.join(__dirname, 'fixtures', 'handlers-at-spawn.js');
const TIMEOUT_MS = 20_000;
const POLL_MS = 20;

/** @param {string[]} args */
function run(...args) {
  const options = { encoding: /** @type {const} */ ('utf8'), timeout: TIMEOUT_MS };
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], options);

  return { status, stdout, stderr };
}

test('tells the version', () => {
  expect(run('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
});

test('tells how it is used', () => {
  const { status, stdout } = run('--help');

  expect(status).toBe(0);
  expect(stdout).toMatch(/^Usage: mediasoup-horizontal/);
});

test('tells an absolute path that can be run as mediasoup-worker', () => {
  const { status, stdout } = run('worker-bin');

  expect(status).toBe(0);
  fs.accessSync(stdout.trimEnd(), fs.constants.X_OK);
  expect(path.isAbsolute(stdout)).toBe(true);
});

test.each([
  [[], 'a command is missing'],
  [['dance'], 'unknown command dance'],
  [['worker'], 'worker needs install or path'],
  [['worker', 'dance'], 'unknown command worker dance'],
  [['worker', 'path', '--force'], 'worker path takes no --force'],
  [['worker-bin', 'x'], 'worker-bin takes no x'],
])('refuses %j', (args, problem) => {
  const { status, stdout, stderr } = run(...args);

  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toContain(problem);
});

describe('agent', () => {
  /** @type {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, null>} */
  let child;
  /** @type {import('../examples/lib/process-tree').ProcessEntry[]} */
  let native;

  beforeEach(async () => {
    child = spawn(process.execPath, [CLI, 'agent', '--listen', '127.0.0.1:0'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = await once(readline.createInterface({ input: child.stdout }), 'line');

    expect(JSON.parse(line)).toMatchObject({ event: 'ready' });
    native = listDescendants(/** @type {number} */ (child.pid));
    // The agent and its watchdog.
    expect(native.map(({ parent }) => parent)).toEqual([child.pid, native[0].pid]);
  }, TIMEOUT_MS);

  afterEach(() => {
    child.kill('SIGKILL');
  });

  test.each(/** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))(
    'ends in order on %s',
    async (signal) => {
      child.kill(signal);

      expect(await once(child, 'exit')).toEqual([0, null]);
      expect(keepRunning(native)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    'does not outlive its command',
    async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');

      while (keepRunning(native).length > 0) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    },
    TIMEOUT_MS,
  );
});

test('the agent is passed every signal from its first moment on', () => {
  const args = ['--require', HANDLERS_AT_SPAWN, CLI, 'agent'];
  const { status, stdout } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });

  expect([status, stdout]).toEqual([0, 'SIGHUP SIGINT SIGTERM\n']);
});

test('the exit status of the agent is passed on', () => {
  const { status, stderr } = run('agent', '--no-such-option');

  expect(status).toBe(2);
  expect(stderr).toContain('--no-such-option');
});
