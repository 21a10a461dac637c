'use strict';

const { execFile } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { PassThrough } = require('node:stream');
const { promisify } = require('node:util');
const { Horizontal, IncompatibleConnectionError, LocalConnection, version } = require('../..');
const { makeCertificate } = require('../../conformance/certificate');
const { commandConnection } = require('../../examples/own-connection');
const { findProblems } = require('../../examples/lib/report');
const { runRoom } = require('../../examples/room');
const { installedWorker } = require('../../js/worker-binary/paths');
const { until, within } = require('../processes/lib/deadline');
const { MARK, isRunning, marked, newMark, realWorkers } = require('../processes/lib/process-table');

/** @import { UserConnection } from '../../js/user-connection' */
/** @import { types } from 'mediasoup-upstream' */

jest.setTimeout(60_000);

const ROOT = path.join(__dirname, '..', '..');
const workerBin = installedWorker(version);

/** @type {types.WebRtcTransportOptions} */
const WEBRTC = { listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] };

/** @type {Horizontal} */
let horizontal;
let mark = '';

beforeEach(() => {
  mark = newMark();
  process.env[MARK] = mark;
});

afterEach(async () => {
  horizontal?.close();
  await until(
    () => marked(mark).length === 0,
    () => `the end of ${JSON.stringify(marked(mark))}`,
  );
});

/** @param {Iterable<any>} connections */
function open(connections) {
  horizontal = new Horizontal(connections, { connectTimeoutMs: 5_000 });

  return horizontal;
}

/**
 * @param {string} [name]
 * @param {Partial<UserConnection>} [more]
 * @returns {UserConnection}
 */
const own = (name = 'own', more = {}) => ({ ...commandConnection({ name, workerBin }), ...more });

test('a room plays on two of them, media and all', async () => {
  const one = own('one', { capacity: 1 });

  open([one, own('two', { capacity: 1 })]);
  expect([...horizontal][0]).toBe(one);
  const report = await runRoom({
    mediasoup: horizontal.mediasoup,
    whereIs: (worker) => horizontal.whereIs(worker)?.connection ?? '',
    seconds: 2,
  });

  expect(findProblems(report)).toEqual([]);
  expect(report.producers.map(({ agent }) => agent)).toEqual(['one', 'one']);
  expect(report.consumers.map(({ agent }) => agent)).toEqual(['two', 'two']);
});

test('its workers end as mediasoup says it, whoever ends them', async () => {
  const close = jest.fn();

  open([own('own', { close })]);
  const { createWorker } = horizontal.mediasoup;
  const [killed, closed, deleted] = /** @type {[types.Worker, types.Worker, types.Worker]} */ (
    await Promise.all([createWorker(), createWorker(), createWorker()])
  );

  expect(horizontal.whereIs(killed)).toEqual({ connection: 'own' });
  expect((await killed.dump()).pid).toBe(killed.pid);
  const pids = realWorkers(mark);

  expect(pids).toHaveLength(3);
  const gone = once(closed, 'subprocessclose');

  closed.close();
  await within(gone, 'the end of the closed one');
  const died = once(killed, 'died');

  process.kill(killed.pid, 'SIGKILL');
  expect((await within(died, 'died'))[0].message).toContain('signal:SIGKILL');
  await until(() => pids.filter(isRunning).length === 1, 'the end of two workers');
  const last = once(deleted, 'died');

  expect(close).not.toHaveBeenCalled();
  expect(await horizontal.delete('own')).toBe(true);
  await within(last, 'died');
  await until(() => close.mock.calls.length > 0, 'close()');
  expect(pids.filter(isRunning)).toEqual([]);
  expect(close).toHaveBeenCalledTimes(1);
});

test('one that is killed from outside dies by that signal', async () => {
  open([own()]);
  const worker = await horizontal.mediasoup.createWorker();
  const died = once(worker, 'died');

  process.kill(/** @type {number} */ (realWorkers(mark)[0]), 'SIGKILL');
  expect((await within(died, 'died'))[0].message).toContain('signal:SIGKILL');
});

