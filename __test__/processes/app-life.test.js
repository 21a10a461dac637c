'use strict';

const { AgentProcess } = require('./lib/agent-process');
const { AppProcess } = require('./lib/app-process');
const { until } = require('./lib/deadline');
const { ALL } = require('./lib/modes');
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

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** Within this time nothing of an app is left, however it ended. */
const CLEAN_MS = 10_000;

describe.each(ALL)('$name', (mode) => {
  /** @type {string} */
  let mark;
  /** @type {AgentProcess | undefined} */
  let agent;
  /** @type {Set<string>} */
  let sockets;

  /** @type {AgentProcess[]} */
  const agents = [];

  beforeAll(async () => {
    mark = newMark();
    // Its session timeout is longer than CLEAN_MS: whoever ends in order must say so.
    agent = await startAgent();
  });

  /** @param {string[]} args */
  async function startAgent(...args) {
    if (!mode.remote) {
      return undefined;
    }
    const started = await AgentProcess.start({
      env: markedEnv(mark),
      args: ['--max-workers', '64', ...args],
    });

    agents.push(started);

    return started;
  }

  afterAll(async () => {
    await agent?.stop();
    expect(marked(mark)).toEqual([]);
  });

  /**
   * @param {string} scenario
   * @param {...(string | number)} args
   */
  async function start(scenario, ...args) {
    return new AppProcess({
      fixture: 'app.js',
      args: [scenario, ...args.map(String)],
      mode,
      url: await agent?.url(),
      env: markedEnv(mark),
    });
  }

  function rememberSockets() {
    sockets = socketsOf(marked(mark).map(({ pid }) => pid));
    // A worker that is about to start still shows the agent's own sockets.
    for (const own of socketsOf(agents.map(({ pid }) => pid))) {
      sockets.delete(own);
    }
  }

  /** Nothing is left but the agents. */
  async function expectClean() {
    const left = () => marked(mark).filter(({ pid }) => agents.every((own) => own.pid !== pid));

    try {
      await until(
        () => left().length === 0 && openPorts(sockets).length === 0,
        () => `a clean end, left ${JSON.stringify(left())} and ${openPorts(sockets)}`,
        CLEAN_MS,
      );
    } finally {
      // One failure must not be the next test's.
      killAll(left().map(({ pid }) => pid));
    }
  }

  beforeEach(() => {
    sockets = new Set();
  });

  afterEach(async () => {
    await expectClean();
  });

  test('ends by itself once no Worker is open', async () => {
    const app = await start('close', 3);

    expect(await app.ended()).toEqual({ code: 0, signal: null });
    expect(app.events.map(({ event }) => event)).toContain('closed');
    expect(app.events.filter(({ event }) => event === 'subprocessclose')).toHaveLength(3);
    expect(app.stderr).toBe('');
  });

  test('ends by itself when it makes no Worker', async () => {
    const app = await start('nothing');

    expect(await app.ended()).toEqual({ code: 0, signal: null });
  });

  test('leaves nothing after process.exit() under load', async () => {
    const app = await start('exit', 3, 7);
    const { pids } = await app.said('open');

    expect(pids).toHaveLength(3);
    rememberSockets();
    expect(await app.ended()).toEqual({ code: 7, signal: null });
  });

  describe('killed', () => {
    /** @type {AgentProcess | undefined} */
    let usual;

    beforeAll(async () => {
      usual = agent;
      // Whoever is killed may only be cut off, for all that an agent knows.
      agent = await startAgent('--session-timeout', '1');
    });

    afterAll(async () => {
      await agent?.stop();
      agent = usual;
    });

    test('lives while a Worker is open, and ends when that one dies', async () => {
      const app = await start('stay', 1);
      const { pids } = await app.said('open');

      // All that could end it early has run by then: its answers take many turns of its loop.
      await until(() => realWorkers(mark).length === 1, 'the worker');
      await expect(app.ended(500)).rejects.toThrow('took more than');
      process.kill(pids[0], 'SIGKILL');

      expect(await app.ended()).toEqual({ code: 0, signal: null });
      expect(await app.said('died')).toEqual({
        event: 'died',
        message: `[pid:${pids[0]}, code:null, signal:SIGKILL]`,
      });
    });

    test('leaves nothing after SIGKILL', async () => {
      const app = await start('load', 3);

      await app.said('open');
      expect(realWorkers(mark)).toHaveLength(3);
      rememberSockets();
      app.kill('SIGKILL');

      expect(await app.ended()).toEqual({ code: null, signal: 'SIGKILL' });
    });
  });

  test.each(/** @type {const} */ (['SIGINT', 'SIGTERM']))(
    'closes its Workers on %s to the process group, and ends',
    async (signal) => {
      const app = await start('stay', 2);

      await app.said('open');
      rememberSockets();
      app.killGroup(signal);

      // mediasoup's handler closes the Workers; then nothing keeps the process.
      expect(await app.ended()).toEqual({ code: 0, signal: null });
      const events = app.events.map(({ event }) => event);

      expect(events.filter((event) => event === 'observer close')).toHaveLength(2);
      expect(events.filter((event) => event === 'subprocessclose')).toHaveLength(2);
      // The signal reaches the workers too, and who is first differs with mediasoup alone as well.
      for (const { message } of app.events.filter(({ event }) => event === 'died')) {
        expect(message).toMatch(/code:0, signal:null\]$/);
      }
    },
  );

  test('leaves no descriptor and no zombie behind 30 Workers', async () => {
    const app = await start('leaks', 30);
    const { before, during, pid } = await app.said('leaks', 60_000);

    expect(during).toBeGreaterThan(before + 30);
    await until(
      () => {
        app.kill('SIGUSR2');

        return app.events.filter(({ event }) => event === 'fds').at(-1)?.count <= before;
      },
      () => `${before} descriptors again, now ${JSON.stringify(app.events.at(-1))}`,
    );
    await until(
      () => childrenOf(pid).length === 0,
      () => `no child left, there are ${JSON.stringify(childrenOf(pid))}`,
    );
    app.tell('end');

    expect(await app.ended()).toEqual({ code: 0, signal: null });
  });

  test('loses nothing of 12 MB while the main thread is blocked', async () => {
    const app = await start('flood', 3_000, 4_096);

    expect(await app.said('flood', 30_000)).toEqual({
      event: 'flood',
      received: 3_000,
      ordered: true,
    });
    expect(await app.ended()).toEqual({ code: 0, signal: null });
  });

  test('survives threads that are terminated with Workers under load', async () => {
    const app = await start('threads', 8);

    expect(await app.said('threads', 60_000)).toEqual({ event: 'threads', pid: true });
    rememberSockets();
    expect(await app.ended(30_000)).toEqual({ code: 0, signal: null });
  });
});
