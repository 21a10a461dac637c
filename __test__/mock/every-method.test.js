'use strict';

const { once } = require('node:events');
const mock = require('mediasoup-horizontal/mock');
const { DTLS_PARAMETERS, LISTEN, audio, makeWorld } = require('./lib/world');

const { controls } = mock;

/**
 * @typedef {Awaited<ReturnType<typeof makeWorld>>} World
 *
 * @typedef {object} Row
 * @property {(world: World) => unknown} call
 * @property {unknown} [answers] What comes of it, as far as it says something. Default: nothing.
 * @property {true} [silently] mediasoup asks it without waiting, when something is closed.
 */

const NUMBER = expect.any(Number);
const ID = expect.any(String);
const TRANSPORT_DUMP = { id: ID, producerIds: [], dataProducerIds: [], traceEventTypes: [] };
const TRANSPORT_STATS = {
  transportId: ID,
  timestamp: NUMBER,
  bytesReceived: NUMBER,
  bytesSent: NUMBER,
  recvBitrate: NUMBER,
  sendBitrate: NUMBER,
};

/**
 * Each method of a worker, how an app gets it called, and what mediasoup makes of the answer.
 *
 * @type {Record<Exclude<import('mediasoup-horizontal/mock').MockMethod, 'transport.connect'>, Row>}
 */
