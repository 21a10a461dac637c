'use strict';

const mock = require('mediasoup-horizontal/mock');
const { LISTEN, audio, makeWorld } = require('./lib/world');

const { controls } = mock;

/** @typedef {Awaited<ReturnType<typeof makeWorld>>} World */

afterEach(() => controls.reset());

/**
 * What listeners got, in order.
 *
 * @param {import('node:events').EventEmitter} emitter
 * @param {string} event
 */
function record(emitter, event) {
  /** @type {unknown[][]} */
  const got = [];

  emitter.on(event, (...args) => got.push(args));

  return got;
}

/** @type {import('mediasoup-upstream/types').TransportTuple} */
const TUPLE = {
  localAddress: '10.0.0.1',
  localIp: '10.0.0.1',
  localPort: 4000,
  remoteIp: '10.0.0.2',
  remotePort: 5000,
  protocol: 'udp',
};
const PROBATION = { type: 'probation', timestamp: 5, direction: 'out', info: {} };
const PACKET = {
  payloadType: 100,
  sequenceNumber: 1,
  timestamp: 2,
  marker: true,
  ssrc: 3,
  isKeyFrame: false,
  size: 40n,
  payloadSize: 20n,
  spatialLayer: 0,
  temporalLayer: 0,
  mid: 'm',
  rid: null,
  rrid: null,
  wideSequenceNumber: null,
};

describe('emit', () => {
  /** @type {World} */
  let world;

  beforeEach(async () => {
    world = await makeWorld(mock);
  });

  test.each(
    /** @type {[keyof World, string, unknown[]][]} */ ([
      ['web', 'icestatechange', ['connected']],
      ['web', 'dtlsstatechange', ['failed']],
      ['web', 'iceselectedtuplechange', [TUPLE]],
      ['web', 'sctpstatechange', ['connected']],
      [
        'web',
        'trace',
        [
          {
            type: 'bwe',
            timestamp: 1,
            direction: 'in',
            info: {
              desiredBitrate: 1,
              effectiveDesiredBitrate: 2,
              minBitrate: 3,
              maxBitrate: 4,
              startBitrate: 5,
              maxPaddingBitrate: 6,
              availableBitrate: 7,
              bweType: 'remb',
            },
          },
        ],
      ],
      ['served', 'icestatechange', ['disconnected']],
      ['plain', 'tuple', [TUPLE]],
      ['plain', 'rtcptuple', [TUPLE]],
      ['plain', 'sctpstatechange', ['failed']],
      ['plain', 'trace', [PROBATION]],
      ['pipe', 'sctpstatechange', ['closed']],
      ['pipe', 'trace', [PROBATION]],
      ['direct', 'rtcp', [Buffer.from([1, 2])]],
      ['direct', 'trace', [PROBATION]],
      ['camera', 'score', [[{ encodingIdx: 0, ssrc: 2_000, rid: undefined, score: 9 }]]],
      ['camera', 'videoorientationchange', [{ camera: true, flip: false, rotation: 180 }]],
      ['heard', 'score', [{ score: 8, producerScore: 7, producerScores: [7] }]],
      ['seen', 'layerschange', [{ spatialLayer: 1, temporalLayer: 2 }]],
      ['seen', 'layerschange', [undefined]],
      ['heard', 'rtp', [Buffer.from([128, 100])]],
      ['read', 'message', [Buffer.from('hi'), 51]],
      ['read', 'bufferedamountlow', [12]],
      ['sent', 'sctpsendbufferfull', []],
      ['levels', 'silence', []],
    ]),
  )('%s hears %s as it was said', async (name, event, args) => {
    /** @type {any} */
    const object = world[name];
    const got = record(object, event);

    await /** @type {any} */ (controls).emit(object, event, ...args);

    expect(got).toEqual([args]);
  });

  test('traces of packets come as from a worker', async () => {
    const event = /** @type {const} */ ({
      type: 'rtp',
      timestamp: 1,
      direction: 'in',
      info: { rtpPacket: PACKET, isRtx: false },
    });
    const got = record(world.voice, 'trace');

    await controls.emit(world.voice, 'trace', event);

    expect(got).toEqual([[event]]);
    // mediasoup itself tells consumers' traces twice.
    const twice = record(world.heard, 'trace');
    const pli = /** @type {const} */ ({ ...event, type: 'pli', info: { ssrc: 4 } });
    await controls.emit(world.heard, 'trace', pli);
    expect(twice).toEqual([[pli], [pli]]);
  });

  test('observers tell of Producers', async () => {
    const { levels, speaker, voice } = world;

    await speaker.addProducer({ producerId: voice.id });
    await levels.addProducer({ producerId: voice.id });
    const spoken = record(speaker, 'dominantspeaker');
    const loud = record(levels, 'volumes');

    await controls.emit(speaker, 'dominantspeaker', { producer: voice });
    await controls.emit(levels, 'volumes', [{ producer: voice, volume: -20 }]);

    expect(spoken).toEqual([[{ producer: voice }]]);
    expect(loud).toEqual([[[{ producer: voice, volume: -20 }]]]);
  });

  test('objects, dumps and stats follow', async () => {
    const { web } = world;

    await controls.emit(web, 'iceselectedtuplechange', TUPLE);
    await controls.emit(web, 'icestatechange', 'completed');
    await controls.emit(web, 'dtlsstatechange', 'connected');
    // As soon as there is a connection, SCTP sets out by itself.
    expect(web.sctpState).toBe('connecting');
    await controls.emit(web, 'sctpstatechange', 'connected');

    const expected = { iceState: 'completed', dtlsState: 'connected', sctpState: 'connected' };
    expect(web).toMatchObject({ ...expected, iceSelectedTuple: TUPLE });
    expect(web.dtlsRemoteCert).toContain('BEGIN CERTIFICATE');
    expect(web.sctpNegotiatedCapabilities).toEqual({
      negotiatedMaxInboundStreams: 65_535,
      negotiatedMaxOutboundStreams: 65_535,
    });
    expect(await web.dump()).toMatchObject(expected);
    expect(await web.getStats()).toMatchObject([{ ...expected, iceSelectedTuple: TUPLE }]);
  });

  test('several at once come in their order', async () => {
    const got = record(world.seen, 'score');
    const scores = [1, 2, 3].map((score) => ({ score, producerScore: 0, producerScores: [] }));

    await Promise.all(scores.map((score) => controls.emit(world.seen, 'score', score)));

    expect(got).toEqual(scores.map((score) => [score]));
    expect(controls.calls()).not.toHaveProperty(['worker.getResourceUsage']);
  });

  test.each([
    ['no such event', 'voice', ['layerschange'], 'a Producer lets no such event happen'],
    ['a wrong payload', 'web', ['icestatechange', 'lost'], 'unknown variant `lost`'],
    ['no bytes', 'heard', ['rtp', 'text'], "'rtp' needs a Buffer"],
    ['no list', 'levels', ['volumes', {}], "'volumes' needs a list of { producer, volume }"],
    ['a Router', 'router', ['close'], 'a Router lets no such event happen'],
  ])('refuses %s', async (_, name, args, message) => {
    /** @type {any} */
    const { [name]: object } = world;

    await expect(/** @type {any} */ (controls).emit(object, ...args)).rejects.toThrow(message);
  });

  test('refuses a Producer that is not observed, and objects that are closed or unknown', async () => {
    const { speaker, voice } = world;
    const happening = controls.emit(speaker, 'dominantspeaker', { producer: voice });

    await expect(happening).rejects.toThrow(
      `the Producer ${voice.id} is not in the observer ${speaker.id}; add it first`,
    );
    voice.close();
    await world.router.dump();
    await expect(controls.emit(voice, 'score', [])).rejects.toThrow('no open object has the id');
    await expect(controls.emit(/** @type {any} */ ({ id: 'x' }), 'score', [])).rejects.toThrow(
      'this is no object of a Worker that the mock has made',
    );
  });
});

