'use strict';

const { spawn } = require('node:child_process');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { makeCertificate } = require('../../../conformance/certificate');
const { pause, within } = require('../../../examples/lib/deadline');
const { listDescendants } = require('../../../examples/lib/process-tree');
const { nativePid, startAgent, stopAgents } = require('./agents');

const APP = path.join(__dirname, 'app.js');
const AGENTS = 3;
const LOOK_MS = 20;
const OPEN_MS = 30_000;
/** After this much more than the session timeout, something is wrong. */
const PATIENCE_MS = 60_000;

/**
 * From SIGKILL to an app with a Worker on each of three agents until nothing of it is left there:
 * no worker process, no file, no descriptor, no port.
 *
 * @param {number} sessionTimeoutMs Of the agents.
 * @param {AbortSignal} signal
 * @returns {Promise<number>} Milliseconds.
 */
async function killApp(sessionTimeoutMs, signal) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mh-failover-'));
  const tmps = Array.from({ length: AGENTS }, (_, i) => path.join(folder, `agent-${i}`));

  tmps.forEach((tmp) => void fs.mkdirSync(tmp));

  const agents = tmps.map((tmp) =>
    startAgent({
      args: ['--max-workers', '1', '--session-timeout', String(sessionTimeoutMs / 1_000)],
      env: { ...process.env, TMPDIR: tmp },
    }),
  );
  /** @type {import('node:child_process').ChildProcess | undefined} */
  let app;

  try {
    const ready = await Promise.all(agents.map((agent) => agent.ready(signal)));
    const pids = agents.map(nativePid);
    const before = pids.map(countDescriptors);
    // Their admin sockets, which stay as long as they do.
    const own = tmps.map((tmp) => fs.readdirSync(tmp));

    app = spawn(process.execPath, [APP, ...writeCertificate(folder)], {
      env: { ...process.env, MEDIASOUP_HORIZONTAL_AGENTS: ready.map(({ url }) => url).join(',') },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ports = await within(readPorts(app), { ms: OPEN_MS, what: 'Workers of an app', signal });
    const left = () => [
      ...pids.flatMap(workersBelow).map((pid) => `worker ${pid}`),
      ...tmps.flatMap((tmp, i) => fs.readdirSync(tmp).filter((name) => !own[i]?.includes(name))),
      ...pids.filter((pid, i) => countDescriptors(pid) > (before[i] ?? 0)).map(() => 'descriptors'),
    ];

    // A worker and a folder of its own on each.
    if (left().length < AGENTS * 2 || ports.length !== AGENTS) {
      throw new Error(`the app has only ${left().join(', ')}`);
    }
    const start = performance.now();

    app.kill('SIGKILL');
    await goneWithin(left, sessionTimeoutMs + PATIENCE_MS, signal);
    const took = performance.now() - start;

    await Promise.all(ports.map(bindPort));

    return took;
  } finally {
    app?.kill('SIGKILL');
    await stopAgents(agents).finally(() => fs.rmSync(folder, { recursive: true, force: true }));
  }
}

/**
 * @param {() => string[]} left
 * @param {number} ms
 * @param {AbortSignal} signal
 */
async function goneWithin(left, ms, signal) {
  const end = performance.now() + ms;

  while (left().length > 0) {
    if (performance.now() > end) {
      throw new Error(`of a killed app there is left: ${left().join(', ')}`);
    }
    await pause(LOOK_MS, signal);
  }
}

/**
 * @param {number} pid
 * @returns {number[]} Its mediasoup-workers.
 */
function workersBelow(pid) {
  return listDescendants(pid)
    .filter(({ name }) => name.startsWith('mediasoup-worke'))
    .map((entry) => entry.pid);
}

/** @param {number} pid */
function countDescriptors(pid) {
  const folder = `/proc/${pid}/fd`;

  // Other systems than Linux have nothing of the kind.
  return fs.existsSync(folder) ? fs.readdirSync(folder).length : 0;
}

/**
 * @param {string} folder
 * @returns {string[]} Paths of the certificate and its key.
 */
function writeCertificate(folder) {
  const { certificate, privateKey } = makeCertificate();
  const paths = ['cert.pem', 'key.pem'].map((name) => path.join(folder, name));

  [certificate, privateKey].forEach((text, i) => {
    fs.writeFileSync(/** @type {string} */ (paths[i]), text, { mode: 0o600 });
  });

  return paths;
}

/**
 * @param {import('node:child_process').ChildProcess} app
 * @returns {Promise<number[]>} The UDP ports of its transports.
 */
async function readPorts(app) {
  const lines = readline.createInterface({
    input: /** @type {import('node:stream').Readable} */ (app.stdout),
  });
  const ended = once(app, 'exit').then(([code]) => {
    throw new Error(`the app ended with ${code}`);
  });

  ended.catch(() => {}); // It always ends at last.
  const [line] = await Promise.race([once(lines, 'line'), ended]);

  return JSON.parse(line).ports;
}

/**
 * Proves that a port is free.
 *
 * @param {number} port
 */
async function bindPort(port) {
  const socket = dgram.createSocket('udp4');

  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  socket.close();
}

module.exports = { killApp };