test('wrong settings are refused in mediasoup’s words, and certificates travel', async () => {
  open([own()]);
  const { createWorker } = horizontal.mediasoup;

  await expect(createWorker({ logLevel: /** @type {any} */ ('loud') })).rejects.toBeInstanceOf(
    TypeError,
  );
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));

  try {
    const { certificate, privateKey } = makeCertificate();
    const dtlsCertificateFile = path.join(folder, 'certificate.pem');
    const dtlsPrivateKeyFile = path.join(folder, 'key.pem');

    fs.writeFileSync(dtlsCertificateFile, certificate);
    fs.writeFileSync(dtlsPrivateKeyFile, privateKey);
    const worker = await createWorker({ dtlsCertificateFile, dtlsPrivateKeyFile });

    expect((await worker.dump()).pid).toBe(worker.pid);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('it stands beside the workers of this host', async () => {
  open([own('own', { capacity: 1 }), new LocalConnection()]);
  const workers = await Promise.all([1, 2, 3].map(() => horizontal.mediasoup.createWorker()));
  const places = workers.map((worker) => horizontal.whereIs(worker)?.connection);

  expect(places.filter((place) => place === 'own')).toHaveLength(1);
  expect(places.filter((place) => place === 'local')).toHaveLength(2);
  const routers = await Promise.all(workers.map((worker) => worker.createRouter()));
  const transports = await Promise.all(
    routers.map((router) => router.createWebRtcTransport(WEBRTC)),
  );

  for (const transport of transports) {
    expect(transport.iceCandidates[0]?.address).toBe('127.0.0.1');
  }
});

test('more bytes than any buffer holds pass both ways', async () => {
  open([own()]);
  const worker = await horizontal.mediasoup.createWorker();
  const router = await worker.createRouter();
  const calls = Array.from({ length: 500 }, async (_, i) => {
    const transport = await router.createWebRtcTransport({
      ...WEBRTC,
      appData: { i },
      enableSctp: true,
    });
    const dump = await transport.dump();

    transport.close();

    return dump.id === transport.id;
  });

  expect((await within(Promise.all(calls), '500 transports', 40_000)).every(Boolean)).toBe(true);
});

/**
 * What a spawn function gives that starts nothing.
 *
 * @returns {any}
 */
const hollow = () => ({
  pid: 7,
  input: new PassThrough(),
  output: new PassThrough(),
  kill: () => {},
  exited: new Promise(() => {}),
});

test.each([
  [
    'throws',
    () => () => {
      throw new Error('no network');
    },
    'spawn() failed: no network',
  ],
  [
    'rejects',
    () => async () => {
      throw 'a text';
    },
    'spawn() failed: a text',
  ],
  [
    'throws what has no text',
    () => () => {
      throw Object.create(null);
    },
    'spawn() failed: [Object: null prototype] {}',
  ],
  ['gives nothing', () => () => undefined, 'pid of what it gives must be a process id'],
  ['gives no pid', () => () => ({ ...hollow(), pid: 'x' }), 'pid of what it gives'],
  ['gives no input', () => () => ({ ...hollow(), input: {} }), 'input of what it gives'],
  ['gives no output', () => () => ({ ...hollow(), output: null }), 'output of what it gives'],
  ['gives no kill', () => () => ({ ...hollow(), kill: 1 }), 'kill of what it gives'],
  ['gives no exited', () => () => ({ ...hollow(), exited: 1 }), 'exited of what it gives'],
  ['never answers', () => () => new Promise(() => {}), 'spawn() gave no worker within 500ms', 500],
])(
  'a spawn() that %s is told by createWorker',
  async (_, spawn, words, connectTimeoutMs = 5_000) => {
    const connection = { name: 'broken', spawn: /** @type {any} */ (spawn()) };

    horizontal = new Horizontal([connection], { connectTimeoutMs });
    const error = await within(
      horizontal.mediasoup.createWorker().catch((/** @type {unknown} */ reason) => reason),
      'the refusal',
    );

    expect(error).toBeInstanceOf(Error);
    expect(/** @type {Error} */ (error).message).toContain('broken');
    expect(/** @type {Error} */ (error).message).toContain(words);
  },
);

test('a worker that says nonsense, ends its output or lets a stream fail dies', async () => {
  /** @type {any[]} */
  const made = [];
  const kills = jest.fn();
  const connection = {
    name: 'hollow',
    spawn() {
      /** @type {any} */
      const end = {};

      end.promise = new Promise((resolve) => Object.assign(end, { resolve }));
      const channel = {
        ...hollow(),
        kill(/** @type {string} */ signal) {
          kills(signal);
          end.resolve({ code: 1 });
        },
        exited: end.promise,
      };

      made.push(channel);

      return channel;
    },
  };

  open([connection]);
  const spoil = [
    (/** @type {PassThrough} */ output) => void output.write(Buffer.alloc(64, 0xff)),
    (/** @type {PassThrough} */ output) => void output.destroy(new Error('cut')),
    (/** @type {PassThrough} */ output) => void output.end(),
  ];
  const creating = spoil.map(() => horizontal.mediasoup.createWorker().catch((error) => error));

  await until(() => made.length === spoil.length, 'the channels');
  for (const [i, how] of spoil.entries()) {
    how(made[i].output);
  }
  for (const error of await within(Promise.all(creating), 'the end of all', 20_000)) {
    expect(error).toBeInstanceOf(Error);
  }
  expect(kills).toHaveBeenCalledWith('SIGKILL');
});

test('a channel whose streams tell no errors is refused, and its worker killed', async () => {
  const kill = jest.fn();
  const input = { write() {}, end() {} };

  open([{ name: 'mute', spawn: () => ({ ...hollow(), input, kill }) }]);
  await expect(horizontal.mediasoup.createWorker()).rejects.toThrow(
    'input of what it gives must be a stream to write to',
  );
  expect(kill).toHaveBeenCalledWith('SIGKILL');
});

test('a wrong connection is refused in words', async () => {
  open([]);
  const spawn = hollow;

  for (const [connection, words] of /** @type {[any, string][]} */ ([
    [{ spawn }, 'name must be a string'],
    [{ name: 'x', spawn, capacity: 0 }, 'the connection x: capacity must be a whole number'],
    [{ name: 'x', spawn, load: 1 }, 'load must be a function'],
    [{ name: 'x', spawn, close: 1 }, 'close must be a function'],
    [{ name: 'x', spawn, version: 3 }, 'version must be a string'],
    [{ name: 'x', spawn, addresses: { bind: ['host'] } }, 'addresses.bind must be a list of IP'],
    [{ name: 'x', spawn, addresses: { bind: [], pipe: 'h' } }, 'addresses.pipe must be an IP'],
  ])) {
    await expect(horizontal.add(connection)).rejects.toThrow(words);
  }
  await expect(horizontal.add({ name: 'x', spawn, version: '3.0.0' })).rejects.toBeInstanceOf(
    IncompatibleConnectionError,
  );
  expect(horizontal.size).toBe(0);
});

test('placement hears of its load, its cores and its region', async () => {
  /** @type {any[]} */
  const seen = [];
  const load = () => ({ cpu: { [realWorkers(mark)[0] ?? 0]: 0.5 }, others: [1.25] });

  horizontal = new Horizontal([own('own', { load, cores: 4, capacity: 9, region: 'eu' })], {
    region: 'eu',
    placement: (_, candidates) => void seen.push(...candidates),
  });
  await until(async () => {
    const worker = await horizontal.mediasoup.createWorker();
    const gone = once(worker, 'subprocessclose');

    worker.close();
    await gone;

    return (seen.at(-1)?.cpu ?? 0) >= 1.25;
  }, 'the load');
  expect(seen.at(-1)).toMatchObject({ name: 'own', cores: 4, maxWorkers: 9, near: true });
});

test('addresses of its own are what clients get', async () => {
  const addresses = { bind: ['127.0.0.1'], announced: ['media.example'], behindNat: true };

  open([own('own', { addresses })]);
  const worker = await horizontal.mediasoup.createWorker();
  const router = await worker.createRouter();
  const transport = await router.createWebRtcTransport({
    listenInfos: [{ protocol: 'udp', ip: '0.0.0.0', announcedAddress: undefined }],
  });

  expect(transport.iceCandidates[0]?.address).toBe('media.example');
});

test('the end of the app is the end of its workers', async () => {
  const code = `
    const { Horizontal } = require('.');
    const { commandConnection } = require('./examples/own-connection');
    const workerBin = ${JSON.stringify(workerBin)};
    const horizontal = new Horizontal([commandConnection({ name: 'own', workerBin })]);
    horizontal.mediasoup.createWorker().then(() => process.exit(0));`;

  await promisify(execFile)(process.execPath, ['--eval', code], { cwd: ROOT, timeout: 20_000 });
  await until(() => realWorkers(mark).length === 0, 'the end of the worker');
});
