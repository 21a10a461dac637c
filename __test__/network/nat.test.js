'use strict';

const { spawn } = require('node:child_process');
const { eventOf } = require('../support/events');
const { Fleet } = require('./lib/fleet');
const { GATEWAY_INSIDE, hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { checkCandidates, checkPlain } = require('./lib/reach');

/** @import { ChildProcess } from 'node:child_process' */
/** @import { TestAgent } from '../support/agent' */
/** @import { Router, TransportListenInfo, Worker } from 'mediasoup-upstream/types' */

const { afterEach, describe, test } = onNetwork(__filename);

const { app, gateway, hidden } = hosts;
const PORTS = '42000-42019';
/** Announced by an app that is behind a NAT of its own. */
const APP_OUTSIDE = '198.51.100.1';

/** @type {ChildProcess | undefined} */
let translating;
/** @type {Fleet | undefined} */
let fleet;

afterEach(async () => {
  await fleet?.close();
  fleet = undefined;

  if (translating?.exitCode === null) {
    const ended = eventOf(translating, 'exit');

    // Its ports are the next one's.
    translating.stdin?.end();
    await ended;
  }
});

/**
 * Opens the gateway to an agent.
 *
 * @param {TestAgent} agent
 * @returns {Promise<string>} The agent's URL outside.
 */
async function openGateway({ url }) {
  const { port } = new URL(url);
  const addresses = [gateway.ip, GATEWAY_INSIDE, hidden.ip, port, PORTS];
  const script = [process.execPath, require.resolve('./lib/gateway'), ...addresses];
  const child = spawn('ip', ['netns', 'exec', gateway.name, ...script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });

  translating = child;
  // Its end ends its stdout too.
  await eventOf(child.stdout, 'readable', { what: 'the start of the gateway' });
  expect(String(child.stdout.read())).toBe('ready\n');

  return `ws://${gateway.ip}:${port}`;
}

/**
 * @param {'auto' | 'identity'} announcedMode
 * @returns {Promise<{ worker: Worker, router: Router }>}
 */
async function openBehindNat(announcedMode) {
  fleet = await Fleet.open({
    agents: [
      {
        host: hidden,
        args: ['--announced-address', gateway.ip, '--behind-nat', '--port-range', PORTS],
        via: openGateway,
      },
    ],
    horizontal: { announcedMode },
  });

  const [worker] = /** @type {[Worker]} */ (await fleet.workers());

  return { worker, router: await worker.createRouter() };
}

describe('an agent behind NAT', () => {
  test('announces its own address instead of the app and is reached there', async () => {
    const { worker, router } = await openBehindNat('auto');

    for (const info of [
      { ip: '127.0.0.1' },
      { ip: '0.0.0.0' },
      { ip: app.ip },
      { ip: '0.0.0.0', announcedAddress: app.ip },
      { ip: '0.0.0.0', announcedAddress: APP_OUTSIDE },
      { ip: app.ip, announcedAddress: APP_OUTSIDE },
    ]) {
      /** @type {TransportListenInfo} */
      const udp = { protocol: 'udp', ...info };
      const webRtc = await router.createWebRtcTransport({ listenInfos: [udp] });
      const plain = await router.createPlainTransport({ listenInfo: udp, comedia: true });
      const webRtcServer = await worker.createWebRtcServer({ listenInfos: [udp] });
      const served = await router.createWebRtcTransport({ webRtcServer });

      for (const transport of [webRtc, served]) {
        expect([info, transport.iceCandidates.map(({ address }) => address)]).toEqual([
          info,
          [gateway.ip],
        ]);
        await checkCandidates(transport);
      }
      expect([info, plain.tuple.localAddress]).toEqual([info, gateway.ip]);
      // The gateway stands for the peer.
      await checkPlain(plain, { seenAs: GATEWAY_INSIDE });
      webRtcServer.close();
      plain.close();
      webRtc.close();
    }
  });

  test('shows the hidden address only where the app asks for it', async () => {
    const { router } = await openBehindNat('auto');
    const transport = await router.createWebRtcTransport({
      listenInfos: [{ protocol: 'udp', ip: '127.0.0.1', exposeInternalIp: true }],
    });
    const addresses = transport.iceCandidates.map(({ address }) => address);

    expect(new Set(addresses)).toEqual(new Set([gateway.ip, hidden.ip]));
  });

  test('keeps an announced address where the app means it', async () => {
    const { router } = await openBehindNat('identity');
    const transport = await router.createWebRtcTransport({
      listenInfos: [
        { protocol: 'udp', ip: '0.0.0.0', announcedAddress: APP_OUTSIDE },
        { protocol: 'udp', ip: '127.0.0.1', announcedAddress: app.ip },
      ],
    });

    expect(transport.iceCandidates.map(({ address }) => address)).toEqual([
      APP_OUTSIDE,
      gateway.ip,
    ]);
  });
});
