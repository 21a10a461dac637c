'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const { stubPath } = require('../../js/native');
const { within } = require('./lib/deadline');
const { OpenMode, WAITING } = require('./lib/modes');
const { environmentOf } = require('./lib/process-table');
const { WorkerLife } = require('./lib/worker-life');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** @type {OpenMode} */
let open;
/** A Worker whose stub knows the core's socket and a ticket that is used. @type {WorkerLife} */
let life;
/** @type {Record<string, string>} */
let environment;

beforeAll(async () => {
  open = await OpenMode.open(WAITING);
  life = await WorkerLife.start(open);
  environment = Object.fromEntries(
    environmentOf(life.worker.pid)
      .filter((variable) => variable.startsWith('MEDIASOUP_'))
      .map((variable) => variable.split(/=(.*)/s)),
  );
});

afterAll(async () => {
  await life.close();
  await open.close();
});

/** @param {Record<string, string>} [changes] */
async function runStub(changes) {
  const stub = spawn(stubPath, [], {
    env: { ...environment, ...changes },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  });
  let stderr = '';

  stub.stderr?.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const [code] = await within(once(stub, 'close'), 'the end of the stub');

  return { code, stderr };
}

test('a ticket works once', async () => {
  expect(environment.MEDIASOUP_HORIZONTAL_TICKET).toMatch(/[0-9a-f]{32,}$/);
  expect(await runStub()).toEqual({
    code: 1,
    stderr: "mediasoup-horizontal: the core in the app's process hung up\n",
  });

  // The Worker that the ticket was for knows nothing of it.
  expect((await life.worker.dump()).pid).toBe(life.worker.pid);
  expect(life.events).toEqual([]);
});

test.each(['0-00', '', '\u00e9'.repeat(10_000)])(
  'a made-up ticket gets nothing (%#)',
  async (ticket) => {
    const before = life.worker.pid;

    expect(await runStub({ MEDIASOUP_HORIZONTAL_TICKET: ticket })).toMatchObject({ code: 1 });
    expect((await life.worker.dump()).pid).toBe(before);
  },
);

test('a stub whose core is gone says so', async () => {
  expect(await runStub({ MEDIASOUP_HORIZONTAL_SOCKET: '@mediasoup-horizontal-nobody' })).toEqual({
    code: 1,
    stderr: expect.stringMatching(
      /^mediasoup-horizontal: cannot reach the core in the app's process: .*refused.*\n$/,
    ),
  });
});

test('the socket is gone with its Horizontal', async () => {
  const other = await OpenMode.open(WAITING);
  const worker = await WorkerLife.start(other);
  const [line] = environmentOf(worker.worker.pid).filter((variable) =>
    variable.startsWith('MEDIASOUP_HORIZONTAL_SOCKET='),
  );
  const name = line.split('=')[1];

  expect(fs.readFileSync('/proc/net/unix', 'utf8')).toContain(name);
  await worker.close();
  await other.close();

  expect(fs.readFileSync('/proc/net/unix', 'utf8')).not.toContain(name);
});
