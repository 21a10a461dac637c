'use strict';

const { eventOf, eventUntil } = require('../support/events');
const { LOOPBACK } = require('./lib/source');
const { Scattered, TEST_TIMEOUT, startWays } = require('./lib/scattered');

/** @import { WebRtcTransport } from 'mediasoup-upstream/types' */
/** @import { Heard, Listener } from './lib/listener' */
/** @import { Source } from './lib/source' */
/** @import { TestAgent } from '../support/agent' */

jest.setTimeout(TEST_TIMEOUT);

const FRAMES = 15;

/**
 * PipeTransports and WebRtcTransports say that they are gone. A Worker with a lost transport that
 * cannot say it dies as a whole.
 */
const OVER_PIPE = { overPipe: true };

/** @type {Scattered} */
let scattered;
/** One on each agent. @type {Source[]} */
let sources;
/** One on each agent. @type {Listener[]} */
let listeners;
/** @type {WebRtcTransport[]} */
let webRtcTransports;
/** Of each source at each listener. @type {{ source: Source, listener: Listener, heard: Heard }[]} */
let ways;

beforeEach(async () => {
  scattered = await Scattered.open();
  sources = [];
  webRtcTransports = [];
  for (let mark = 0; mark < 3; mark++) {
    const kind = mark === 0 ? 'audio' : 'video';

    sources.push(await scattered.source([{ kind, mark }], OVER_PIPE));
  }
  listeners = await scattered.listeners(3, OVER_PIPE);
  for (let i = 0; i < 3; i++) {
    const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: LOOPBACK }];

    webRtcTransports.push(await scattered.router.createWebRtcTransport({ listenInfos }));
  }
  ways = await startWays(sources, listeners);
});

afterEach(() => scattered?.close());

/** @param {(source: Source) => boolean} [stays] */
async function play(stays = () => true) {
  await Promise.all(sources.filter(stays).map((source) => source.frames(FRAMES)));
}

test.each([
  { born: 'was not', atHome: false },
  { born: 'was', atHome: true },
])(
  'an agent that the Router $born born on is killed: what does not touch it loses nothing',
  async ({ atHome }) => {
    const agentOf = new Map(
      [...sources, ...listeners].map((one) => [one, scattered.agentsOf([one.transport])[0]]),
    );
    const victim = sources.findIndex((one) => (agentOf.get(one) === scattered.home) === atHome);
    const lost = /** @type {TestAgent} */ (agentOf.get(/** @type {Source} */ (sources[victim])));
    /** @param {Source | Listener} one */
    const isLost = (one) => agentOf.get(one) === lost;
    // They went round the agents in the same order.
    const lostWebRtc = /** @type {WebRtcTransport} */ (webRtcTransports[victim]);
    const whole = ways.filter(({ source, listener }) => !isLost(source) && !isLost(listener));
    const orphans = ways.filter(({ source, listener }) => isLost(source) && !isLost(listener));

    expect(lost === scattered.home).toBe(atHome);
    expect(whole).toHaveLength(4);
    expect(orphans).toHaveLength(2);
    await play();

    const told = Promise.all([
      ...orphans.map(({ heard }) => eventOf(heard.consumer, 'producerclose')),
      eventUntil(lostWebRtc, 'dtlsstatechange', () => lostWebRtc.dtlsState === 'closed'),
    ]);

    await scattered.kill(lost);
    await told;
    await play((source) => !isLost(source));
    expect(scattered.worker.closed).toBe(false);
    expect(scattered.router.closed).toBe(false);

    for (const source of sources.filter((one) => !isLost(one))) {
      source.stop();
    }
    await Promise.all(whole.map(({ source, heard }) => heard.hearsEnd(source.stream)));
    for (const { source, heard } of whole) {
      heard.expectIntact(source.stream);
      expect(heard.payloads.length).toBeGreaterThanOrEqual(2 * FRAMES);
    }

    // What was there is gone, and the Router goes on without it.
    await expect(lostWebRtc.dump()).rejects.toThrow('not found');

    const { transportIds } = await scattered.router.dump();
    const alive = [...sources, ...listeners].filter((one) => !isLost(one));

    expect(transportIds).toHaveLength(6);
    expect(transportIds).toEqual(
      expect.arrayContaining(alive.map(({ transport }) => transport.id)),
    );

    // What is made next is whole again.
    const source = await scattered.source([{ kind: 'video', mark: 9 }], OVER_PIPE);
    const next = await scattered.listeners(2, OVER_PIPE);
    const heard = await Promise.all(next.map((listener) => listener.consume(source.producer)));

    source.start();
    await Promise.all(heard.map((one) => one.hears()));
    await source.frames(FRAMES);
    source.stop();
    for (const one of heard) {
      await one.hearsEnd(source.stream);
      one.expectIntact(source.stream);
    }
  },
);

test('a Worker with a PlainTransport on a killed agent dies: nothing else could tell', async () => {
  const plain = await scattered.listener();
  const [agent] = scattered.agentsOf([plain.transport]);
  const died = eventOf(scattered.worker, 'died');

  await scattered.kill(/** @type {TestAgent} */ (agent));
  await died;
  expect(scattered.worker).toMatchObject({ closed: true, died: true });
  expect(scattered.router.closed).toBe(true);
  expect(ways.every(({ heard }) => heard.consumer.closed)).toBe(true);
});
