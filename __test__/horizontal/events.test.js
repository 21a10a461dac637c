'use strict';

const { execFile } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { promisify } = require('node:util');
const { Horizontal, MockConnection, RemoteConnection } = require('../..');
const { AgentProcess } = require('../processes/lib/agent-process');
const { within } = require('../processes/lib/deadline');
const { HeldLink } = require('../support/held-link');

const ROOT = path.join(__dirname, '..', '..');
const NOBODY = 'ws://127.0.0.1:1';

/** @type {Horizontal} */
let horizontal;

afterEach(() => horizontal?.close());

/**
 * All that it tells of its connections.
 *
 * @param {Horizontal} of
 * @returns {unknown[][]}
 */
function record(of) {
  /** @type {unknown[][]} */
  const told = [];

  for (const event of /** @type {const} */ ([
    'add',
    'delete',
    'connected',
    'disconnected',
    'reconnected',
    'refused',
    'unreachable',
    'full',
  ])) {
    of.on(event, (...args) => told.push([event, ...args]));
  }

  return told;
}

/**
 * @param {string} name
 * @returns {Promise<any[]>}
 */
const event = (name) => within(once(horizontal, name), `the event '${name}'`);

test('a connection that comes and goes is told, with its object', async () => {
  horizontal = new Horizontal([]);
  const told = record(horizontal);
  const a = new MockConnection({ name: 'a' });
  const gone = event('delete');

  await horizontal.add(a);
  await horizontal.delete(a);
  // Another one of the same name is not mixed up with it.
  const again = new MockConnection({ name: 'a', cores: 2 });

  await horizontal.add(again);
  await gone;
  if (told.length < 5) {
    await event('connected');
  }
  expect(told.map(([name]) => name)).toEqual(['add', 'connected', 'delete', 'add', 'connected']);
  expect(told.find(([name]) => name === 'delete')?.[1]).toBe(a);
  expect(told.at(-1)?.[1]).toBe(again);
});

test('connections of the constructor are told, and what keeps them away', async () => {
  horizontal = new Horizontal([new MockConnection(), NOBODY]);
  const told = record(horizontal);
  const [connection, error] = await event('unreachable');

  expect(connection).toMatchObject({ name: NOBODY, state: 'connecting' });
  expect(error).toBeInstanceOf(Error);
  expect(error.message).toBe(`${NOBODY}: connection refused`);
  expect(told.map(([name]) => name).sort()).toEqual(['add', 'add', 'connected', 'unreachable']);
});

test('a host without room is told, also where another one has some', async () => {
  const small = new MockConnection({ name: 'small', cores: 1 });

  horizontal = new Horizontal([small, new MockConnection({ name: 'large' })], {
    placement: (_, candidates) => candidates[0]?.name,
  });
  const full = event('full');

  const first = await horizontal.mediasoup.createWorker();
  const second = await horizontal.mediasoup.createWorker();

  expect(horizontal.whereIs(first)).toEqual({ connection: 'small' });
  expect(horizontal.whereIs(second)).toEqual({ connection: 'large' });
  const [connection, error] = await full;

  expect(connection).toBe(small);
  expect(error.message).toContain('small has no room');
});

test('an agent that is away, back, and not to be let in again', async () => {
  const agent = await AgentProcess.start({ args: ['--session-timeout', '60'] });
  const link = await HeldLink.open((await agent.ready()).url);

  try {
    const connection = new RemoteConnection({ url: link.url, silentWindowMs: 0 });

    horizontal = new Horizontal([connection]);
    const told = record(horizontal);

    await event('connected');
    const away = event('disconnected');

    link.down();
    const [gone, why] = await away;

    expect(gone).toBe(connection);
    expect(why).toBeInstanceOf(Error);
    expect(connection.state).toBe('disconnected');
    const back = event('reconnected');

    link.up();
    expect(await back).toEqual([connection]);
    expect(connection.state).toBe('connected');
    expect(told.map(([name]) => name)).toEqual(['add', 'connected', 'disconnected', 'reconnected']);
  } finally {
    horizontal.close();
    link.close();
    await agent.stop();
  }
});

test('an agent that does not let us in is told, and add() says why', async () => {
  const agent = await AgentProcess.start({
    env: { ...process.env, MEDIASOUP_HORIZONTAL_TOKEN: 'right' },
  });

  try {
    const { url } = await agent.ready();
    const connection = new RemoteConnection({ url, token: 'wrong' });

    horizontal = new Horizontal([connection]);
    const [refused, error] = await event('refused');

    expect(refused).toBe(connection);
    expect(error.message).toContain('does not take our token');
    expect(connection.state).toBe('refused');
    await horizontal.delete(connection);
    await expect(horizontal.add(connection)).rejects.toThrow('does not take our token');
    expect(horizontal.size).toBe(0);
  } finally {
    await agent.stop();
  }
});

