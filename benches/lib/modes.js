'use strict';

const fs = require('node:fs');
const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { AgentProcess } = require('../../examples/lib/agent-process');
const { within } = require('../../examples/lib/deadline');
const { listDescendants } = require('../../examples/lib/process-tree');
const { LocalConnection } = require('../../js/connections');
const { Horizontal } = require('../../js/horizontal');
const { installedWorker, upstreamDir, versionOf } = require('../../js/worker-binary/paths');
const { makeRivalSubject, startRival } = require('../rival/client');
const { cpuOfProcess, cpuOfThreads, listCoreThreads } = require('./cpu');
const { makeSubject } = require('./subject');

/** @import { ConnectionLike } from '../../js/horizontal' */
/** @import { CpuClock } from './cpu' */
/** @import { Subject } from './subject' */

/**
 * What is measured.
 *
 * @typedef {object} Mode
 * @property {string} text
 * @property {(signal: AbortSignal) => Promise<OpenMode>} open
 */

/**
 * @typedef {object} OpenMode
 * @property {Subject} subject
 * @property {CpuClock} [otherCpu] Of the further process on the path: the agent or the rival.
 * @property {CpuClock} [coreCpu] Of the core's thread in this process.
 * @property {() => Promise<void>} close
 */

const CLI = path.join(__dirname, '..', '..', 'js', 'cli.js');
const OPEN_MS = 30_000;

/** Without it the results mean nothing. */
const BASELINE = 'plain';

/** @type {Record<string, Mode>} */
const MODES = {
  plain: { text: 'mediasoup itself', open: openPlain },
  local: {
    text: 'ours on this host, the stub becoming the worker',
    open: () => openHorizontal(new LocalConnection({ execInPlace: true })),
  },
  stub: {
    text: 'ours on this host, the stub waiting beside the worker',
    open: () => openHorizontal(new LocalConnection({ execInPlace: false })),
  },
  agent: { text: 'ours through one agent on loopback', open: openAgent },
  proxy: { text: 'a plain JSON-RPC proxy: mediasoup in another process', open: openProxy },
};

/** @returns {string} The mediasoup-worker that every mode uses. */
function workerBin() {
  const worker =
    process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN ?? installedWorker(versionOf(upstreamDir()));

  if (!fs.existsSync(worker)) {
    throw new Error(`there is no mediasoup-worker at ${worker}; scripts/setup installs it`);
  }

  return worker;
}

/** @returns {Promise<OpenMode>} */
async function openPlain() {
  const worker = await mediasoup.createWorker({ workerBin: workerBin() });

  return { subject: await makeSubject(worker), close: async () => worker.close() };
}

/**
 * @param {ConnectionLike} connection
 * @returns {Promise<OpenMode>}
 */
async function openHorizontal(connection) {
  const before = listCoreThreads();
  const horizontal = new Horizontal([connection]);

  try {
    const worker = await horizontal.mediasoup.createWorker();
    const threads = listCoreThreads().filter((thread) => !before.includes(thread));

    return {
      subject: await makeSubject(worker),
      coreCpu: cpuOfThreads(threads),
      close: async () => {
        worker.close();
        horizontal.close();
      },
    };
  } catch (error) {
    horizontal.close();
    throw error;
  }
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<OpenMode>}
 */
async function openAgent(signal) {
  const agent = new AgentProcess(CLI);

  try {
    const { url } = await agent.ready(signal);
    // The command runs the agent itself as its child.
    const [native] = listDescendants(agent.pid ?? 0);
    const mode = await openHorizontal(url);

    return {
      ...mode,
      otherCpu: native && cpuOfProcess(native.pid),
      close: async () => {
        await mode.close();
        await agent.stop();
      },
    };
  } catch (error) {
    await agent.stop().catch(() => {}); // The first error tells more.
    throw error;
  }
}

/** @returns {Promise<OpenMode>} */
async function openProxy() {
  const { client, pid } = await startRival();

  try {
    return {
      subject: await makeRivalSubject(client, workerBin()),
      otherCpu: cpuOfProcess(pid),
      close: async () => client.close(),
    };
  } catch (error) {
    client.close();
    throw error;
  }
}

/**
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {Promise<OpenMode>}
 */
async function openMode(name, signal) {
  const mode = /** @type {Mode} */ (MODES[name]);

  return within(mode.open(signal), { ms: OPEN_MS, what: `opening mode ${name}`, signal });
}

module.exports = { BASELINE, MODES, openMode, workerBin };