const METHODS = {
  createWorker: {
    call: () => mock.createWorker({ logLevel: 'warn' }),
    answers: { closed: false, pid: NUMBER },
  },
  'worker.dump': {
    call: ({ worker }) => worker.dump(),
    answers: { pid: NUMBER, webRtcServerIds: [ID], routerIds: [ID] },
  },
  'worker.getResourceUsage': {
    call: ({ worker }) => worker.getResourceUsage(),
    answers: { ru_utime: NUMBER, ru_stime: NUMBER, ru_maxrss: NUMBER },
  },
  'worker.updateSettings': { call: ({ worker }) => worker.updateSettings({ logLevel: 'error' }) },
  'worker.createWebRtcServer': {
    call: ({ worker }) => worker.createWebRtcServer({ listenInfos: [LISTEN] }),
    answers: { closed: false },
  },
  'worker.createRouter': {
    call: ({ worker }) => worker.createRouter(),
    answers: { closed: false, rtpCapabilities: { codecs: [] } },
  },
  'worker.closeWebRtcServer': { call: ({ server }) => server.close(), silently: true },
  'worker.closeRouter': { call: ({ router }) => router.close(), silently: true },
  'webRtcServer.dump': {
    call: ({ server }) => server.dump(),
    answers: {
      udpSockets: [{ ip: '127.0.0.1', port: NUMBER }],
      tcpServers: [],
      webRtcTransportIds: [ID],
    },
  },
  'router.dump': {
    call: ({ router }) => router.dump(),
    answers: { id: ID, transportIds: expect.arrayContaining([ID]), rtpObserverIds: [ID, ID] },
  },
  'router.createWebRtcTransport': {
    call: ({ router }) => router.createWebRtcTransport({ listenInfos: [LISTEN] }),
    answers: {
      iceRole: 'controlled',
      iceState: 'new',
      dtlsState: 'new',
      iceParameters: { iceLite: true, usernameFragment: ID, password: ID },
      iceCandidates: [{ ip: '127.0.0.1', port: NUMBER, protocol: 'udp', type: 'host' }],
      dtlsParameters: { role: 'auto' },
    },
  },
  'router.createWebRtcTransportWithServer': {
    call: ({ router, server }) => router.createWebRtcTransport({ webRtcServer: server }),
    answers: { iceState: 'new', iceCandidates: [{ port: NUMBER }] },
  },
  'router.createPlainTransport': {
    call: ({ router }) => router.createPlainTransport({ listenInfo: LISTEN }),
    answers: { tuple: { localAddress: '127.0.0.1', localPort: NUMBER, protocol: 'udp' } },
  },
  'router.createPipeTransport': {
    call: ({ router }) => router.createPipeTransport({ listenInfo: LISTEN, enableSrtp: true }),
    answers: { tuple: { localPort: NUMBER }, srtpParameters: { keyBase64: ID } },
  },
  'router.createDirectTransport': {
    call: ({ router }) => router.createDirectTransport(),
    answers: { closed: false },
  },
  'router.closeTransport': { call: ({ web }) => web.close(), silently: true },
  'router.createActiveSpeakerObserver': {
    call: ({ router }) => router.createActiveSpeakerObserver({ interval: 200 }),
    answers: { type: 'activespeaker', paused: false },
  },
  'router.createAudioLevelObserver': {
    call: ({ router }) => router.createAudioLevelObserver({ maxEntries: 2 }),
    answers: { type: 'audiolevel', paused: false },
  },
  'router.closeRtpObserver': { call: ({ speaker }) => speaker.close(), silently: true },
  'transport.dump': {
    call: ({ web, served, plain, pipe, direct }) =>
      Promise.all([web, served, plain, pipe, direct].map((transport) => transport.dump())),
    answers: [
      { id: ID, producerIds: [ID], dataProducerIds: [ID], iceState: 'new', sctpState: 'new' },
      { ...TRANSPORT_DUMP, consumerIds: [ID], dtlsState: 'new' },
      { ...TRANSPORT_DUMP, rtcpMux: false, tuple: { localPort: NUMBER } },
      { ...TRANSPORT_DUMP, rtx: false, tuple: { localPort: NUMBER } },
      { id: ID, producerIds: [ID], consumerIds: [ID], dataConsumerIds: [ID] },
    ],
  },
  'transport.getStats': {
    call: ({ web, served, plain, pipe, direct }) =>
      Promise.all([web, served, plain, pipe, direct].map((transport) => transport.getStats())),
    answers: [
      [{ type: 'webrtc-transport', iceRole: 'controlled', sctpState: 'new', ...TRANSPORT_STATS }],
      [{ type: 'webrtc-transport', dtlsState: 'new', ...TRANSPORT_STATS }],
      [{ type: 'plain-rtp-transport', tuple: { localPort: NUMBER }, ...TRANSPORT_STATS }],
      [{ type: 'pipe-transport', tuple: { localPort: NUMBER }, ...TRANSPORT_STATS }],
      [{ type: 'direct-transport', ...TRANSPORT_STATS }],
    ],
  },
  'transport.setMaxIncomingBitrate': { call: ({ web }) => web.setMaxIncomingBitrate(500_000) },
  'transport.setMaxOutgoingBitrate': { call: ({ web }) => web.setMaxOutgoingBitrate(500_000) },
  'transport.setMinOutgoingBitrate': { call: ({ web }) => web.setMinOutgoingBitrate(100_000) },
  'transport.restartIce': {
    call: ({ web }) => web.restartIce(),
    answers: { iceLite: true, usernameFragment: ID, password: ID },
  },
  'transport.produce': {
    call: ({ direct }) => direct.produce(audio(5_000)),
    answers: { kind: 'audio', type: 'simple', paused: false, score: [] },
  },
  'transport.produceData': {
    call: ({ direct }) => direct.produceData({ label: 'chat' }),
    answers: { type: 'direct', label: 'chat', paused: false },
  },
  'transport.consume': {
    call: ({ served, router, voice }) =>
      served.consume({ producerId: voice.id, rtpCapabilities: router.rtpCapabilities }),
    answers: {
      kind: 'audio',
      type: 'simple',
      paused: false,
      score: { score: 10, producerScore: NUMBER, producerScores: [NUMBER] },
    },
  },
  'transport.consumeData': {
    call: ({ direct, text }) => direct.consumeData({ dataProducerId: text.id }),
    answers: { type: 'direct', dataProducerId: ID },
  },
  'transport.enableTraceEvent': { call: ({ web }) => web.enableTraceEvent(['bwe', 'probation']) },
  'transport.closeProducer': { call: ({ camera }) => camera.close(), silently: true },
  'transport.closeConsumer': { call: ({ seen }) => seen.close(), silently: true },
  'transport.closeDataProducer': { call: ({ text }) => text.close(), silently: true },
  'transport.closeDataConsumer': { call: ({ read }) => read.close(), silently: true },
  'plainTransport.connect': {
    call: async ({ plain }) => {
      await plain.connect({ ip: '127.0.0.1', port: 4_000, rtcpPort: 4_001 });

      return plain;
    },
    answers: {
      tuple: { remoteIp: '127.0.0.1', remotePort: 4_000 },
      rtcpTuple: { remotePort: 4_001 },
    },
  },
  'pipeTransport.connect': {
    call: async ({ pipe }) => {
      await pipe.connect({ ip: '127.0.0.1', port: 4_000 });

      return pipe;
    },
    answers: { tuple: { remoteIp: '127.0.0.1', remotePort: 4_000 } },
  },
  'webRtcTransport.connect': {
    call: async ({ web }) => {
      await web.connect({ dtlsParameters: DTLS_PARAMETERS });

      return web;
    },
    answers: { dtlsParameters: { role: 'server' } },
  },
  'producer.dump': {
    call: ({ camera }) => camera.dump(),
    answers: { id: ID, kind: 'video', type: 'simulcast', paused: false, traceEventTypes: [] },
  },
  // Nothing was received.
  'producer.getStats': { call: ({ camera }) => camera.getStats(), answers: [] },
  'producer.pause': { call: ({ camera }) => camera.pause() },
  'producer.resume': {
    call: async ({ camera }) => {
      await camera.pause();
      await camera.resume();
    },
  },
  'producer.enableTraceEvent': { call: ({ camera }) => camera.enableTraceEvent(['rtp', 'sr']) },
  'consumer.dump': {
    call: ({ seen }) => seen.dump(),
    answers: { id: ID, producerId: ID, kind: 'video', type: 'simulcast', producerPaused: false },
  },
  'consumer.getStats': {
    call: ({ heard }) => heard.getStats(),
    answers: [
      {
        type: 'outbound-rtp',
        kind: 'audio',
        mimeType: 'audio/opus',
        ssrc: NUMBER,
        timestamp: NUMBER,
        packetCount: 0,
        byteCount: 0,
        bitrate: 0,
        packetsLost: 0,
        score: 10,
      },
    ],
  },
  'consumer.pause': { call: ({ seen }) => seen.pause() },
  'consumer.resume': {
    call: async ({ seen }) => {
      await seen.pause();
      await seen.resume();
    },
  },
  'consumer.setPreferredLayers': {
    call: async ({ seen }) => {
      await seen.setPreferredLayers({ spatialLayer: 1, temporalLayer: 9 });

      return seen.preferredLayers;
    },
    answers: { spatialLayer: 1, temporalLayer: 2 },
  },
  'consumer.setPriority': {
    call: async ({ seen }) => {
      await seen.setPriority(7);

      return seen.priority;
    },
    answers: 7,
  },
  'consumer.requestKeyFrame': { call: ({ seen }) => seen.requestKeyFrame() },
  'consumer.enableTraceEvent': { call: ({ seen }) => seen.enableTraceEvent(['keyframe']) },
  'dataProducer.dump': {
    call: ({ stream }) => stream.dump(),
    answers: { id: ID, type: 'sctp', paused: false, sctpStreamParameters: { streamId: 1 } },
  },
  'dataProducer.getStats': {
    call: ({ text }) => text.getStats(),
    answers: [{ type: 'data-producer', messagesReceived: 0, bytesReceived: 0 }],
  },
  'dataProducer.pause': { call: ({ text }) => text.pause() },
  'dataProducer.resume': {
    call: async ({ text }) => {
      await text.pause();
      await text.resume();
    },
  },
  'dataConsumer.dump': {
    call: ({ sent }) => sent.dump(),
    answers: { id: ID, dataProducerId: ID, type: 'sctp', dataProducerPaused: false },
  },
  'dataConsumer.getStats': {
    call: ({ read }) => read.getStats(),
    answers: [{ type: 'data-consumer', messagesSent: 0, bytesSent: 0, bufferedAmount: 0 }],
  },
  'dataConsumer.pause': { call: ({ read }) => read.pause() },
  'dataConsumer.resume': {
    call: async ({ read }) => {
      await read.pause();
      await read.resume();
    },
  },
  'dataConsumer.getBufferedAmount': { call: ({ sent }) => sent.getBufferedAmount(), answers: 0 },
  'dataConsumer.setBufferedAmountLowThreshold': {
    call: ({ sent }) => sent.setBufferedAmountLowThreshold(1_000),
  },
  // Nobody takes it, so it waits.
  'dataConsumer.send': { call: ({ sent }) => sent.send('hello'), answers: 5 },
  'dataConsumer.setSubchannels': {
    call: async ({ read }) => {
      await read.setSubchannels([1, 2]);

      return read.subchannels;
    },
    answers: [1, 2],
  },
  'dataConsumer.addSubchannel': {
    call: async ({ read }) => {
      await read.addSubchannel(3);

      return read.subchannels;
    },
    answers: [3],
  },
  'dataConsumer.removeSubchannel': {
    call: async ({ read }) => {
      await read.setSubchannels([1, 2]);
      await read.removeSubchannel(1);

      return read.subchannels;
    },
    answers: [2],
  },
  'rtpObserver.pause': { call: ({ levels }) => levels.pause() },
  'rtpObserver.resume': {
    call: async ({ levels }) => {
      await levels.pause();
      await levels.resume();
    },
  },
  'rtpObserver.addProducer': {
    call: ({ levels, voice }) => levels.addProducer({ producerId: voice.id }),
  },
  'rtpObserver.removeProducer': {
    call: async ({ levels, voice }) => {
      await levels.addProducer({ producerId: voice.id });
      await levels.removeProducer({ producerId: voice.id });
    },
  },
};