test('a listener that throws keeps nobody else from hearing', async () => {
  horizontal = new Horizontal([]);
  const heard = jest.fn();

  horizontal.on('listenererror', heard);
  horizontal.on('add', () => {
    throw new Error('mine');
  });
  const connected = event('connected');

  await horizontal.add(new MockConnection());
  await connected;
  expect(heard).toHaveBeenCalledWith('add', expect.objectContaining({ message: 'mine' }));
});

test('its observer sees its own Workers only', async () => {
  horizontal = new Horizontal([new MockConnection({ name: 'a' })]);
  const other = new Horizontal([new MockConnection({ name: 'b' })]);
  const seen = jest.fn();

  horizontal.observer.on('newworker', seen);
  await other.mediasoup.createWorker();
  const worker = await horizontal.mediasoup.createWorker();

  expect(seen.mock.calls).toEqual([[worker]]);
  other.close();
});

/**
 * @param {string} code
 * @param {string[]} [flags]
 */
async function run(code, flags = []) {
  const all = [...flags, '--eval', `const { Horizontal, MockConnection } = require('.');${code}`];
  const { stdout } = await promisify(execFile)(process.execPath, all, {
    cwd: ROOT,
    timeout: 20_000,
  });

  return stdout.trim();
}

test('whoever listens may end all the same', async () => {
  const code = `
    const horizontal = new Horizontal([new MockConnection()]);
    horizontal.on('connected', ({ name }) => console.log(name));
    horizontal.on('newobject', () => {});
    horizontal.once('connected', () => clearTimeout(timer));
    const timer = setTimeout(() => {}, 15_000);`;

  expect(await run(code)).toBe('mock');
});

test('one that nobody uses any more is freed, whoever listened', async () => {
  const code = `
    const { setImmediate: turn } = require('node:timers/promises');
    const freed = [];
    const registry = new FinalizationRegistry((number) => freed.push(number));
    const awake = setInterval(() => {}, 1_000);
    (async () => {
      for (let number = 0; number < 20; number++) {
        const horizontal = new Horizontal([new MockConnection()]);
        horizontal.on('connected', () => horizontal.size);
        await new Promise((resolve) => horizontal.once('connected', resolve));
        registry.register(horizontal, number);
      }
      const end = Date.now() + 15_000;
      while (freed.length < 19 && Date.now() < end) {
        globalThis.gc();
        await turn();
      }
      console.log(freed.length >= 19);
      clearInterval(awake);
    })();`;

  expect(await run(code, ['--expose-gc'])).toBe('true');
});

test('a listener hears on while only a Worker is held', async () => {
  const code = `
    const { setImmediate: turn } = require('node:timers/promises');
    const { once } = require('node:events');
    (async () => {
      let told = 0;
      const worker = await (() => {
        const horizontal = new Horizontal([new MockConnection({ cores: 1 })], { maxParts: 1 });
        horizontal.on('delete', () => { told += 1; });
        globalThis.remove = horizontal.mediasoup.createWorker;
        setTimeout(() => horizontal.delete('mock'), 200);
        return horizontal.mediasoup.createWorker();
      })();
      const died = once(worker, 'died');
      for (let turns = 0; turns < 10; turns++) { globalThis.gc(); await turn(); }
      await died;
      while (told === 0) { globalThis.gc(); await turn(); }
      console.log(told);
      process.exit();
    })();`;

  expect(await run(code, ['--expose-gc'])).toBe('1');
});

test('removeAllListeners() removes them all, and later ones hear of objects again', async () => {
  horizontal = new Horizontal([new MockConnection()]);
  const before = horizontal.eventNames();
  const removed = jest.fn();

  for (const name of /** @type {const} */ (['add', 'newobject', 'closeobject'])) {
    horizontal.on(name, removed);
  }
  horizontal.removeAllListeners();
  expect(horizontal.eventNames()).toEqual(before);
  await horizontal.add(new MockConnection({ name: 'second' }));
  const born = event('newobject');

  await horizontal.mediasoup.createWorker();
  await born;
  horizontal.on('closeobject', removed);
  horizontal.removeAllListeners('closeobject');
  expect(horizontal.listenerCount('closeobject')).toBe(0);
  expect(removed).not.toHaveBeenCalled();
});
