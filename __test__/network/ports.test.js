'use strict';

const { Fleet } = require('./lib/fleet');
const { hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { checkCandidates, checkPlain } = require('./lib/reach');

/** @import { Router, TransportListenInfo, Worker } from 'mediasoup-upstream/types' */

const { afterAll, beforeAll, describe, test } = onNetwork(__filename);

const RANGE = /** @type {const} */ ([42000, 42019]);
const [MIN, MAX] = RANGE;

/** @type {Fleet} */
let fleet;
/** @type {Worker} Of an agent that remaps. */
let remapping;
/** @type {Worker} */
let strict;

beforeAll(async () => {
  const range = ['--port-range', RANGE.join('-')];

  fleet = await Fleet.open({
    agents: [
      { host: hosts.agent1, args: range },
      { host: hosts.agent2, args: [...range, '--port-policy', 'strict'] },
    ],
  });
  [remapping, strict] = /** @type {[Worker, Worker]} */ (await fleet.workers());
});

afterAll(() => fleet?.close());

/**
 * @param {Partial<TransportListenInfo>} [ports]
 * @returns {TransportListenInfo}
 */
function udp(ports) {
  return { protocol: 'udp', ip: '127.0.0.1', ...ports };
}

/**
 * @param {Router} router
 * @param {Partial<TransportListenInfo>} [ports]
 */
function plain(router, ports) {
  return router.createPlainTransport({ listenInfo: udp(ports), comedia: true });
}

/** @param {number} port */
function expectInRange(port, min = MIN, max = MAX) {
  expect(port).toBeGreaterThanOrEqual(min);
  expect(port).toBeLessThanOrEqual(max);
}

describe('a fixed port on an agent that remaps', () => {
  test('is kept while it is free', async () => {
    const router = await remapping.createRouter();
    const transport = await plain(router, { port: MIN + 1 });

    expect(transport.tuple.localPort).toBe(MIN + 1);
    await checkPlain(transport);
    router.close();
  });

  test('that is taken becomes another one', async () => {
    const router = await remapping.createRouter();
    const first = await plain(router, { port: MIN + 2 });
    const second = await plain(router, { port: MIN + 2 });

    expect(first.tuple.localPort).toBe(MIN + 2);
    expect(second.tuple.localPort).not.toBe(MIN + 2);
    expectInRange(second.tuple.localPort);
    await checkPlain(first);
    await checkPlain(second);
    router.close();
  });

  test('that is taken by another Worker becomes another one, UDP and TCP', async () => {
    const others = /** @type {[Worker, Worker]} */ (await fleet.workers());
    const listenInfos = [udp({ port: MIN + 3 }), { ...udp({ port: MIN + 3 }), protocol: 'tcp' }];
    const servers = await Promise.all(
      [remapping, others[0]].map((worker) =>
        worker.createWebRtcServer({
          listenInfos: /** @type {TransportListenInfo[]} */ (listenInfos),
        }),
      ),
    );
    /** @type {Set<string>} */
    const ports = new Set();

    for (const [i, webRtcServer] of servers.entries()) {
      const worker = /** @type {Worker} */ ([remapping, others[0]][i]);
      const router = await worker.createRouter();
      const transport = await router.createWebRtcTransport({ webRtcServer });

      for (const { protocol, port } of transport.iceCandidates) {
        expectInRange(port);
        ports.add(`${protocol} ${port}`);
      }
      await checkCandidates(transport);
    }

    // Two of each protocol, of which one has the port that was asked for.
    expect(ports.size).toBe(4);
    expect(ports).toContain(`udp ${MIN + 3}`);
    expect(ports).toContain(`tcp ${MIN + 3}`);
  });

  test('out of the range becomes one inside', async () => {
    const router = await remapping.createRouter();
    const transport = await plain(router, { port: MAX + 1 });

    expectInRange(transport.tuple.localPort);
    await checkPlain(transport);
    router.close();
  });
});

describe('a fixed port on a strict agent', () => {
  test('is kept while it is free, and refused in the words of mediasoup then', async () => {
    const router = await strict.createRouter();
    const transport = await plain(router, { port: MIN + 2 });

    expect(transport.tuple.localPort).toBe(MIN + 2);
    await expect(plain(router, { port: MIN + 2 })).rejects.toThrow(
      `port bind failed due to address already in use [protocol:udp, ip:'${hosts.agent2.ip}', ` +
        `port:${MIN + 2}]`,
    );
    router.close();
  });

  test('out of the range is refused', async () => {
    const router = await strict.createRouter();

    await expect(plain(router, { port: MAX + 1 })).rejects.toThrow(
      `port bind failed due to permission denied [protocol:udp, ip:'${hosts.agent2.ip}', ` +
        `port:${MAX + 1}]`,
    );
    // The channel is as good as before.
    expectInRange((await plain(router)).tuple.localPort);
    router.close();
  });
});

describe("a range of the app's", () => {
  const WIDE = { min: 10000, max: MIN + 4 };
  const OUTSIDE = { min: 10000, max: 10009 };

  test('of a listen info is narrowed to what the agent has of it', async () => {
    const router = await remapping.createRouter();

    for (let i = 0; i < 5; i++) {
      const { tuple } = await plain(router, { portRange: WIDE });

      expectInRange(tuple.localPort, MIN, WIDE.max);
    }
    await expect(plain(router, { portRange: WIDE })).rejects.toThrow(/no more available ports/);
    router.close();
  });

  test('of a listen info is replaced where the agent has nothing of it', async () => {
    const router = await remapping.createRouter();

    expectInRange((await plain(router, { portRange: OUTSIDE })).tuple.localPort);
    router.close();
  });

  test('of a Worker is narrowed to what the agent has of it', async () => {
    const [worker] = /** @type {[Worker]} */ (
      await fleet.workers({ rtcMinPort: WIDE.min, rtcMaxPort: WIDE.max })
    );
    const router = await worker.createRouter();

    for (let i = 0; i < 5; i++) {
      expectInRange((await plain(router)).tuple.localPort, MIN, WIDE.max);
    }
    await expect(plain(router)).rejects.toThrow(/no more available ports/);
    worker.close();
  });

  test('of a Worker is replaced where the agent has nothing of it', async () => {
    const [worker] = /** @type {[Worker]} */ (
      await fleet.workers({ rtcMinPort: OUTSIDE.min, rtcMaxPort: OUTSIDE.max })
    );
    const router = await worker.createRouter();

    expectInRange((await plain(router)).tuple.localPort);
    worker.close();
  });
});
