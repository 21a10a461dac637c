'use strict';

const { Fleet } = require('./lib/fleet');
const { FOREIGN_IP, hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { ClipCall } = require('./lib/clip-call');
const { checkCandidates, checkPlain } = require('./lib/reach');

/** @import { Router, Worker } from 'mediasoup-upstream/types' */

const { afterAll, beforeAll, describe, test } = onNetwork(__filename);

const { app } = hosts;

/** @type {Fleet} */
let fleet;
/** @type {Worker[]} */
let workers;
/** @type {Router} */
let router;

beforeAll(async () => {
  // These would matter if anything were rewritten.
  const args = ['--bind-address', app.ip, '--announced-address', '198.51.100.9', '--behind-nat'];

  fleet = await Fleet.open({
    agents: [
      { host: app, args: [...args, '--port-range', '42000-42001'] },
      { host: app, args },
    ],
  });
  workers = await fleet.workers();
  router = await /** @type {Worker} */ (workers[0]).createRouter();
});

afterAll(() => fleet?.close());

describe('agents on the host of the app', () => {
  test.each([
    { ip: '127.0.0.1', shown: '127.0.0.1' },
    { ip: '0.0.0.0', shown: '0.0.0.0' },
    { ip: app.ip, shown: app.ip },
    { ip: '0.0.0.0', announcedAddress: app.ip, shown: app.ip },
    { ip: '127.0.0.1', announcedAddress: '9.9.9.1', shown: '9.9.9.1' },
    { ip: '::1', announcedAddress: 'app.example', shown: 'app.example' },
  ])('take %j as it is', async ({ shown, ...info }) => {
    /** @type {import('mediasoup-upstream/types').TransportListenInfo} */
    const udp = { protocol: 'udp', ...info };
    const webRtc = await router.createWebRtcTransport({ listenInfos: [udp] });
    const plain = await router.createPlainTransport({ listenInfo: udp });
    const pipe = await router.createPipeTransport({ listenInfo: udp });
    const webRtcServer = await /** @type {Worker} */ (workers[0]).createWebRtcServer({
      listenInfos: [udp],
    });
    const { udpSockets } = await webRtcServer.dump();

    expect(webRtc.iceCandidates.map(({ address }) => address)).toEqual([shown]);
    expect(plain.tuple.localAddress).toBe(shown);
    expect(pipe.tuple.localAddress).toBe(shown);
    expect(udpSockets.map(({ ip }) => ip)).toEqual([info.ip]);
  });

  test('are reached on loopback', async () => {
    const webRtc = await router.createWebRtcTransport({
      listenInfos: [
        { protocol: 'udp', ip: '127.0.0.1' },
        { protocol: 'tcp', ip: '127.0.0.1' },
      ],
    });
    const plain = await router.createPlainTransport({
      listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
      comedia: true,
    });

    await checkCandidates(webRtc);
    await checkPlain(plain, '127.0.0.1');
  });

  test('keep a port that is out of their range, and refuse one that is taken', async () => {
    /** @type {import('mediasoup-upstream/types').TransportListenInfo} */
    const any = { protocol: 'udp', ip: '127.0.0.1', portRange: { min: 43000, max: 43099 } };
    const { tuple } = await router.createPlainTransport({ listenInfo: any });
    const port = tuple.localPort;

    expect(port).toBeGreaterThanOrEqual(43000);
    await expect(
      router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: '127.0.0.1', port } }),
    ).rejects.toThrow(`port bind failed due to address already in use [protocol:udp, ip:'127.0.0.1'`);
  });

  test('refuse a foreign address', async () => {
    await expect(
      router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: FOREIGN_IP } }),
    ).rejects.toThrow(`port bind failed due to address not available [protocol:udp, ip:'${FOREIGN_IP}'`);
  });

  test('pipe over loopback', async () => {
    const call = await ClipCall.open({
      from: /** @type {Worker} */ (workers[0]),
      to: /** @type {Worker} */ (workers[1]),
    });

    await call.play();
    expect(call.pipes.map(({ tuple }) => tuple.localAddress)).toEqual(['127.0.0.1', '127.0.0.1']);
    call.expectIntact();
    await call.close();
  });
});
