'use strict';

const { once } = require('node:events');
const upstream = require('mediasoup-upstream');
const { Horizontal, LocalConnection, MockConnection, RemoteConnection, errors } = require('../..');
const { within } = require('../processes/lib/deadline');

/** @import { HorizontalOptions } from '../../js/horizontal' */

/** A port where nobody listens. */
const NOBODY = 'ws://127.0.0.1:1';

/** @type {Horizontal} */
let horizontal;

/**
 * @param {Iterable<any>} connections
 * @param {HorizontalOptions} [options]
 */
function open(connections, options) {
  horizontal = new Horizontal(connections, { connectTimeoutMs: 5_000, ...options });

  return horizontal;
}

afterEach(() => horizontal.close());

/** @param {string} name */
const mock = (name) => new MockConnection({ name });

const names = () => [...horizontal].map(({ name }) => name);

test('it is a Set of connections, in the order in which they came', async () => {
  const [a, b, c] = [mock('a'), mock('b'), mock('c')];

  open([b, a]);
  expect(horizontal.size).toBe(2);
  expect([...horizontal]).toEqual([b, a]);
  expect(await horizontal.add(c)).toBe(c);
  expect([...horizontal.values()]).toEqual([b, a, c]);
  expect([...horizontal.keys()]).toEqual([b, a, c]);
  expect([...horizontal.entries()]).toEqual([b, a, c].map((one) => [one, one]));
  expect(new Set(horizontal)).toEqual(new Set([a, b, c]));
  const seen = /** @type {unknown[][]} */ ([]);
  const that = {};

  horizontal.forEach(
    /** @this {unknown} */
    function each(...args) {
      seen.push([this, ...args]);
    },
    that,
  );
  expect(seen).toEqual([b, a, c].map((one) => [that, one, one, horizontal]));
  expect(seen[0]?.[1]).toBe(b);
  // One may change the set while walking it.
  for (const connection of horizontal) {
    expect(await horizontal.delete(connection)).toBe(true);
  }
  expect(horizontal.size).toBe(0);
  await horizontal.add(a);
  await horizontal.clear();
  expect(names()).toEqual([]);
});

test('one is found by itself, by its like, and by its name or URL', async () => {
  const b = mock('b');

  open([b, NOBODY]);
  for (const given of [b, mock('b'), 'b', NOBODY, `${NOBODY}/`, ` ${NOBODY}`]) {
    expect(horizontal.has(given)).toBe(true);
  }
  expect(horizontal.has(new RemoteConnection({ url: NOBODY }))).toBe(true);
  for (const given of [
    'a',
    mock('a'),
    new MockConnection({ name: 'b', cores: 2 }),
    new RemoteConnection({ url: NOBODY, token: 'another' }),
    /** @type {any} */ ({}),
    /** @type {any} */ (undefined),
  ]) {
    expect(horizontal.has(given)).toBe(false);
    expect(await horizontal.delete(given)).toBe(false);
  }
  expect(await horizontal.delete('b')).toBe(true);
  expect(await horizontal.delete(b)).toBe(false);
  expect(horizontal.has(b)).toBe(false);
  expect(await horizontal.delete(NOBODY)).toBe(true);
});

test('the same one twice is the one that is there; another of its name is refused', async () => {
  const first = mock('a');

  open([]);
  const [one, two] = await Promise.all([horizontal.add(first), horizontal.add(mock('a'))]);

  expect(one).toBe(first);
  expect(two).toBe(first);
  expect(await horizontal.add(first)).toBe(first);
  const other = new MockConnection({ name: 'a', cores: 2 });

  await expect(horizontal.add(other)).rejects.toThrow(
    'there is a connection a already, with other settings: delete it first',
  );
  expect([...horizontal]).toEqual([first]);
  expect(() => new Horizontal([first, other])).toThrow('there is a connection a already');
});

test('each connection says how it stands', async () => {
  const [connection, away] = [mock('a'), new RemoteConnection({ url: NOBODY })];

  expect([connection.name, connection.state]).toEqual(['a', 'new']);
  expect([away.name, away.state]).toEqual([NOBODY, 'new']);
  open([connection, away]);
  expect(connection.state).toBe('connected');
  expect(away.state).toBe('connecting');
  await horizontal.delete(connection);
  expect(connection.state).toBe('closed');
  // Another one of its name is not this one.
  await horizontal.add(mock('a'));
  expect(connection.state).toBe('closed');
  horizontal.close();
  expect(away.state).toBe('closed');
});