describe('kill', () => {
  test.each([
    [{ code: 7 }, 'code:7, signal:null'],
    [/** @type {const} */ ({ signal: 'SIGSEGV' }), 'code:null, signal:SIGSEGV'],
    [undefined, 'code:null, signal:SIGKILL'],
  ])('with %p', async (how, words) => {
    const { worker, router, seen } = await makeWorld(mock);
    const died = record(worker, 'died');
    const closed = record(seen.observer, 'close');

    await controls.kill(worker, how);

    expect(died).toEqual([[new Error(`[pid:${worker.pid}, ${words}]`)]]);
    expect([worker.died, router.closed, closed.length]).toEqual([true, true, 1]);
    expect(controls.openObjects()).toEqual({});
  });

  test('refuses what makes no sense', async () => {
    const worker = await mock.createWorker();

    await expect(controls.kill(worker, /** @type {any} */ ({}))).rejects.toThrow('either a code');
    await expect(controls.kill(worker, { signal: /** @type {any} */ ('SIGNAL') })).rejects.toThrow(
      'either a code',
    );
    worker.close();
    await expect(controls.kill(worker)).rejects.toThrow(mock.errors.WorkerClosedError);
  });
});

describe('failNext', () => {
  test('the next call fails with that error, and no other', async () => {
    const { direct } = await makeWorld(mock);

    controls.failNext('transport.produce', new TypeError('not today'));

    const failing = direct.produce(audio(3_000));
    await expect(failing).rejects.toThrow(new TypeError('not today'));
    await expect(failing).rejects.toBeInstanceOf(TypeError);
    await expect(direct.produce(audio(3_000))).resolves.toMatchObject({ kind: 'audio' });
    expect(controls.calls()).toMatchObject({ 'transport.produce': 4 });
  });

  test('as often, on which object and until when it was said', async () => {
    const { web, plain } = await makeWorld(mock);
    const error = new mock.errors.NotFoundError('gone');

    const rule = controls.failNext('transport.dump', error, { on: web, times: Infinity });
    await expect(plain.dump()).resolves.toBeDefined();
    for (let i = 0; i < 3; i += 1) {
      await expect(web.dump()).rejects.toThrow(mock.errors.NotFoundError);
    }
    expect(rule.cancel()).toBe(true);
    expect(rule.cancel()).toBe(false);
    await expect(web.dump()).resolves.toBeDefined();

    controls.failNext('transport.getStats', undefined, { times: 2 });
    await expect(web.getStats()).rejects.toThrow('failed by the mock');
    await expect(plain.getStats()).rejects.toThrow('failed by the mock');
    await expect(web.getStats()).resolves.toBeDefined();
  });

  test('createWorker', async () => {
    controls.failNext('createWorker', new Error('no host has room'));
    await expect(mock.createWorker()).rejects.toThrow(new Error('no host has room'));

    controls.failNext('createWorker', new TypeError('whatever'));
    await expect(mock.createWorker()).rejects.toThrow(new TypeError('wrong settings'));

    await expect(mock.createWorker()).resolves.toBeDefined();
  });

  test('refuses what makes no sense', () => {
    const { failNext } = /** @type {any} */ (controls);
    const fail = failNext.bind(controls);

    expect(() => fail('transport.close')).toThrow("mock workers get no call 'transport.close'");
    expect(() => fail('transport.dump', undefined, { times: 0 })).toThrow(TypeError);
    expect(() => fail('transport.dump', 'text')).toThrow('must be an Error');
  });
});

