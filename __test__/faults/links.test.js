'use strict';

const { pause } = require('../../examples/lib/deadline');
const { until } = require('../processes/lib/deadline');
const { LinkedRoom } = require('./lib/linked-room');

/** @import { Side } from '../../benches/lib/link/tcp-proxy' */

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(120_000);

/** Silence is noticed in less than a second, for the test's sake. */
const QUICK = { heartbeatMs: 200, silenceMs: 800, silentWindowMs: 300 };
/** Before and after the silence counts as a loss. */
const SHORT_MS = 300;
const LONG_MS = 1_600;
const FAR = { delayMs: 100, jitterMs: 50 };

/** @type {LinkedRoom | undefined} */
let room;

afterEach(async () => {
  await room?.close();
  room = undefined;
});

/** @param {Parameters<typeof LinkedRoom.open>[0]} [options] */
async function open(options) {
  room = await LinkedRoom.open(options);

  return room;
}

describe('links of 100 ms each way, give or take 50 ms', () => {
  test.each([
    { what: 'a Router on each of three agents', scatter: false },
    { what: 'one Router over three agents', scatter: true },
  ])('$what: nothing is lost, doubled or reordered', async ({ scatter }) => {
    const { goesOn, expectFaultless } = bind(
      await open({ agents: 3, scatter, impairment: FAR, connection: QUICK }),
    );

    await goesOn(60);
    expect(room?.states).toEqual(['connected', 'connected', 'connected']);
    await expectFaultless();
  });

  test('cut again and again: nothing is lost, doubled or reordered', async () => {
    const { goesOn, expectFaultless } = bind(
      await open({ agents: 2, impairment: FAR, connection: QUICK }),
    );

    for (let i = 0; i < 4; i++) {
      await goesOn();
      room?.links.forEach((link) => void link.cut());
    }
    await goesOn();
    await expectFaultless();
  });

  test('a link that is narrow as well carries all of it, later', async () => {
    const { goesOn, expectFaultless } = bind(
      await open({ impairment: { ...FAR, bytesPerSecond: 60_000 }, connection: QUICK }),
    );

    await goesOn(30);
    await expectFaultless();
  });
});

describe('a link is lost, and back in time', () => {
  /** @type {{ name: string, hold?: Side[], reset?: boolean }[]} */
  const cuts = [
    { name: 'reset, and new ones too' },
    { name: 'held both ways', hold: ['controller', 'agent'] },
    { name: 'held both ways, then reset', hold: ['controller', 'agent'], reset: true },
    { name: 'held on the way from the agent', hold: ['agent'] },
    { name: 'held on the way from the agent, then reset', hold: ['agent'], reset: true },
    { name: 'held on the way to the agent', hold: ['controller'] },
    { name: 'held on the way to the agent, then reset', hold: ['controller'], reset: true },
  ];

  test.each(cuts)('$name: nothing is lost, doubled or reordered, either way', async (cut) => {
    const { links, all, goesOn, mediaFlows, expectFaultless } = bind(
      await open({ agents: 2, connection: QUICK }),
    );

    for (const ms of [SHORT_MS, LONG_MS]) {
      await goesOn();
      for (const link of links) {
        if (cut.hold) {
          link.hold(cut.hold);
        } else {
          link.down();
        }
      }
      await Promise.all([pause(ms), mediaFlows()]);
      for (const link of links) {
        if (cut.reset) {
          link.cut();
        }
        link.release();
        link.up();
      }
    }
    await all('connected');
    await goesOn();
    await expectFaultless();
  });

  test('it stays away for a while: the connection is `disconnected`, then `connected` again', async () => {
    const { links, all, goesOn, expectFaultless } = bind(await open({ connection: QUICK }));

    links[0]?.down();
    await all('disconnected');
    links[0]?.up();
    await all('connected');
    await goesOn();
    await expectFaultless();
  });

  test("the app's address changes: it resumes its session from another one", async () => {
    const { links, agents, goesOn, expectFaultless } = bind(await open({ connection: QUICK }));
    const [link] = links;
    const [agent] = agents;

    await goesOn();
    expect(agent?.log).not.toContain('127.0.0.2');
    if (link) {
      link.seenAs = '127.0.0.2';
    }
    link?.cut();
    await until(() => agent?.log.includes('127.0.0.2'), 'the other address');
    await goesOn();
    await expectFaultless();
  });
});

describe('half-open connections', () => {
  test('the agent has lost its end, and the app does not know: it resumes once it is silent', async () => {
    const { links, goesOn, expectFaultless } = bind(await open({ connection: QUICK }));

    await goesOn();
    links[0]?.forget('agent');
    await goesOn();
    await expectFaultless();
  });

  test('the app has lost its end, and the agent does not know: the new one takes its place', async () => {
    const { links, agents, goesOn, expectFaultless } = bind(await open({ connection: QUICK }));

    await goesOn();
    links[0]?.forget('controller');
    await goesOn();
    await until(() => agents[0]?.log.includes('another takes its place'), 'the old link to end');
    await expectFaultless();
  });

  test('neither end knows that nothing gets through any more: the app dials again', async () => {
    const { links, agents, goesOn, expectFaultless } = bind(await open({ connection: QUICK }));

    await goesOn();
    links[0]?.freeze();
    await goesOn();
    await until(() => agents[0]?.log.includes('another takes its place'), 'the old link to end');
    await expectFaultless();
  });
});

/**
 * Its methods as functions.
 *
 * @param {LinkedRoom} opened
 */
function bind(opened) {
  return {
    links: opened.links,
    agents: opened.agents,
    all: opened.all.bind(opened),
    goesOn: opened.goesOn.bind(opened),
    mediaFlows: opened.mediaFlows.bind(opened),
    expectFaultless: opened.expectFaultless.bind(opened),
  };
}
