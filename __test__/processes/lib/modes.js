'use strict';

const mediasoup = require('mediasoup-upstream');
const { Horizontal, LocalConnection } = require('../../..');
const { stubPath } = require('../../../js/native');
const { installedWorker } = require('../../../js/worker-binary/paths');
const { AgentProcess } = require('./agent-process');
const { MARK, newMark } = require('./process-table');

/** @import { types } from 'mediasoup-upstream' */

/**
 * How an app gets its Workers.
 *
 * @typedef {object} Mode
 * @property {string} name
 * @property {boolean} remote Whether they run through an agent.
 * @property {boolean} inPlace Whether the process that mediasoup spawns is the worker itself.
 * @property {string} [workerBin] What an unmodified mediasoup is to spawn.
 */

/** A real worker, as set-up found or built it. */
const realWorkerBin = installedWorker(mediasoup.version);

/** mediasoup as it is, which all others must equal. @type {Mode} */
const PLAIN = {
  name: 'mediasoup alone',
  remote: false,
  inPlace: true,
  workerBin: realWorkerBin,
};

/** @type {Mode} */
const IN_PLACE = { name: 'exec in place', remote: false, inPlace: true };

/** @type {Mode} */
const WAITING = { name: 'waiting stub', remote: false, inPlace: false };

/** @type {Mode} */
const AGENT = { name: 'one agent', remote: true, inPlace: false };

/** @type {Mode} */
const BARE_STUB = {
  name: 'stub under an unmodified mediasoup',
  remote: false,
  inPlace: true,
  workerBin: stubPath,
};

/** @type {Mode} */
const BARE_STUB_AGENT = {
  name: 'stub under an unmodified mediasoup, one agent',
  remote: true,
  inPlace: false,
  workerBin: stubPath,
};

const OURS = [IN_PLACE, WAITING, AGENT, BARE_STUB, BARE_STUB_AGENT];
const ALL = [PLAIN, ...OURS];

/**
 * A mode at work in this process.
 */
class OpenMode {
  #horizontal;

  /**
   * @param {Mode} mode
   * @param {string} mark What every process of it carries.
   * @param {AgentProcess} [agent]
   * @param {string} [url]
   */
  constructor(mode, mark, agent, url) {
    this.mode = mode;
    this.mark = mark;
    this.agent = agent;
    this.url = url;
    this.#horizontal = mode.workerBin
      ? undefined
      : new Horizontal([url ?? new LocalConnection({ execInPlace: mode.inPlace })]);
  }

  /**
   * @param {Mode} mode
   * @param {string[]} [agentArgs]
   * @returns {Promise<OpenMode>}
   */
  static async open(mode, agentArgs = []) {
    const mark = newMark();

    // All that is started from here on carries it.
    process.env[MARK] = mark;
    const agent = mode.remote
      ? await AgentProcess.start({ args: ['--max-workers', '64', ...agentArgs] })
      : undefined;

    return new OpenMode(mode, mark, agent, await agent?.url());
  }

  /**
   * @param {types.WorkerSettings} [settings]
   * @returns {Promise<types.Worker>}
   */
  createWorker(settings) {
    const { workerBin } = this.mode;

    if (this.#horizontal) {
      return this.#horizontal.mediasoup.createWorker(settings);
    }
    const saved = { ...process.env };

    Object.assign(process.env, appVariables(this.mode, this.url));

    try {
      return mediasoup.createWorker({ ...settings, workerBin });
    } finally {
      // mediasoup has read them: it spawns before it first awaits.
      for (const name of Object.keys(process.env)) {
        delete process.env[name];
      }
      Object.assign(process.env, saved);
    }
  }

  async close() {
    this.#horizontal?.close();
    await this.agent?.stop();
  }
}

/**
 * What tells an app in a process of its own to run in that mode.
 *
 * @param {Mode} mode
 * @param {string} [url] Of the agent.
 * @returns {Record<string, string>}
 */
function appVariables(mode, url) {
  return {
    ...(url && { MEDIASOUP_HORIZONTAL_AGENTS: url }),
    // Nobody shares a worker, however few cores there are: each is to end alone.
    ...(mode === WAITING && {
      MEDIASOUP_HORIZONTAL_EXEC_IN_PLACE: '0',
      MEDIASOUP_HORIZONTAL_WORKERS_PER_HOST: '64',
    }),
    ...(mode === IN_PLACE && { MEDIASOUP_HORIZONTAL_EXEC_IN_PLACE: '1' }),
    ...(mode.workerBin && { TEST_APP_WORKER_BIN: mode.workerBin }),
  };
}

module.exports = {
  AGENT,
  ALL,
  BARE_STUB,
  BARE_STUB_AGENT,
  IN_PLACE,
  OURS,
  OpenMode,
  PLAIN,
  WAITING,
  appVariables,
  realWorkerBin,
};
