'use strict';

const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { version } = require('mediasoup-upstream');
const { stubPath } = require('../../js/native');
const { AgentProcess } = require('../processes/lib/agent-process');
const { until, within } = require('../processes/lib/deadline');
const {
  killAll,
  marked,
  markedEnv,
  newMark,
  realWorkers,
} = require('../processes/lib/process-table');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** @import { Readable, Writable } from 'node:stream' */

/** Longest message of mediasoup, with its prefix. */
const MESSAGE_MAX = 8_388_608;

/** @type {string} */
let mark;

beforeEach(() => {
  mark = newMark();
});

/**
 * The stub as mediasoup starts it, with the channel in the hands of the test.
 */
class Stub {
  said = Buffer.alloc(0);
  stderr = '';
  #child;
  #ended;

  /**
   * @param {Record<string, string>} variables
   * @param {('ignore' | 'pipe')[]} [channel]
   */
  constructor(variables, channel = ['pipe', 'pipe']) {
    this.#child = spawn(stubPath, ['--logLevel=warn'], {
      env: { ...markedEnv(mark), ...variables },
      stdio: ['ignore', 'ignore', 'pipe', ...channel],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    const [, , , input, output] = this.#child.stdio;

    // It may end while we write.
    input?.on('error', () => {});
    output?.on('error', () => {});
    /** @type {Readable | undefined} */ (output)?.on('data', (bytes) => {
      this.said = Buffer.concat([this.said, bytes]);
    });
    this.#ended = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  get input() {
    return /** @type {Writable} */ (this.#child.stdio[3]);
  }

  ended() {
    return within(this.#ended, 'the end of the stub');
  }

  async running() {
    await until(
      () => this.said.length > 0,
      () => `the first word of a worker, stderr ${this.stderr}`,
    );
  }
}

describe('a stub', () => {
  test.each([
    ['without a version', {}, 41, 'without MEDIASOUP_VERSION'],
    ['of another mediasoup', { MEDIASOUP_VERSION: '3.0.1' }, 1, '3.0.1'],
    ['of a mediasoup whose version is no text', { MEDIASOUP_VERSION: '\u00ff\n' }, 1, version],
    [
      'where a real worker was expected',
      { MEDIASOUP_VERSION: version, MEDIASOUP_HORIZONTAL_WORKER: '1' },
      1,
      'npx mediasoup-horizontal worker install',
    ],
  ])('%s ends with a word and no message', async (_, variables, code, words) => {
    const stub = new Stub(/** @type {any} */ (variables));

    expect(await stub.ended()).toEqual({ code, signal: null });
    expect(stub.stderr).toMatch(/^mediasoup-horizontal: /);
    expect(stub.stderr).toContain(words);
    expect(stub.said).toHaveLength(0);
  });

  test('of another mediasoup names both versions in one line', async () => {
    const stub = new Stub({ MEDIASOUP_VERSION: '3.0.1' });

    await stub.ended();
    expect(stub.stderr.split('\n')).toEqual([expect.stringMatching(/3\.0\.1.*3\.27\.1/), '']);
  });

  test('without a channel says so', async () => {
    const stub = new Stub({ MEDIASOUP_VERSION: version }, []);

    expect(await stub.ended()).toEqual({ code: 1, signal: null });
    expect(stub.stderr).toContain('fds 3 and 4 are not open');
  });
});

/** What is no message, and what the core says to it. */
const GARBAGE = /** @type {[string, Buffer, string][]} */ ([
  ['a message longer than any', prefixed(MESSAGE_MAX, Buffer.alloc(16)), 'announces 8388608 bytes'],
  ['a message of 4 GB', prefixed(0xffffffff, Buffer.alloc(16)), 'announces 4294967295 bytes'],
  ['an empty message', prefixed(0, Buffer.alloc(0)), 'announces 0 bytes'],
  ['zeros as a message', prefixed(1_000, Buffer.alloc(1_000)), 'malformed'],
  ['random bytes as a message', prefixed(1_000, randomBytes(1_000)), 'malformed'],
]);

describe('a stub that is its own core, behind an agent', () => {
  /** @type {AgentProcess} */
  let agent;
  /** @type {string} */
  let agentMark;

  beforeAll(async () => {
    agentMark = newMark();
    agent = await AgentProcess.start({ env: markedEnv(agentMark), args: ['--max-workers', '8'] });
  });

  afterEach(async () => {
    await until(
      () => marked(mark).length === 0 && realWorkers(agentMark).length === 0,
      () => `nothing left, there are ${JSON.stringify([...marked(mark), ...marked(agentMark)])}`,
    );
  });

  afterAll(async () => {
    expect(await agent.stop()).toMatchObject({ code: 0 });
  });

  async function start() {
    const stub = new Stub({
      MEDIASOUP_VERSION: version,
      MEDIASOUP_HORIZONTAL_AGENTS: await agent.url(),
    });

    await stub.running();

    return stub;
  }

  test.each(GARBAGE)(
    'says what is wrong with %s, and no worker dies of it',
    async (_, bytes, words) => {
      const stub = await start();

      stub.input.write(bytes);
      await until(
        () => stub.stderr.includes(words),
        () => `${words}, heard ${stub.stderr}`,
      );
      // What is no channel at all ends it; a bad message alone does not.
      stub.input.end();
      const { code, signal } = await stub.ended();

      expect(['SIGSEGV', 'SIGABRT']).not.toContain(signal);
      expect([0, 1, null]).toContain(code);
    },
  );

  test('takes the end in the middle of a message for the end', async () => {
    const stub = await start();

    stub.input.end(prefixed(1_000, Buffer.alloc(10)));
    expect(await stub.ended()).toEqual({ code: 0, signal: null });
  });
});

describe('a stub without a core and without an agent', () => {
  afterEach(async () => {
    await until(() => marked(mark).length === 0, 'the end of all processes').finally(() =>
      killAll(marked(mark).map(({ pid }) => pid)),
    );
  });

  test("is mediasoup's own worker, garbage or not", async () => {
    const stub = new Stub({ MEDIASOUP_VERSION: version });

    await stub.running();
    expect(realWorkers(mark)).toHaveLength(1);
    stub.input.end(prefixed(1_000, Buffer.alloc(10)));
    expect(await stub.ended()).toEqual({ code: 0, signal: null });
  });

  test('says how to get a worker when there is none', async () => {
    const stub = new Stub({
      MEDIASOUP_VERSION: version,
      MEDIASOUP_HORIZONTAL_CACHE: '/nonexistent/cache',
      MEDIASOUP_WORKER_BIN: stubPath,
    });

    expect(await stub.ended()).toEqual({ code: 1, signal: null });
    expect(stub.stderr).toContain('npx mediasoup-horizontal worker install');
  });
});

/**
 * @param {number} length What the prefix says.
 * @param {Buffer} bytes
 */
function prefixed(length, bytes) {
  const prefix = Buffer.alloc(4);

  prefix.writeUInt32LE(length);

  return Buffer.concat([prefix, bytes]);
}
