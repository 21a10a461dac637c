'use strict';

const { setTimeout: pause } = require('node:timers/promises');
const { AgentProcess } = require('./lib/agent-process');
const { AppProcess } = require('./lib/app-process');
const { until } = require('./lib/deadline');
const { OURS } = require('./lib/modes');
const {
  childrenOf,
  killAll,
  marked,
  markedEnv,
  newMark,
  openPorts,
  realWorkers,
  socketsOf,
} = require('./lib/process-table');
const { Random } = require('../support/random');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** @import { Mode } from './lib/modes' */

/**
 * What a run repeats. Which process is hit at which moment still depends on the machine.
 */
const SEED = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env.TEST_KILLS ?? 3);

/** Within this time no process and no port is left of what was killed. */
const CLEAN_MS = 10_000;
const CONNECT_TIMEOUT_MS = 2_000;

/** When to strike: this long at most after the app said that a phase began. */
const JITTER_MS = 15;
const PHASES = ['creating', 'loading', 'closing'];

const VICTIMS = /** @type {const} */ (['app', 'stub', 'worker', 'agent']);

/** How long each kind of cleaning took, for the report. @type {Map<string, number[]>} */
const figures = new Map();
const seen = { died: 0, refusals: 0, aborted: 0 };

const cases = OURS.flatMap((mode) =>
  VICTIMS.filter((victim) => victim !== 'agent' || mode.remote).map((victim) => ({
    name: `${mode.name}: ${victim}`,
    mode,
    victim,
  })),
);
const random = new Random(SEED);

afterAll(() => {
  const lines = [...figures].map(([name, times]) => {
    const sorted = times.toSorted((one, other) => one - other);

    return `  ${name}: median ${sorted[sorted.length >> 1]} ms, longest ${sorted.at(-1)} ms`;
  });

  process.stdout.write(
    `killed with seed ${SEED}, ${ROUNDS} rounds; nothing was left after\n${lines.join('\n')}\n` +
      `the apps saw ${JSON.stringify(seen)}\n`,
  );
});

describe.each(cases)('$name is killed', ({ name, mode, victim }) => {
  /** @type {string} */
  let mark;

  beforeEach(() => {
    mark = newMark();
  });

  afterEach(() => {
    killAll(marked(mark).map(({ pid }) => pid));
  });

  test.each(Array.from({ length: ROUNDS }, (_, round) => round))(
    `and nothing is left (round %i, seed ${SEED})`,
    async () => {
      const agent = mode.remote ? await startAgent() : undefined;
      const app = await startApp(mode, agent);
      const phase = random.pick(PHASES);
      const count = 1 + random.integer(8);
      const jitter = random.integer(JITTER_MS);

      await until(
        () => app.events.filter(({ event }) => event === phase).length >= count,
        () => `${count} times ${phase}, heard ${JSON.stringify(app.events)}`,
      );
      await pause(jitter);
      const sockets = socketsOf(marked(mark).map(({ pid }) => pid));
      const start = await strike(() => choose(victim, app, agent));

      if (victim === 'app') {
        await clean(agent?.pid);
        await app.ended();
      } else {
        app.tell('stop');
        await Promise.all([expectTold(app, victim), victim === 'agent' && workersGone(start)]);
        await clean(agent?.pid);
      }
      note(name, Date.now() - start);
      await expectAgent(agent, victim);
      expect(openPorts(sockets)).toEqual([]);
    },
  );

  function startAgent() {
    // A killed app looks like one that is cut off: its Workers wait for it that long.
    const args = ['--max-workers', '64', '--session-timeout', '1'];

    return AgentProcess.start({ env: markedEnv(mark), args });
  }

  /**
   * @param {Mode} mode
   * @param {AgentProcess | undefined} agent
   */
  async function startApp(mode, agent) {
    return new AppProcess({
      fixture: 'busy-app.js',
      mode,
      url: await agent?.url(),
      env: {
        ...markedEnv(mark),
        MEDIASOUP_HORIZONTAL_CONNECT_TIMEOUT_MS: String(CONNECT_TIMEOUT_MS),
      },
    });
  }

  /** @param {number} start */
  async function workersGone(start) {
    await until(() => realWorkers(mark).length === 0, 'the end of the workers', CLEAN_MS);
    note(`${name}, its workers`, Date.now() - start);
  }

  /**
   * @param {typeof VICTIMS[number]} victim
   * @param {AppProcess} app
   * @param {AgentProcess | undefined} agent
   * @returns {Promise<number>}
   */
  async function choose(victim, app, agent) {
    switch (victim) {
      case 'app':
        return app.pid;
      case 'agent':
        return /** @type {AgentProcess} */ (agent).pid;
      case 'stub':
        return random.pick(
          await some(() => childrenOf(app.pid).filter(({ state }) => state !== 'Z')),
        ).pid;
      default:
        return random.pick(await some(() => realWorkers(mark)));
    }
  }

  /** @param {number | undefined} agentPid Of the agent that may stay. */
  async function clean(agentPid) {
    const left = () => marked(mark).filter(({ pid }) => pid !== agentPid);

    await until(
      () => left().length === 0,
      () => `a clean end, left ${JSON.stringify(left())}`,
      CLEAN_MS,
    );
  }
});

test('all kinds of ends were met', () => {
  expect(seen.died).toBeGreaterThan(0);
  expect(seen.refusals).toBeGreaterThan(0);
  expect(seen.aborted).toBeGreaterThan(0);
});

/**
 * Waits until there is something to choose from.
 *
 * @template T
 * @param {() => T[]} look
 * @returns {Promise<T[]>}
 */
function some(look) {
  return until(() => {
    const found = look();

    return found.length > 0 ? found : undefined;
  }, 'something to kill');
}

/**
 * @param {() => Promise<number>} choose
 * @returns {Promise<number>} When it struck.
 */
function strike(choose) {
  return until(async () => {
    const pid = await choose();

    try {
      process.kill(pid, 'SIGKILL');

      return Date.now();
    } catch {
      return 0; // It ended by itself meanwhile.
    }
  }, 'something that could be killed');
}

/**
 * The app lives, and mediasoup told it everything as always.
 *
 * @param {AppProcess} app
 * @param {string} victim
 */
async function expectTold(app, victim) {
  const summary = await app.said('summary');

  expect(summary.violations).toEqual([]);
  expect(summary.slowestRefusal).toBeLessThan(CONNECT_TIMEOUT_MS + 1_500);
  expect(await app.ended()).toEqual({ code: 0, signal: null });
  if (victim !== 'agent') {
    // One process ended; the others' Workers never noticed.
    expect(summary.died + summary.refusals.length).toBeLessThanOrEqual(1);
  }
  seen.died += summary.died;
  seen.refusals += summary.refusals.length;
  seen.aborted += summary.aborted;
}

/**
 * @param {AgentProcess | undefined} agent
 * @param {string} victim
 */
async function expectAgent(agent, victim) {
  if (agent && victim === 'agent') {
    expect(await agent.ended()).toMatchObject({ code: null, signal: 'SIGKILL' });
  } else if (agent) {
    expect(await agent.stop()).toMatchObject({ code: 0, signal: null });
  }
}

/**
 * @param {string} name
 * @param {number} ms
 */
function note(name, ms) {
  figures.set(name, [...(figures.get(name) ?? []), ms]);
}
