'use strict';

const { pickPort } = require('pick-port');
const { OURS, plain } = require('./lib/places');
const { visitOnce } = require('./lib/visit');
const { visitWebRtcServer } = require('./scripts/web-rtc-server');
const { visitWorkerPerRoom } = require('./scripts/worker-per-room');
const { visitWorkerPool } = require('./scripts/worker-pool');

/** @import { Visit } from './lib/visit' */

/**
 * Three usual ways to write a mediasoup server run, unchanged, on mediasoup and on what stands in
 * its place: what they say to their clients must be the same.
 */

const TEST_TIMEOUT = 90_000;

jest.setTimeout(TEST_TIMEOUT);

/** @type {[string, string, (visit: Visit) => Promise<void>, string[]][]} */
const APPS = [
  [
    'a pool of Workers',
    'worker-pool.js',
    visitWorkerPool,
    ['sees the camera again', 'consume: ok', 'told consumerClosed'],
  ],
  [
    'a Worker for each room, made again when it died',
    'worker-per-room.mjs',
    visitWorkerPerRoom,
    ['told roomRestarted', 'hears the microphone', 'told chat'],
  ],
  [
    'a WebRtcServer on each Worker, and audio observers',
    'web-rtc-server.js',
    visitWebRtcServer,
    ['told volumes', 'told activeSpeaker', 'told silence'],
  ],
];

describe.each(APPS)('%s', (_text, file, script, expected) => {
  /** @type {unknown[]} */
  let wanted;

  beforeAll(async () => {
    wanted = await visitOnce(file, await plain(), script, await ports());
  }, TEST_TIMEOUT);

  test('mediasoup itself', () => {
    const said = wanted.map((entry) => /** @type {string[]} */ (entry)[1]);

    expect(said).toEqual(expect.arrayContaining(expected));
  });

  test.each(OURS)('%s', async (_name, open) => {
    const place = await open();

    try {
      expect(await visitOnce(file, place, script, await ports())).toEqual(wanted);
    } finally {
      await Promise.all(place.agents.map((agent) => agent.stop()));
    }
  });
});

/** Two in a row that nobody uses. */
async function ports() {
  for (;;) {
    const options = { ip: '127.0.0.1', reserveTimeout: 0 };
    const first = await pickPort({ ...options, type: 'udp' });
    const both = { ...options, minPort: first, maxPort: first + 1 };

    try {
      for (const type of /** @type {const} */ (['udp', 'tcp'])) {
        await pickPort({ ...both, minPort: first + 1, type });
      }

      return { FIRST_PORT: String(first) };
    } catch {
      // The next one is taken: look for others.
    }
  }
}
