'use strict';

const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Horizontal, IncompatibleConnectionError, LocalConnection, version } = require('../..');
const { installedWorker } = require('../../js/worker-binary/paths');
const { AgentProcess } = require('../processes/lib/agent-process');
const { within } = require('../processes/lib/deadline');
const { RawAgent, message } = require('../processes/lib/raw-agent');
const { trueWelcome } = require('../processes/lib/true-welcome');

/** @import { HorizontalOptions } from '../../js/horizontal' */

const CONNECT_TIMEOUT_MS = 5_000;

/** What a true agent says to a hello. @type {Record<string, any>} */
let welcome;
/** The fingerprint of the library's channel schema. */
let schema = '';
/** @type {string} */
let folder;
/** @type {Horizontal} */
let horizontal;

beforeAll(async () => {
  ({ welcome, schema } = await trueWelcome());
});

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));
});

afterEach(() => {
  horizontal?.close();
  fs.rmSync(folder, { recursive: true });
});

/** @param {HorizontalOptions} [options] */
function open(options) {
  horizontal = new Horizontal([], { connectTimeoutMs: CONNECT_TIMEOUT_MS, ...options });

  return horizontal;
}

/**
 * What add() says to an agent whose welcome has these changes.
 *
 * @param {object} changes
 * @param {HorizontalOptions} [options]
 */
async function addAgent(changes, options) {
  const answers = [message(JSON.stringify({ ...welcome, ...changes }))];
  const { agent, url } = await RawAgent.start(answers);

  try {
    const added = open(options).add(url);

    return await within(
      added.then(
        () => 'added',
        (/** @type {unknown} */ error) => error,
      ),
      'add()',
    );
  } finally {
    agent.stop();
  }
}

test('every difference of an agent is listed, with both sides and why', async () => {
  const error = await addAgent({
    protocol: 7,
    features: ['load'],
    workers: [
      { version: '3.19.4', schema: 'f00d' },
      { version: '3.20.0', schema: 'beef' },
    ],
  });

  expect(error).toBeInstanceOf(IncompatibleConnectionError);
  if (!(error instanceof IncompatibleConnectionError)) {
    return;
  }
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe('IncompatibleConnectionError');
  expect(error.differences.map(({ what, ours, theirs }) => [what, ours, theirs])).toEqual([
    ['protocol', '1 to 1', '7'],
    ['features', 'load, resume', 'load'],
    ['mediasoup version', version, '3.19.4, 3.20.0'],
    ['channel schema', schema, 'f00d of 3.19.4'],
    ['pipes', 'as from 3.24.1 on', 'as before 3.19.5'],
  ]);
  for (const { what, ours, theirs, why } of error.differences) {
    expect(why).not.toBe('');
    expect(error.message).toContain(`${what}: here ${ours}, there ${theirs} (${why})`);
  }
  expect(horizontal.size).toBe(0);
});

test.each([
  ['no worker at all', () => ({ workers: [] }), ['workers']],
  ['its schema', () => ({ workers: [{ version, schema: 'f00d' }] }), ['channel schema']],
  ['its version', () => ({ workers: [{ version: '3.27.0', schema }] }), ['mediasoup version']],
  ['a newer protocol', () => ({ protocol: 2 }), ['protocol']],
  ['features that are missing', () => ({ features: [] }), ['features']],
])('an agent that differs in %s stays out', async (_, changes, expected) => {
  const error = await addAgent(changes());

  expect(error).toBeInstanceOf(IncompatibleConnectionError);
  expect(
    /** @type {IncompatibleConnectionError} */ (error).differences.map(({ what }) => what),
  ).toEqual(expected);
});

test.each(
  /** @type {[string, { workers?: string, features?: null }, string, string][]} */ ([
    ['one of several fits', { workers: 'both' }, 'strict', 'added'],
    ['features are not told, as by an older agent', { features: null }, 'strict', 'added'],
    ['another version has schema and pipes', { workers: '3.26.0' }, 'pipes', 'added'],
    ['another version has schema and pipes', { workers: '3.26.0' }, 'strict', 'refused'],
    ['another version has the schema only', { workers: '3.24.0' }, 'schema', 'added'],
    ['another version has the schema only', { workers: '3.24.0' }, 'pipes', 'refused'],
  ]),
)('where %s, %j at %s is %s', async (_, { workers, ...changes }, level, expected) => {
  const both = ['3.24.0', version].map((one) => ({ version: one, schema }));
  const offers = workers === 'both' ? both : [{ version: workers, schema }];
  const result = await addAgent(
    { ...changes, ...(workers && { workers: offers }) },
    { compatibility: /** @type {HorizontalOptions['compatibility']} */ (level) },
  );

  if (expected === 'added') {
    expect(result).toBe('added');
  } else {
    expect(result).toBeInstanceOf(IncompatibleConnectionError);
  }
});

