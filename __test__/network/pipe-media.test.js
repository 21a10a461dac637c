'use strict';

const { eventOf } = require('../support/events');
const { ClipCall, MEDIA_CODECS, watchPipes } = require('./lib/clip-call');
const { Fleet } = require('./lib/fleet');
const { hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');

/** @import { PipeTransport, Router, Worker } from 'mediasoup-upstream/types' */

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = onNetwork(__filename);

const { agent1, agent2 } = hosts;

/** @type {Fleet} */
let fleet;
/** @type {Worker[]} */
let workers;
/** @type {Router} */
let first;
/** @type {Router} */
let second;
/** @type {PipeTransport[]} */
let firstPipes;
/** @type {PipeTransport[]} */
let secondPipes;
/** @type {ClipCall[]} */
let calls;

beforeAll(async () => {
  fleet = await Fleet.open({ agents: [{ host: agent1 }, { host: agent2 }] });
  workers = await fleet.workers();
});

beforeEach(async () => {
  [first, second] = /** @type {[Router, Router]} */ (
    await Promise.all(workers.map((worker) => worker.createRouter({ mediaCodecs: MEDIA_CODECS })))
  );
  [firstPipes, secondPipes] = [watchPipes(first), watchPipes(second)];
  calls = [];
});

afterEach(() => {
  for (const closable of [...calls, first, second]) {
    closable.close();
  }
});

afterAll(() => fleet?.close());

/** @param {Parameters<typeof ClipCall.open>[0]} options */
async function open(options) {
  const call = await ClipCall.open(options);

  calls.push(call);

  return call;
}

/** Each end shows its own address and sends to the other's. */
function expectOnePair() {
  expect(firstPipes.map(({ tuple }) => tuple)).toMatchObject([
    { localAddress: agent1.ip, remoteIp: agent2.ip, remotePort: secondPipes[0]?.tuple.localPort },
  ]);
  expect(secondPipes.map(({ tuple }) => tuple)).toMatchObject([
    { localAddress: agent2.ip, remoteIp: agent1.ip, remotePort: firstPipes[0]?.tuple.localPort },
  ]);
}

describe('pipeToRouter() between agents', () => {
  test('with default options carries all media', async () => {
    const call = await open({ from: first, to: second });

    expectOnePair();
    expect(firstPipes[0]?.srtpParameters).toBeUndefined();
    await call.play();
    call.expectIntact();
  });

  test('carries media both ways over one pair', async () => {
    const there = await open({ from: first, to: second });
    const back = await open({ from: second, to: first });

    expectOnePair();
    await Promise.all([there.play(), back.play()]);
    there.expectIntact();
    back.expectIntact();
  });

  test('with SRTP and RTX carries all media', async () => {
    const pipe = { enableSrtp: true, enableRtx: true };
    const call = await open({ from: first, to: second, pipe });

    expectOnePair();

    for (const transport of [...firstPipes, ...secondPipes]) {
      expect(transport.srtpParameters?.cryptoSuite).toBe('AEAD_AES_256_GCM');
      expect(await transport.dump()).toMatchObject({ rtx: true });
    }
    expect(call.legs[0]?.pipeConsumer.rtpParameters.codecs.map(({ mimeType }) => mimeType)).toEqual(
      ['video/VP8', 'video/rtx'],
    );
    await call.play();
    call.expectIntact();
  });

  test.each([
    { ip: '0.0.0.0' },
    { ip: hosts.app.ip },
    { ip: '127.0.0.1', announcedAddress: hosts.app.ip },
  ])('on %j carries all media', async (info) => {
    const pipe = { listenInfo: { protocol: /** @type {const} */ ('udp'), ...info } };
    const call = await open({ from: first, to: second, pipe });

    expectOnePair();
    await call.play();
    call.expectIntact();
  });

  test('passes pause, resume and close on', async () => {
    const { legs } = await open({ from: first, to: second });

    for (const { producer, pipeProducer, consumer } of legs) {
      for (const step of /** @type {const} */ (['pause', 'resume', 'close'])) {
        const passedOn = eventOf(pipeProducer.observer, step);
        const heard = eventOf(consumer, `producer${step}`);

        await producer[step]();
        await Promise.all([passedOn, heard]);
        expect(consumer.producerPaused).toBe(step === 'pause');
      }

      expect(consumer.closed).toBe(true);
    }
  });

  test.each(['tuple.localAddress', '127.0.0.1'])(
    'connects transports by hand to %s',
    async (ip) => {
      const [left, right] = /** @type {[PipeTransport, PipeTransport]} */ (
        await Promise.all(
          [first, second].map((router) =>
            router.createPipeTransport({ listenInfo: { protocol: 'udp', ip: '127.0.0.1' } }),
          ),
        )
      );
      /** @param {PipeTransport} transport */
      const place = ({ tuple }) => ({
        ip: ip === '127.0.0.1' ? ip : tuple.localAddress,
        port: tuple.localPort,
      });

      await Promise.all([left.connect(place(right)), right.connect(place(left))]);
      expectOnePair();
    },
  );
});
