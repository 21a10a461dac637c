'use strict';

const { RemoteConnection } = require('../../js/connections');
const { countRoundTrips } = require('../../benches/lib/link/round-trips');
const { SteppedLink } = require('../../benches/lib/link/stepped-link');
const { AGENTS, PipeWorld, SCENARIOS } = require('../../benches/lib/pipe-scenarios');
const { TestAgent } = require('../support/agent');
const { TEST_TIMEOUT } = require('./lib/scattered');

/** @import { StepName } from '../../benches/lib/pipe-scenarios' */

jest.setTimeout(TEST_TIMEOUT);

const CREATE = ['ROUTER_CREATE_PIPETRANSPORT', 'ROUTER_CREATE_PIPETRANSPORT'];
const CONNECT = ['PIPETRANSPORT_CONNECT', 'PIPETRANSPORT_CONNECT'];
const TRANSPORT = 'ROUTER_CREATE_PLAINTRANSPORT';
const CONSUME = 'TRANSPORT_CONSUME';
const PRODUCE = 'TRANSPORT_PRODUCE';
const PAUSE = 'PRODUCER_PAUSE';

/** The requests of each round trip, by step. @type {Record<string, Record<StepName, string[][]>>} */
const EXPECTED = {
  router: {
    // The second host's part is paired with the third's too, since that may be the next to listen.
    newPair: [
      [...CREATE, ...CREATE, TRANSPORT, 'WORKER_CREATE_ROUTER'],
      [...CONNECT, ...CONNECT, CONSUME, CONSUME, PRODUCE],
    ],
    samePair: [[CONSUME, CONSUME, PRODUCE]],
    pause: [[PAUSE, PAUSE]],
  },
  pipeToRouter: {
    newPair: [[...CREATE, TRANSPORT], [...CONNECT, CONSUME], [PRODUCE], [CONSUME]],
    samePair: [[CONSUME], [PRODUCE], [CONSUME]],
    pause: [[PAUSE], [PAUSE]],
  },
  mediasoup: {
    newPair: [[...CREATE, TRANSPORT], CONNECT, [CONSUME], [PRODUCE], [CONSUME]],
    samePair: [[CONSUME], [PRODUCE], [CONSUME]],
    pause: [[PAUSE], [PAUSE]],
  },
};

/** @type {TestAgent[]} */
let agents;
/** @type {SteppedLink[]} */
let links;

beforeAll(async () => {
  agents = [];
  links = [];
  for (let i = 0; i < AGENTS; i++) {
    const agent = await TestAgent.start({ args: ['--max-workers', '8'] });

    agents.push(agent);
    links.push(await SteppedLink.open(agent.url));
  }
});

afterAll(async () => {
  for (const link of links) {
    link.close();
  }
  await Promise.all(agents.map((agent) => agent.stop()));
});

test.each(SCENARIOS)('round trips of $text', async (scenario) => {
  const connections = agents.map(
    ({ token }, i) => new RemoteConnection({ url: links[i]?.url ?? '', token }),
  );
  const world = await PipeWorld.open(scenario, connections);
  const { fences } = world;
  /** @type {Record<string, string[][]>} */
  const rounds = {};

  try {
    for (const [name, run] of Object.entries(await world.steps())) {
      rounds[name] = await countRoundTrips({ links, fences, run });
    }
  } finally {
    world.close();
  }
  expect(rounds).toEqual(EXPECTED[scenario.name]);
});
