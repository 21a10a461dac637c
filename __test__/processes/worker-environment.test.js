'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { until } = require('./lib/deadline');
const { IN_PLACE, OURS, OpenMode, WAITING, realWorkerBin } = require('./lib/modes');
const { environmentOf, realWorkers } = require('./lib/process-table');
const { WorkerLife } = require('./lib/worker-life');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const SECRET = 'a-token-that-nobody-must-see';

/** @type {string} */
let folder;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));
});

afterAll(() => {
  fs.rmSync(folder, { recursive: true });
});

describe.each(OURS)('$name', (mode) => {
  test('the worker sees neither the ticket nor a setting of ours', async () => {
    process.env.MEDIASOUP_HORIZONTAL_TOKEN = SECRET;
    process.env.MEDIASOUP_HORIZONTAL_LOG = 'warn';
    process.env.TEST_OF_ANOTHER = 'is inherited';
    const open = await OpenMode.open(mode);
    const life = await WorkerLife.start(open);
    const environment = environmentOf(life.realPid);

    // It says to a stub that is started as a worker what happened.
    const own = environment.filter((variable) => variable.startsWith('MEDIASOUP_HORIZONTAL_'));

    expect(own).toEqual(['MEDIASOUP_HORIZONTAL_WORKER=1']);
    expect(environment.join('\n')).not.toContain(SECRET);
    expect(environment).toContain('TEST_OF_ANOTHER=is inherited');
    expect(
      environment.filter((variable) => variable.startsWith('MEDIASOUP_VERSION=')),
    ).toHaveLength(1);
    await life.close();
    await open.close();
    delete process.env.MEDIASOUP_HORIZONTAL_TOKEN;
    delete process.env.MEDIASOUP_HORIZONTAL_LOG;
    delete process.env.TEST_OF_ANOTHER;
  });
});

describe.each([IN_PLACE, WAITING])('$name', (mode) => {
  const names = /** @type {const} */ ([
    'MEDIASOUP_USE_VALGRIND',
    'MEDIASOUP_VALGRIND_BIN',
    'MEDIASOUP_VALGRIND_OPTIONS',
  ]);

  afterEach(() => {
    for (const name of names) {
      delete process.env[name];
    }
  });

  test('valgrind wraps the worker and not the stub', async () => {
    const valgrind = path.join(folder, 'valgrind');
    const log = path.join(folder, `calls-${mode.inPlace}`);

    fs.writeFileSync(valgrind, `#!/bin/sh\necho "$@" >> '${log}'\nshift 2\nexec "$@"\n`, {
      mode: 0o755,
    });
    process.env.MEDIASOUP_USE_VALGRIND = 'true';
    process.env.MEDIASOUP_VALGRIND_BIN = valgrind;
    process.env.MEDIASOUP_VALGRIND_OPTIONS = '--leak-check=full --quiet';
    const open = await OpenMode.open(mode);
    const life = await WorkerLife.start(open, { logLevel: 'warn' });

    expect((await life.worker.dump()).pid).toBe(life.worker.pid);
    const [call, ...others] = fs.readFileSync(log, 'utf8').trim().split('\n');

    expect(call).toMatch(`--leak-check=full --quiet ${realWorkerBin} --logLevel=warn`);
    expect(others).toEqual([]);
    expect(process.env.MEDIASOUP_USE_VALGRIND).toBe('true');
    await life.close();
    await open.close();
    await until(() => realWorkers(open.mark).length === 0, 'the end of the worker');
  });
});
