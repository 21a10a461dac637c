'use strict';

/**
 * What the core offers to an app that means to leave a connection.
 */

const { createWorkerWith } = require('../js/create-worker');
const { loadBinding, stubPath, unwrap } = require('../js/native');
const { within } = require('./processes/lib/deadline');

/** @import { NativeCore } from '../js/native' */

jest.setTimeout(60_000);

/** @type {NativeCore} */
let core;
/** @type {ReturnType<typeof createWorkerWith>} */
let createWorker;

beforeEach(() => {
  const { NativeCore: Core } = loadBinding();

  core = new Core();
  const socket = unwrap(
    core.start(
      JSON.stringify({
        connectTimeoutMs: null,
        selfAddresses: [],
        announcedMode: null,
        environment: {},
        stub: stubPath,
        mediasoupDir: __dirname,
      }),
    ),
  );

  for (const name of ['a', 'b']) {
    unwrap(core.add(JSON.stringify({ type: 'mock', name, cores: null, region: null, cpu: null })));
  }
  createWorker = createWorkerWith(() => ({ core, socket, closed: () => false }));
});

afterEach(() => core.close());

/** @param {string} name */
function drained(name) {
  return within(
    new Promise((resolve) => {
      core.drained(name, resolve);
    }),
    `what becomes of ${name}`,
  );
}

test('nothing new goes there, and it tells once nothing is left', async () => {
  const worker = await createWorker();

  expect(core.whereIs(worker.pid)).toBe('a');
  expect(core.drain('a')).toBe(true);
  const other = await createWorker();
  const third = await createWorker();

  expect([core.whereIs(other.pid), core.whereIs(third.pid)]).toEqual(['b', 'b']);
  expect([core.workersLeft('a'), core.workersLeft('b')]).toEqual([1, 2]);
  const left = drained('a');

  worker.close();
  expect(await left).toBe(true);
  expect(core.workersLeft('a')).toBe(0);
});

test('it tells that it was taken back', async () => {
  const worker = await createWorker();

  core.drain('a');
  const left = drained('a');

  expect(core.undrain('a')).toBe(true);
  expect(await left).toBe(false);
  expect(await drained('a')).toBe(false);
  worker.close();
});

test('closing the core leaves everything', async () => {
  await createWorker();
  core.drain('a');
  const left = drained('a');

  core.close();
  expect(await left).toBe(true);
  expect(await drained('a')).toBe(true);
  expect([core.drain('a'), core.undrain('a'), core.workersLeft('a')]).toEqual([false, false, 0]);
});

test('it knows no other connections', async () => {
  expect([core.drain('c'), core.undrain('c'), core.workersLeft('c')]).toEqual([false, false, 0]);
  expect(await drained('c')).toBe(false);
});
