'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { stubPath } = require('../js/native');
const { installedWorker, upstreamDir, versionOf } = require('../js/worker-binary/paths');
const { ROOT } = require('./workspace');

/**
 * What is tested.
 *
 * @typedef {object} Mode
 * @property {string} text
 * @property {boolean} ours Whether the tests get our module instead of mediasoup's.
 * @property {number} agents How many are started.
 * @property {() => NodeJS.ProcessEnv} env
 * @property {string} [index] File of the module that they get. Default: the package's own.
 * @property {true} [skipsKnown] Whether known failures are not even run.
 * @property {true} [cuts] Whether the links to the agents are cut all the time.
 * @property {Again} [again] Default: each test, once.
 *
 * @typedef {object} Again Which failed tests are run again, alone.
 * @property {string[]} tests Titles.
 * @property {number} times At most.
 */

/** @type {Record<string, Mode>} */
const MODES = {
  plain: {
    text: 'mediasoup itself, the baseline',
    ours: false,
    agents: 0,
    env: () => ({ MEDIASOUP_WORKER_BIN: realWorker() }),
  },
  local: {
    text: 'our module, nothing configured',
    ours: true,
    agents: 0,
    env: () => ({}),
  },
  home: {
    text: 'our module, every Router on one worker, which the spawned process becomes',
    ours: true,
    agents: 0,
    env: () => ({ MEDIASOUP_HORIZONTAL_PLACEMENT: 'home' }),
  },
  mock: {
    text: 'the mock, without media',
    ours: true,
    agents: 0,
    env: () => ({}),
    index: path.join('js', 'subpaths', 'mock.js'),
    // They wait for media, or leave open what should have failed.
    skipsKnown: true,
  },
  agent: {
    text: 'our module and one agent',
    ours: true,
    agents: 1,
    env: () => ({}),
  },
  agents: {
    text: 'our module and three agents',
    ours: true,
    agents: 3,
    env: () => ({}),
  },
  cut: {
    text: 'our module and three agents, whose links are all cut for 100 ms once a second',
    ours: true,
    agents: 3,
    env: () => ({}),
    cuts: true,
    // They wait 100 ms for an event, which comes later while a link is down.
    again: {
      tests: [
        'test-Consumer: producer.pause() and resume() emit events',
        'test-DataConsumer: dataProducer.pause() and resume() emit events',
      ],
      times: 3,
    },
  },
  scatter: {
    text: 'our module, three agents, every transport on another worker than the one before',
    ours: true,
    agents: 3,
    env: () => ({
      MEDIASOUP_HORIZONTAL_PLACEMENT: 'scatter',
      MEDIASOUP_HORIZONTAL_MAX_PARTS: '3',
    }),
  },
  shared: {
    text: 'our module and one agent, all Workers on one mediasoup-worker',
    ours: true,
    agents: 1,
    env: () => ({ MEDIASOUP_HORIZONTAL_WORKERS_PER_HOST: '1' }),
  },
  stub: {
    text: 'mediasoup itself with the stub as its worker, and three agents',
    ours: false,
    agents: 3,
    env: () => ({ MEDIASOUP_WORKER_BIN: stubPath }),
  },
};

/** What a run sets itself, so that the caller's own values must not reach it. */
const RESERVED = [
  'MEDIASOUP_BUILDTYPE',
  'MEDIASOUP_WORKER_BIN',
  'MEDIASOUP_HORIZONTAL_AGENTS',
  'MEDIASOUP_HORIZONTAL_MAX_PARTS',
  'MEDIASOUP_HORIZONTAL_PLACEMENT',
  'MEDIASOUP_HORIZONTAL_REGION',
  'MEDIASOUP_HORIZONTAL_SOCKET',
  'MEDIASOUP_HORIZONTAL_TICKET',
  'MEDIASOUP_HORIZONTAL_WATERMARK',
  'MEDIASOUP_HORIZONTAL_WORKERS_PER_HOST',
];

/** The worker that the caller named with mediasoup's own variable. */
const named = process.env.MEDIASOUP_WORKER_BIN;

/**
 * A mediasoup-worker, no stub.
 *
 * @returns {string}
 */
function realWorker() {
  const worker =
    process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN ??
    named ??
    installedWorker(versionOf(upstreamDir()));

  if (!fs.existsSync(worker)) {
    throw new Error(`there is no mediasoup-worker at ${worker}; scripts/setup installs it`);
  }

  return worker;
}

/**
 * The environment in which jest runs.
 *
 * @param {Mode} mode
 * @param {object} options
 * @param {import('./workspace').Workspace} options.workspace
 * @param {string[]} options.urls Of the agents.
 * @returns {NodeJS.ProcessEnv}
 */
function environmentOf(mode, { workspace, urls }) {
  return {
    ...process.env,
    ...mode.env(),
    ...(urls.length > 0 && { MEDIASOUP_HORIZONTAL_AGENTS: urls.join(',') }),
    MEDIASOUP_CONFORMANCE_DIR: workspace.dir,
    MEDIASOUP_CONFORMANCE_TEST_DIR: workspace.testDir,
    ...(mode.ours && { MEDIASOUP_CONFORMANCE_INDEX: path.join(ROOT, mode.index ?? 'index.js') }),
  };
}

/** Forgets what the caller's environment says about matters that a mode decides. */
function clearReserved() {
  for (const name of RESERVED) {
    delete process.env[name];
  }
}

module.exports = { MODES, clearReserved, environmentOf };
