'use strict';

/** Agents behind a name, as apps name them. */

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { Horizontal, RemoteConnection } = require('..');
const { stubPath } = require('../js/native');
const { TestAgent } = require('./support/agent');

const TIMEOUT_MS = 30_000;
const APP = path.join(__dirname, 'fixtures', 'app.js');

/** @type {TestAgent} */
let agent;
/** What the agent is called by its name. @type {string} */
let named;

beforeAll(async () => {
  agent = await TestAgent.start();
  named = `dns+${agent.url.replace('127.0.0.1', 'localhost')}`;
}, TIMEOUT_MS);

afterAll(() => agent.stop());

test(
  'Workers of an app that names a name are on the agents behind it',
  async () => {
    const connection = new RemoteConnection({ url: named, token: agent.token });
    const horizontal = new Horizontal([connection], { connectTimeoutMs: TIMEOUT_MS });

    try {
      const worker = await horizontal.mediasoup.createWorker();

      expect(horizontal.whereIs(worker)).toEqual({ connection: agent.url });
      expect([...horizontal.keys()].map(({ name }) => name)).toContain(agent.url);
    } finally {
      horizontal.close();
    }
  },
  TIMEOUT_MS,
);

test.each([
  ['the environment names it', {}],
  ['mediasoup is unmodified', { TEST_APP_WORKER_BIN: stubPath }],
])(
  'so they are where %s',
  async (_, more) => {
    const env = {
      ...process.env,
      MEDIASOUP_HORIZONTAL_AGENTS: named,
      MEDIASOUP_HORIZONTAL_TOKEN: agent.token,
      // There is no worker to be had but the agent's.
      MEDIASOUP_HORIZONTAL_WORKER_BIN: '/nonexistent/mediasoup-worker',
      ...more,
    };
    const { stdout } = await promisify(execFile)(process.execPath, [APP, 'close', '2'], {
      env,
      timeout: TIMEOUT_MS,
    });

    expect(stdout).toContain('"event":"closed"');
  },
  TIMEOUT_MS,
);

test('add() takes one agent, and no name', async () => {
  const horizontal = new Horizontal([]);

  try {
    await expect(horizontal.add(named)).rejects.toThrow('give it to the constructor');
    expect(horizontal.size).toBe(0);
  } finally {
    horizontal.close();
  }
});

test(
  'a name that nothing answers is told by createWorker()',
  async () => {
    const horizontal = new Horizontal(['dns+ws://agents.invalid:4480'], { connectTimeoutMs: 100 });

    try {
      await expect(horizontal.mediasoup.createWorker()).rejects.toThrow(
        /dns\+ws:\/\/agents\.invalid:4480: /,
      );
    } finally {
      horizontal.close();
    }
  },
  TIMEOUT_MS,
);
