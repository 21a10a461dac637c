'use strict';

const { ClipCall, MEDIA_CODECS, watchPipes } = require('./lib/clip-call');
const { Fleet, LocalConnection } = require('./lib/fleet');
const { hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { checkCandidates, checkPlain } = require('./lib/reach');

/** @import { Router, Worker } from 'mediasoup-upstream/types' */

const { afterAll, beforeAll, describe, test } = onNetwork(__filename);

const { agent1, app } = hosts;

describe.each([{ execInPlace: true }, { execInPlace: false }])(
  'workers of the app (%j) beside those of an agent',
  ({ execInPlace }) => {
    /** @type {Fleet} */
    let fleet;
    /** @type {Router} On the agent. */
    let remote;
    /** @type {Router} */
    let local;

    beforeAll(async () => {
      fleet = await Fleet.open({
        agents: [{ host: agent1 }],
        local: new LocalConnection({ execInPlace }),
      });

      const workers = await fleet.workers();

      [remote, local] = /** @type {[Router, Router]} */ (
        await Promise.all(
          workers.map((worker) => worker.createRouter({ mediaCodecs: MEDIA_CODECS })),
        )
      );
    });

    afterAll(() => fleet?.close());

    test('listen where each of them is', async () => {
      for (const { router, ip } of [
        { router: remote, ip: agent1.ip },
        { router: local, ip: '127.0.0.1' },
      ]) {
        const webRtc = await router.createWebRtcTransport({
          listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }],
        });
        const plain = await router.createPlainTransport({
          listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
          comedia: true,
        });

        expect(webRtc.iceCandidates.map(({ address }) => address)).toEqual([ip]);
        expect(plain.tuple.localAddress).toBe(ip);
        await checkCandidates(webRtc);
        await checkPlain(plain, { from: ip === agent1.ip ? app.ip : ip });
      }
    });

    test('are piped both ways', async () => {
      const pipes = [watchPipes(remote), watchPipes(local)];
      const inward = await ClipCall.open({ from: remote, to: local });
      const outward = await ClipCall.open({ from: local, to: remote });

      try {
        expect(pipes.flat().map(({ tuple }) => tuple)).toMatchObject([
          { localAddress: agent1.ip, remoteIp: app.ip },
          { localAddress: app.ip, remoteIp: agent1.ip },
        ]);
        await Promise.all([inward.play(), outward.play()]);
        inward.expectIntact();
        outward.expectIntact();
      } finally {
        inward.close();
        outward.close();
      }
    });

    test('connect to each other by hand', async () => {
      const options = /** @type {const} */ ({ listenInfo: { protocol: 'udp', ip: '127.0.0.1' } });
      const there = await remote.createPlainTransport(options);
      const here = await local.createPlainTransport({
        listenInfo: { protocol: 'udp', ip: '0.0.0.0' },
      });

      await there.connect({ ip: here.tuple.localAddress, port: here.tuple.localPort });
      await here.connect({ ip: there.tuple.localAddress, port: there.tuple.localPort });

      expect(there.tuple).toMatchObject({ remoteIp: app.ip, remotePort: here.tuple.localPort });
      expect(here.tuple).toMatchObject({ remoteIp: agent1.ip, remotePort: there.tuple.localPort });
    });
  },
);
