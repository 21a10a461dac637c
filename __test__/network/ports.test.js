'use strict';

const { eventOf } = require('../support/events');
const { Fleet } = require('./lib/fleet');
const { hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { checkCandidates, checkPlain } = require('./lib/reach');

/** @import { Router, TransportListenInfo, Worker, WorkerSettings } from 'mediasoup-upstream/types' */

const { afterAll, afterEach, beforeAll, describe, test } = onNetwork(__filename);

const MIN = 42000;
const MAX = 42019;

/** Shares five ports with the agents' range. */
const WIDE = { min: 10000, max: MIN + 4 };
const OUTSIDE = { min: 10000, max: 10009 };

/** @type {Fleet} */
let fleet;
/** @type {Worker[]} */
const workers = [];

beforeAll(async () => {
  const range = ['--port-range', `${MIN}-${MAX}`];

  fleet = await Fleet.open({
    agents: [
      { host: hosts.agent1, args: range },
      { host: hosts.agent2, args: [...range, '--port-policy', 'strict'] },
    ],
  });
});

afterEach(async () => {
  // Ports of one test must be free for the next.
  const gone = workers.map((worker) => eventOf(worker, 'subprocessclose'));

  for (const worker of workers.splice(0)) {
    worker.close();
  }
  await Promise.all(gone);
});

afterAll(() => fleet?.close());

/**
 * @param {WorkerSettings} [settings]
 * @returns {Promise<{ remapping: Worker, strict: Worker }>}
 */
async function openWorkers(settings) {
  const opened = /** @type {[Worker, Worker]} */ (await fleet.workers(settings));

  workers.push(...opened);

  return { remapping: opened[0], strict: opened[1] };
}

/**
 * @param {Router} router
 * @param {Partial<TransportListenInfo>} [ports]
 */
function plain(router, ports) {
  return router.createPlainTransport({
    listenInfo: { protocol: 'udp', ip: '127.0.0.1', ...ports },
    comedia: true,
  });
}

/** @param {number} port */
function expectInRange(port, max = MAX) {
  expect(port).toBeGreaterThanOrEqual(MIN);
  expect(port).toBeLessThanOrEqual(max);
}

describe('a fixed port on an agent that remaps', () => {
  test('is kept while it is free', async () => {
    const { remapping } = await openWorkers();
    const transport = await plain(await remapping.createRouter(), { port: MIN + 1 });

    expect(transport.tuple.localPort).toBe(MIN + 1);
    await checkPlain(transport);
  });

  test('that is taken becomes another one', async () => {
    const { remapping } = await openWorkers();
    const router = await remapping.createRouter();
    const first = await plain(router, { port: MIN + 2 });
    const second = await plain(router, { port: MIN + 2 });

    expect(first.tuple.localPort).toBe(MIN + 2);
    expect(second.tuple.localPort).not.toBe(MIN + 2);
    expectInRange(second.tuple.localPort);
    await checkPlain(first);
    await checkPlain(second);
  });

  test('that is taken by another Worker becomes another one, UDP and TCP', async () => {
    const two = [(await openWorkers()).remapping, (await openWorkers()).remapping];
    /** @type {string[]} */
    const places = [];

    for (const worker of two) {
      const webRtcServer = await worker.createWebRtcServer({
        listenInfos: [
          { protocol: 'udp', ip: '127.0.0.1', port: MIN + 3 },
          { protocol: 'tcp', ip: '127.0.0.1', port: MIN + 3 },
        ],
      });
      const router = await worker.createRouter();
      const transport = await router.createWebRtcTransport({ webRtcServer });

      for (const { protocol, port } of transport.iceCandidates) {
        expectInRange(port);
        places.push(`${protocol} ${port}`);
      }
      await checkCandidates(transport);
    }

    expect(places.slice(0, 2)).toEqual([`udp ${MIN + 3}`, `tcp ${MIN + 3}`]);
    expect(new Set(places).size).toBe(4);
  });

  test('out of the range becomes one inside', async () => {
    const { remapping } = await openWorkers();
    const transport = await plain(await remapping.createRouter(), { port: MAX + 1 });

    expectInRange(transport.tuple.localPort);
    await checkPlain(transport);
  });
});

describe('a fixed port on a strict agent', () => {
  /** @param {number} port */
  const refused = (port) => `uv_udp_bind() failed [protocol:udp, ip:'10.111.0.12', port:${port}]: `;

  test('is kept while it is free, and then refused in the words of mediasoup', async () => {
    const { strict } = await openWorkers();
    const router = await strict.createRouter();
    const port = MIN + 2;

    expect((await plain(router, { port })).tuple.localPort).toBe(port);
    await expect(plain(router, { port })).rejects.toThrow(`${refused(port)}address already in use`);
  });

  test('out of the range is refused', async () => {
    const { strict } = await openWorkers();
    const router = await strict.createRouter();

    await expect(plain(router, { port: MAX + 1 })).rejects.toThrow(
      `${refused(MAX + 1)}permission denied`,
    );
    // The Router is as good as before.
    expectInRange((await plain(router)).tuple.localPort);
  });
});

describe("a range of the app's", () => {
  test.each([
    { of: 'a listen info', info: { portRange: WIDE }, settings: {} },
    { of: 'a Worker', info: {}, settings: { rtcMinPort: WIDE.min, rtcMaxPort: WIDE.max } },
  ])('for $of is narrowed to what the agent has of it', async ({ info, settings }) => {
    const { remapping } = await openWorkers(settings);
    const router = await remapping.createRouter();

    for (let port = MIN; port <= WIDE.max; port++) {
      expectInRange((await plain(router, info)).tuple.localPort, WIDE.max);
    }
    await expect(plain(router, info)).rejects.toThrow('no more available ports');
  });

  test.each([
    { of: 'a listen info', info: { portRange: OUTSIDE }, settings: {} },
    { of: 'a Worker', info: {}, settings: { rtcMinPort: OUTSIDE.min, rtcMaxPort: OUTSIDE.max } },
  ])('for $of is replaced where the agent has nothing of it', async ({ info, settings }) => {
    const { remapping } = await openWorkers(settings);

    expectInRange((await plain(await remapping.createRouter(), info)).tuple.localPort);
  });
});