/** Methods of the schema that mediasoup's JavaScript never calls. */
const NEVER_CALLED = ['transport.connect'];

/** @param {string} method */
const count = (method) => new Map(Object.entries(controls.calls())).get(method) ?? 0;

afterEach(() => controls.reset());

test('there is a row for every method that a worker has', () => {
  expect(Object.keys(METHODS).sort()).toEqual(
    controls
      .methods()
      .filter((method) => !NEVER_CALLED.includes(method))
      .sort(),
  );
});

test.each(Object.entries(METHODS))('%s', async (method, { call, answers, silently }) => {
  const world = await makeWorld(mock);
  const before = count(method);
  const answer = await call(world);

  if (silently) {
    // The Worker answers in the order in which it was asked.
    await world.worker.getResourceUsage();
  }
  expect(count(method)).toBeGreaterThan(before);
  if (answers === undefined) {
    expect(answer).toBeUndefined();
  } else if (typeof answers === 'object') {
    expect(answer).toMatchObject(answers ?? {});
  } else {
    expect(answer).toBe(answers);
  }
});

test('messages pass through a DirectTransport', async () => {
  const { text, read } = await makeWorld(mock);
  /** @type {unknown[]} */
  const got = [];
  const all = new Promise((resolve) => {
    read.on('message', (data, ppid) => {
      got.push([data.toString(), ppid]);
      if (got.length === 3) {
        resolve(undefined);
      }
    });
  });

  text.send('one');
  text.send('two');
  text.send(Buffer.from('three'));
  await all;

  expect(got).toEqual([
    ['one', 51],
    ['two', 51],
    ['three', 53],
  ]);
  expect(await text.getStats()).toMatchObject([{ messagesReceived: 3, bytesReceived: 11 }]);
  expect(await read.getStats()).toMatchObject([{ messagesSent: 3, bytesSent: 11 }]);
});