describe('holdNext', () => {
  test('the call waits until it is released, and others do not', async () => {
    const { router, web } = await makeWorld(mock);
    const held = controls.holdNext('router.createWebRtcTransport');
    let made = false;
    const making = router.createWebRtcTransport({ listenInfos: [LISTEN] }).then((transport) => {
      made = true;

      return transport;
    });

    await held.arrived;
    await web.dump();
    expect(made).toBe(false);
    expect(held.release()).toBe(true);
    await expect(making).resolves.toMatchObject({ closed: false });
    expect(held.release()).toBe(false);
  });

  test('a held call can fail, and its Worker can close meanwhile', async () => {
    const { router, worker } = await makeWorld(mock);
    const held = controls.holdNext('router.dump');
    const failing = expect(router.dump()).rejects.toThrow(new TypeError('too late'));

    await held.arrived;
    held.fail(new TypeError('too late'));
    await failing;

    const forgotten = controls.holdNext('router.dump', { on: router });
    const aborted = expect(router.dump()).rejects.toThrow(mock.errors.WorkerClosedError);
    await forgotten.arrived;
    worker.close();
    await aborted;
  });

  test('one that is released before it comes is not held', async () => {
    const { router } = await makeWorld(mock);

    expect(controls.holdNext('router.dump').release()).toBe(true);
    await expect(router.dump()).resolves.toBeDefined();
  });

  test('createWorker', async () => {
    const held = controls.holdNext('createWorker');
    const making = mock.createWorker();

    await held.arrived;
    held.release();
    await expect(making).resolves.toMatchObject({ closed: false });
  });
});

describe('openObjects', () => {
  test('counts what is open, by kind', async () => {
    expect(controls.openObjects()).toEqual({});
    const { router, server, speaker, voice, worker } = await makeWorld(mock);

    const all = {
      workers: 1,
      webRtcServers: 1,
      routers: 1,
      transports: 5,
      producers: 2,
      consumers: 2,
      dataProducers: 2,
      dataConsumers: 2,
      rtpObservers: 2,
    };
    expect(controls.openObjects()).toEqual(all);
    voice.close();
    speaker.close();
    expect(controls.openObjects()).toMatchObject({ producers: 1, rtpObservers: 1 });
    server.close();
    expect(controls.openObjects()).toMatchObject({ transports: 4 });
    router.close();
    expect(controls.openObjects()).toEqual({ workers: 1 });
    worker.close();
    expect(controls.openObjects()).toEqual({});
  });

  test('sees the Workers of its own Horizontal only', async () => {
    const horizontal = new mock.Horizontal([new mock.MockConnection()]);
    const own = new mock.MockControls(horizontal);

    await Promise.all([horizontal.mediasoup.createWorker(), mock.createWorker()]);

    expect([own.openObjects(), controls.openObjects()]).toEqual([{ workers: 1 }, { workers: 1 }]);
    await own.reset();
    expect([own.openObjects(), controls.openObjects()]).toEqual([{}, { workers: 1 }]);
    horizontal.close();
  });
});

test('controls need a Horizontal', () => {
  expect(() => new mock.MockControls(/** @type {any} */ ({}))).toThrow('a Horizontal is needed');
});
