'use strict';

const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { Horizontal, LocalConnection } = require('../..');
const { stubPath } = require('../../js/native');
const { AgentProcess } = require('../processes/lib/agent-process');
const { until, within } = require('../processes/lib/deadline');
const { MARK, marked, newMark } = require('../processes/lib/process-table');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const VARIABLES = /** @type {const} */ ([
  'MEDIASOUP_HORIZONTAL_CACHE',
  'MEDIASOUP_HORIZONTAL_WORKER_BIN',
  'MEDIASOUP_WORKER_BIN',
]);

/** @type {string} */
let folder;
/** @type {string[]} */
let logs;

beforeEach(() => {
  process.env[MARK] = newMark();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));
  logs = [];
  mediasoup.setLogEventListeners({ onerror: (_namespace, text) => logs.push(text) });
});

afterEach(async () => {
  const mark = String(process.env[MARK]);

  for (const name of VARIABLES) {
    delete process.env[name];
  }
  mediasoup.setLogEventListeners();
  fs.rmSync(folder, { recursive: true });
  await until(
    () => marked(mark).length === 0,
    () => `nothing left, there are ${JSON.stringify(marked(mark))}`,
  );
});

/**
 * @param {boolean} execInPlace
 * @param {string} [workerBin] Of the connection.
 */
async function createError(execInPlace, workerBin) {
  const horizontal = new Horizontal([new LocalConnection({ execInPlace, workerBin })]);
  const error = await within(
    horizontal.mediasoup.createWorker().then(
      () => new Error('a Worker was made'),
      (reason) => reason,
    ),
    'the refusal',
  );

  horizontal.close();
  expect(error).toBeInstanceOf(Error);

  return error.message;
}

describe.each([true, false])('exec in place: %s', (execInPlace) => {
  test('without any worker the error says how to get one', async () => {
    process.env.MEDIASOUP_HORIZONTAL_CACHE = folder;
    const message = await createError(execInPlace);

    expect(message).toContain('npx mediasoup-horizontal worker install');
    expect(message).toContain(mediasoup.version);
    expect(message).toContain(folder);
  });

  test.each([
    ['is missing', 'missing', 'ENOENT'],
    ['cannot be run', 'no-program', 'EACCES'],
  ])('a named worker that %s is an error that names it', async (_, name, code) => {
    const file = path.join(folder, name);

    if (name !== 'missing') {
      fs.writeFileSync(file, '', { mode: 0o644 });
    }
    process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN = `${mediasoup.version}=${file}`;
    const message = await createError(execInPlace);

    expect(message).toContain('MEDIASOUP_HORIZONTAL_WORKER_BIN');
    expect(message).toContain(file);
    expect(message).toContain(code);
  });

  test('a worker of another version is not taken', async () => {
    process.env.MEDIASOUP_HORIZONTAL_CACHE = folder;
    process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN = '3.0.0=/bin/true';
    const message = await createError(execInPlace);

    expect(message).toContain('is of version 3.0.0');
  });

  test('our own stub named as the worker is refused by name', async () => {
    process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN = `${mediasoup.version}=${stubPath}`;

    expect(await createError(execInPlace)).toContain('own stub, not a worker');
  });

  test('our own stub in MEDIASOUP_WORKER_BIN is passed over', async () => {
    process.env.MEDIASOUP_WORKER_BIN = stubPath;
    const horizontal = new Horizontal([new LocalConnection({ execInPlace })]);
    const worker = await horizontal.mediasoup.createWorker();
    const closed = once(worker, 'subprocessclose');

    expect((await worker.dump()).pid).toBe(worker.pid);
    worker.close();
    await within(closed, 'subprocessclose');
    horizontal.close();
  });

  test('a copy of our stub that is started as a worker says so', async () => {
    const copy = path.join(folder, 'worker');

    fs.copyFileSync(stubPath, copy);
    const message = await createError(execInPlace, copy);

    expect(message).toMatch(/^\[pid:\d+, code:1, signal:null\]$/);
    await until(
      () => logs.some((text) => text.includes('started where a real mediasoup-worker was')),
      () => `the word of the stub, heard ${logs}`,
    );
  });

  test("a worker that ends before it runs is told in mediasoup's words", async () => {
    expect(await createError(execInPlace, '/bin/false')).toMatch(
      /^\[pid:\d+, code:1, signal:null\]$/,
    );
  });
});

describe('an agent', () => {
  test('without any worker ends with one line that says how to get one', async () => {
    const agent = new AgentProcess({
      env: { ...process.env, MEDIASOUP_HORIZONTAL_CACHE: folder },
    });
    const { code, stderr, stdout } = await agent.ended();

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^mediasoup-horizontal-agent: .*npx mediasoup-horizontal worker install.*\n$/,
    );
  });

  test.each([
    ['a worker that is missing', ['--worker-bin', '3.27.1=/nonexistent/worker'], 'ENOENT', 1],
    ['a worker of no version', ['--worker-bin', '/bin/true'], 'nothing tells', 1],
    ['a worker of unknown schema', ['--worker-bin', '3.0.0=/bin/true'], 'channel schema', 1],
    [
      'a token file that is missing',
      ['--token-file', '/nonexistent/tokens'],
      '/nonexistent/tokens',
      1,
    ],
    ['an address off loopback and no token', ['--listen', '0.0.0.0:0'], 'without a token', 1],
    ['a listen address that is none', ['--listen', 'nowhere'], 'nowhere', 1],
    ['an option that it does not have', ['--frobnicate'], '--frobnicate', 2],
    ['a range that is none', ['--port-range', '9-8'], '9 is above 8', 2],
  ])('with %s ends with a line that names it', async (_, args, words, code) => {
    const listen = args[0] === '--listen' ? args[1] : '127.0.0.1:0';
    const agent = new AgentProcess({
      listen,
      args: args[0] === '--listen' ? [] : args,
    });
    const ended = await agent.ended();

    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr).toContain(words);
    if (code === 1) {
      expect(ended.stderr.trim().split('\n')).toHaveLength(1);
    }
  });

  test('on a port in use ends with one line that names it', async () => {
    const first = await AgentProcess.start();
    const { address } = await first.ready();
    const second = new AgentProcess({ listen: address });
    const { code, stderr } = await second.ended();

    expect(code).toBe(1);
    expect(stderr).toBe(
      `mediasoup-horizontal-agent: cannot listen on ${address}: ` +
        'the port is in use by another process\n',
    );
    await first.stop();
  });
});