test('what cannot be reached within the connect timeout stays out', async () => {
  open([mock('a')], { connectTimeoutMs: 500 });
  const adding = horizontal.add(NOBODY);

  expect(horizontal.size).toBe(1);
  expect(horizontal.has(NOBODY)).toBe(false);
  await expect(within(adding, 'the refusal')).rejects.toThrow(`${NOBODY}: connection refused`);
  expect(names()).toEqual(['a']);
  // A next time is a fresh one.
  await expect(within(horizontal.add(NOBODY), 'the refusal')).rejects.toThrow('refused');
});

test('what is on its way in can be deleted', async () => {
  open([], { connectTimeoutMs: 60_000 });
  const connection = new RemoteConnection({ url: NOBODY });
  const adding = horizontal.add(connection);

  expect(connection.state).toBe('connecting');
  expect(await horizontal.delete(connection)).toBe(true);
  await expect(within(adding, 'the rejection')).rejects.toThrow(
    `${NOBODY} was deleted before it was connected`,
  );
  expect(connection.state).toBe('closed');
});

test.each([[undefined], [null], [7], [{}], [{ name: 'x' }], [() => {}], ['b']])(
  'add(%p) is refused in words',
  async (given) => {
    open([]);
    await expect(horizontal.add(/** @type {any} */ (given))).rejects.toThrow(
      typeof given === 'string' ? 'not a URL' : 'a connection must be a URL',
    );
    expect(horizontal.size).toBe(0);
  },
);

test('a mediasoup module stands for the workers of this host', async () => {
  open([upstream]);
  const [connection] = horizontal;

  expect(connection).toBeInstanceOf(LocalConnection);
  expect(connection?.name).toBe('local');
  expect(horizontal.has(upstream)).toBe(true);
  expect(await horizontal.add(upstream)).toBe(connection);
  const worker = await horizontal.mediasoup.createWorker();

  expect(horizontal.whereIs(worker)).toEqual({ connection: 'local' });
  const died = once(worker, 'died');

  expect(await horizontal.delete(upstream)).toBe(true);
  await within(died, 'died');
});

test('delete() with drain waits for the last Worker, and nothing new goes there', async () => {
  open([mock('a')]);
  const worker = await horizontal.mediasoup.createWorker();
  const leaving = horizontal.delete('a', { drain: true });
  const settled = jest.fn();

  leaving.then(settled);
  await horizontal.add(mock('b'));
  const second = await horizontal.mediasoup.createWorker();

  expect(horizontal.whereIs(second)).toEqual({ connection: 'b' });
  expect(horizontal.has('a')).toBe(true);
  expect((await horizontal.stats()).connections).toMatchObject([
    { name: 'a', draining: true },
    { name: 'b', draining: false },
  ]);
  expect(worker.died).toBe(false);
  expect(settled).not.toHaveBeenCalled();
  worker.close();
  expect(await within(leaving, 'the end of a')).toBe(true);
  expect(names()).toEqual(['b']);
  // Where nothing lives there is nothing to wait for.
  second.close();
  expect(await within(horizontal.delete('b', { drain: true }), 'the end of b')).toBe(true);
});

test('one that drains leaves at its deadline, or stays if it is added again', async () => {
  const a = mock('a');

  open([a]);
  const worker = await horizontal.mediasoup.createWorker();
  const died = jest.fn();

  worker.on('died', died);
  const leaving = horizontal.delete(a, { drain: true });

  expect(await horizontal.add(a)).toBe(a);
  expect(await within(leaving, 'the answer')).toBe(false);
  expect(horizontal.has(a)).toBe(true);
  const second = await horizontal.mediasoup.createWorker();

  expect(horizontal.whereIs(second)).toEqual({ connection: 'a' });
  expect(died).not.toHaveBeenCalled();
  const ends = Promise.all([once(worker, 'died'), once(second, 'died')]);

  expect(await within(horizontal.delete(a, { drain: true, timeoutMs: 1 }), 'the end')).toBe(true);
  await within(ends, 'the death of both');
  expect(horizontal.size).toBe(0);
  await expect(horizontal.delete(a, { drain: true, timeoutMs: -1 })).resolves.toBe(false);
  await horizontal.add(a);
  await expect(horizontal.delete(a, { drain: true, timeoutMs: Number.NaN })).rejects.toThrow(
    'timeoutMs must be a number of milliseconds',
  );
});

