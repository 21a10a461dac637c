'use strict';

const { Fleet } = require('./lib/fleet');
const { FOREIGN_IP, hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { ClipCall, MEDIA_CODECS, watchPipes } = require('./lib/clip-call');
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
      { host: app, args },
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
    await checkPlain(plain, { from: '127.0.0.1' });
  });

  test('refuse a port that is taken', async () => {
    /** @type {import('mediasoup-upstream/types').TransportListenInfo} */
    const udp = { protocol: 'udp', ip: '127.0.0.1' };
    const { tuple } = await router.createPlainTransport({ listenInfo: udp });
    const port = tuple.localPort;

    await expect(router.createPlainTransport({ listenInfo: { ...udp, port } })).rejects.toThrow(
      `uv_udp_bind() failed [protocol:udp, ip:'127.0.0.1', port:${port}]: address already in use`,
    );
  });

  test('refuse a foreign address', async () => {
    await expect(
      router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: FOREIGN_IP } }),
    ).rejects.toThrow(
      `port bind failed due to address not available [protocol:udp, ip:'${FOREIGN_IP}'`,
    );
  });

  test('pipe over loopback', async () => {
    const [from, to] = /** @type {[Router, Router]} */ (
      await Promise.all(workers.map((each) => each.createRouter({ mediaCodecs: MEDIA_CODECS })))
    );
    const pipes = [watchPipes(from), watchPipes(to)];
    const call = await ClipCall.open({ from, to });

    try {
      expect(pipes.flat().map(({ tuple }) => tuple)).toMatchObject([
        { localAddress: '127.0.0.1', remoteIp: '127.0.0.1' },
        { localAddress: '127.0.0.1', remoteIp: '127.0.0.1' },
      ]);
      await call.play();
      call.expectIntact();
    } finally {
      call.close();
    }
  });
});