test('one of the constructor that does not fit is told by an event, and takes no Workers', async () => {
  const answers = [message(JSON.stringify({ ...welcome, workers: [] }))];
  const { agent, url } = await RawAgent.start(answers);

  try {
    horizontal = new Horizontal([url], { connectTimeoutMs: 1_000 });
    const [connection, error] = await within(once(horizontal, 'incompatible'), 'the event');

    expect(connection).toMatchObject({ name: url, state: 'refused' });
    expect(error).toBeInstanceOf(IncompatibleConnectionError);
    expect(error.differences).toHaveLength(1);
    await expect(horizontal.mediasoup.createWorker()).rejects.toThrow('no mediasoup-worker');
    expect(horizontal.has(url)).toBe(true);
  } finally {
    agent.stop();
  }
});

/**
 * A worker binary with a manifest of its own.
 *
 * @param {string} of Its version.
 * @param {string} fingerprint
 */
function worker(of, fingerprint) {
  const binary = path.join(folder, of, 'mediasoup-worker');

  fs.mkdirSync(path.dirname(binary));
  fs.symlinkSync(installedWorker(version), binary);
  fs.writeFileSync(
    path.join(folder, of, 'manifest.json'),
    JSON.stringify({ version: of, schema: fingerprint }),
  );

  return binary;
}

/** @param {string[]} versions */
async function agentWith(...versions) {
  const args = versions.flatMap((of) => ['--worker-bin', `${of}=${worker(of, schema)}`]);
  const env = { ...process.env, MEDIASOUP_HORIZONTAL_CACHE: folder };
  const agent = await AgentProcess.start({ args, env });

  return { agent, url: (await agent.ready()).url };
}

test('an agent with several versions serves each app with its own', async () => {
  const { agent, url } = await agentWith('3.20.0', version, '3.26.0');

  try {
    await open().add(url);
    const made = await within(horizontal.mediasoup.createWorker(), 'createWorker');

    expect((await made.dump()).pid).toBe(made.pid);
  } finally {
    horizontal.close();
    await agent.stop();
  }
});

test('an agent with another version only serves an app that says so', async () => {
  const { agent, url } = await agentWith('3.26.0');

  try {
    await expect(open().add(url)).rejects.toThrow(
      `mediasoup version: here ${version}, there 3.26.0`,
    );
    horizontal.close();
    await open({ compatibility: 'pipes' }).add(url);
    const made = await within(horizontal.mediasoup.createWorker(), 'createWorker');

    expect((await made.dump()).pid).toBe(made.pid);
  } finally {
    horizontal.close();
    await agent.stop();
  }
});

test('a local worker of another version is refused, by the module or by its manifest', async () => {
  const module = { version: '3.26.0', workerBin: '/nowhere', createWorker: () => {} };

  await expect(open().add(module)).rejects.toBeInstanceOf(IncompatibleConnectionError);
  const local = new LocalConnection({ workerBin: worker('3.26.0', schema) });

  await expect(horizontal.add(local)).rejects.toThrow('mediasoup version');
  expect(() => new Horizontal([local])).toThrow(IncompatibleConnectionError);
  horizontal.close();
  await open({ compatibility: 'pipes' }).add(local);
  const made = await within(horizontal.mediasoup.createWorker(), 'createWorker');

  expect(horizontal.whereIs(made)).toEqual({ connection: 'local' });
});

test('a wrong level is refused at once', () => {
  expect(() => new Horizontal([], { compatibility: /** @type {any} */ ('loose') })).toThrow(
    "options.compatibility must be 'strict', 'pipes' or 'schema', got 'loose'",
  );
  process.env.MEDIASOUP_HORIZONTAL_COMPATIBILITY = 'loose';
  try {
    expect(() => new Horizontal([new LocalConnection()])).toThrow(
      'MEDIASOUP_HORIZONTAL_COMPATIBILITY=loose: it is one of strict, pipes, schema',
    );
  } finally {
    delete process.env.MEDIASOUP_HORIZONTAL_COMPATIBILITY;
  }
});