test('a deadline farther away than a timer can be is not now', async () => {
  const a = mock('a');

  open([a]);
  const worker = await horizontal.mediasoup.createWorker();
  const setTimer = jest.spyOn(global, 'setTimeout');

  try {
    const leaving = horizontal.delete(a, { drain: true, timeoutMs: 2 ** 31 });

    // Node.js takes what is longer for 1.
    await jest.requireActual('node:timers/promises').setImmediate();
    for (const [, ms] of setTimer.mock.calls) {
      expect(ms).toBeLessThan(2 ** 31);
    }
    expect(setTimer).toHaveBeenCalled();
    worker.close();
    expect(await within(leaving, 'the end')).toBe(true);
  } finally {
    setTimer.mockRestore();
  }
});

test('connections come and go while a room runs', async () => {
  open([mock('a')], { placement: 'scatter', maxParts: 4 });
  const worker = await horizontal.mediasoup.createWorker();
  const died = jest.fn();

  worker.on('died', died);
  const mediaCodecs = [
    /** @type {const} */ ({ kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 }),
  ];
  const router = await worker.createRouter({ mediaCodecs });
  const listen = { listenInfos: [/** @type {const} */ ({ protocol: 'udp', ip: '127.0.0.1' })] };
  const first = await router.createWebRtcTransport(listen);
  const producer = await first.produce({
    kind: 'audio',
    rtpParameters: {
      mid: '0',
      codecs: [{ mimeType: 'audio/opus', payloadType: 100, clockRate: 48000, channels: 2 }],
      encodings: [{ ssrc: 11111111 }],
    },
  });

  for (const name of ['b', 'c']) {
    await horizontal.add(mock(name));
    const transport = await router.createWebRtcTransport(listen);
    await transport.consume({
      producerId: producer.id,
      rtpCapabilities: router.rtpCapabilities,
    });
    const gone = once(transport, 'dtlsstatechange');

    expect((await router.dump()).transportIds).toContain(transport.id);
    await horizontal.delete(name);
    // What was there is gone, and the room goes on.
    expect(await within(gone, 'the end of the transport')).toEqual(['closed']);
    expect((await within(first.dump(), 'a dump')).id).toBe(first.id);
  }
  expect(died).not.toHaveBeenCalled();
});

test('a closed one is empty, and takes nothing', async () => {
  const a = mock('a');

  open([a], { connectTimeoutMs: 60_000 });
  const adding = horizontal.add(NOBODY);
  const worker = await horizontal.mediasoup.createWorker();
  const leaving = horizontal.delete(a, { drain: true });
  const died = once(worker, 'died');

  horizontal.close();
  await expect(within(adding, 'the rejection')).rejects.toBeInstanceOf(errors.WorkerClosedError);
  expect(await within(leaving, 'the answer')).toBe(true);
  expect([horizontal.size, horizontal.has(a), names()]).toEqual([0, false, []]);
  expect(await horizontal.delete(a)).toBe(false);
  await horizontal.clear();
  await expect(horizontal.add(a)).rejects.toThrow('this Horizontal is closed');
  await within(died, 'died');
});

test('what the environment names is in the set', () => {
  process.env.MEDIASOUP_HORIZONTAL_AGENTS = `${NOBODY}, ws://127.0.0.1:2`;
  try {
    horizontal = new Horizontal();
    expect(names()).toEqual([NOBODY, 'ws://127.0.0.1:2']);
    expect(horizontal.has(new RemoteConnection({ url: NOBODY }))).toBe(true);
    expect([...horizontal][0]).toBe([...horizontal][0]);
    expect([...horizontal][0]).toMatchObject({ name: NOBODY, state: 'connecting' });
  } finally {
    delete process.env.MEDIASOUP_HORIZONTAL_AGENTS;
  }
});