test('RTP passes through a DirectTransport', async () => {
  const { heard, voice } = await makeWorld(mock);
  const packet = Buffer.alloc(20, 1);

  packet.writeUInt8(0x80, 0);
  packet.writeUInt8(100, 1);
  packet.writeUInt32BE(1_000, 8);
  const arriving = new Promise((resolve) => heard.once('rtp', resolve));
  voice.send(packet);
  const arrived = /** @type {Buffer} */ (await arriving);

  expect(arrived.subarray(12)).toEqual(packet.subarray(12));
  expect(arrived.readUInt32BE(8)).toBe(heard.rtpParameters.encodings?.[0]?.ssrc);
});

test('two Routers of two Workers are piped', async () => {
  const [here, there] = [await makeWorld(mock), await makeWorld(mock)];
  const { pipeConsumer, pipeProducer } = await here.router.pipeToRouter({
    producerId: here.voice.id,
    router: there.router,
  });

  expect(pipeProducer).toMatchObject({ id: here.voice.id, type: 'simple', closed: false });
  expect(pipeConsumer).toMatchObject({ type: 'pipe', closed: false });
  const consumer = await there.direct.consume({
    producerId: here.voice.id,
    rtpCapabilities: there.router.rtpCapabilities,
  });
  const closed = Promise.all([
    once(consumer, 'producerclose'),
    once(/** @type {any} */ (pipeConsumer), 'producerclose'),
  ]);
  here.voice.close();
  await closed;
  expect(pipeProducer?.closed).toBe(true);
});
