'use strict';

const { Fleet } = require('./lib/fleet');
const { FOREIGN_IP, hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');
const { checkCandidates, checkPipe, checkPlain } = require('./lib/reach');

/** @import { Router, TransportListenInfo, WebRtcTransport, Worker } from 'mediasoup-upstream/types' */

const { afterAll, beforeAll, describe, test } = onNetwork(__filename);

const { app, agent1 } = hosts;
const AGENT_IP6 = agent1.ip6;

/** What an app says about itself, and what its peers must be told instead. */
const LISTEN_INFOS = [
  { ip: '127.0.0.1' },
  { ip: '0.0.0.0' },
  { ip: app.ip },
  { ip: '0.0.0.0', announcedAddress: app.ip },
  { ip: '0.0.0.0', announcedAddress: '203.0.113.1' },
  { ip: '0.0.0.0', announcedAddress: 'app.example' },
  { ip: '127.0.0.1', announcedAddress: app.ip },
  { ip: app.ip, announcedAddress: '127.0.0.1' },
  { ip: agent1.ip },
];

/** The app's host by further names. */
const SELF_ADDRESSES = ['203.0.113.1', 'app.example'];

/** @type {Fleet} */
let fleet;
/** @type {Worker} */
let worker;
/** @type {Worker} Its host has IPv4 only. */
let worker4;
/** @type {Router} */
let router;
/** @type {Router} */
let router4;

beforeAll(async () => {
  const bind = ['--bind-address', agent1.ip, '--bind-address', AGENT_IP6];

  fleet = await Fleet.open({
    agents: [{ host: agent1, args: bind }, { host: hosts.agent2 }],
    horizontal: { selfAddresses: SELF_ADDRESSES },
  });
  [worker, worker4] = /** @type {[Worker, Worker]} */ (await fleet.workers());
  router = await worker.createRouter({
    mediaCodecs: [{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 }],
  });
  router4 = await worker4.createRouter();
});

afterAll(() => fleet?.close());

/** @param {WebRtcTransport} transport */
function places({ iceCandidates }) {
  return iceCandidates.map(({ protocol, address }) => `${protocol} ${address}`);
}

describe('the agent stands for the app', () => {
  test.each(LISTEN_INFOS)('WebRtcTransport on %j', async (info) => {
    const transport = await router.createWebRtcTransport({
      listenInfos: [
        { protocol: 'udp', ...info },
        { protocol: 'tcp', ...info },
      ],
    });

    expect(places(transport)).toEqual([`udp ${agent1.ip}`, `tcp ${agent1.ip}`]);
    await checkCandidates(transport);
  });

  test.each(LISTEN_INFOS)('WebRtcServer on %j', async (info) => {
    const webRtcServer = await worker.createWebRtcServer({
      listenInfos: [
        { protocol: 'udp', ...info },
        { protocol: 'tcp', ...info },
      ],
    });
    const transport = await router.createWebRtcTransport({ webRtcServer });

    expect(places(transport)).toEqual([`udp ${agent1.ip}`, `tcp ${agent1.ip}`]);
    await checkCandidates(transport);
  });

  test.each(LISTEN_INFOS)('PlainTransport on %j', async (info) => {
    const transport = await router.createPlainTransport({
      listenInfo: { protocol: 'udp', ...info },
      rtcpListenInfo: { protocol: 'udp', ...info },
      comedia: true,
    });

    expect(transport.tuple.localAddress).toBe(agent1.ip);
    expect(transport.rtcpTuple?.localAddress).toBe(agent1.ip);
    await checkPlain(transport);
  });

  test.each(LISTEN_INFOS)('PipeTransport on %j', async (info) => {
    const transport = await router.createPipeTransport({
      listenInfo: { protocol: 'udp', ...info },
      enableSctp: true,
    });

    expect(transport.tuple.localAddress).toBe(agent1.ip);
    await checkPipe(transport);
  });

  test('addresses of the old form', async () => {
    const webRtc = await router.createWebRtcTransport({
      listenIps: ['127.0.0.1', { ip: '0.0.0.0', announcedIp: app.ip }],
      enableTcp: true,
    });
    const plain = await router.createPlainTransport({ listenIp: '127.0.0.1', comedia: true });
    const pipe = await router.createPipeTransport({ listenIp: app.ip, enableSctp: true });

    expect(new Set(places(webRtc))).toEqual(new Set([`udp ${agent1.ip}`, `tcp ${agent1.ip}`]));
    expect(webRtc.iceCandidates).toHaveLength(4);
    await checkCandidates(webRtc);
    await checkPlain(plain);
    await checkPipe(pipe);
  });

  test.each([{ ip: '::1' }, { ip: app.ip6 }])('IPv6 on %j', async ({ ip }) => {
    const transport = await router.createWebRtcTransport({ listenInfos: both(ip) });

    expect(places(transport)).toEqual([`udp ${AGENT_IP6}`, `tcp ${AGENT_IP6}`]);
    await checkCandidates(transport);
  });
});

describe('what the agent lacks', () => {
  test('a family: the other one stays', async () => {
    const transport = await router4.createWebRtcTransport({
      listenInfos: [...both('::1'), ...both('127.0.0.1')],
    });

    expect(places(transport)).toEqual([`udp ${hosts.agent2.ip}`, `tcp ${hosts.agent2.ip}`]);
    await checkCandidates(transport);
  });

  test('the only family: as in mediasoup', async () => {
    const created = router4.createWebRtcTransport({ listenInfos: both(app.ip6) });

    await expect(created).rejects.toThrow(
      /^port bind failed due to address not available \[protocol:udp, ip:'fd11::1', port:/,
    );
  });
});

describe("an address that is not the app's", () => {
  test.each(/** @type {const} */ (['127.0.0.1', app.ip]))(
    'announced for %s by an agent that announces none: kept',
    async (ip) => {
      const transport = await router.createWebRtcTransport({
        listenInfos: [{ protocol: 'udp', ip, announcedAddress: '198.51.100.1' }],
      });

      expect(places(transport)).toEqual(['udp 198.51.100.1']);
    },
  );

  test('is refused in the words of mediasoup', async () => {
    /** @type {TransportListenInfo} */
    const udp = { protocol: 'udp', ip: FOREIGN_IP };
    const refusal = `port bind failed due to address not available [protocol:udp, ip:'${FOREIGN_IP}'`;
    const made = [
      router.createWebRtcTransport({ listenInfos: [udp] }),
      router.createPlainTransport({ listenInfo: udp }),
      router.createPipeTransport({ listenInfo: udp }),
      worker.createWebRtcServer({ listenInfos: [udp] }),
    ];

    for (const [i, result] of (await Promise.allSettled(made)).entries()) {
      expect([i, result.status]).toEqual([i, 'rejected']);
      expect(/** @type {PromiseRejectedResult} */ (result).reason.message).toContain(refusal);
    }
  });
});

/**
 * @param {string} ip
 * @returns {TransportListenInfo[]}
 */
function both(ip) {
  return [
    { protocol: 'udp', ip },
    { protocol: 'tcp', ip },
  ];
}
