'use strict';

const { until, within } = require('./lib/deadline');
const { ALL, OpenMode } = require('./lib/modes');
const { gone, isRunning, realWorkers } = require('./lib/process-table');
const { WorkerLife } = require('./lib/worker-life');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** What mediasoup tells its app when a worker with a Router and a transport dies. */
const DEATH = [
  'transport routerclose',
  'transport observer close',
  'router workerclose',
  'router observer close',
  'died closed=true died=true',
  'subprocessclose',
  'observer close',
];

/** What ends a worker, and how that looks to the app. The last two are its own way to close. */
const KILLS = /** @type {const} */ ([
  ['SIGKILL', 'code:null, signal:SIGKILL'],
  ['SIGSEGV', 'code:null, signal:SIGSEGV'],
  ['SIGTERM', 'code:0, signal:null'],
  ['SIGINT', 'code:0, signal:null'],
]);

const IGNORED = /** @type {const} */ (['SIGPIPE', 'SIGHUP', 'SIGALRM', 'SIGUSR1', 'SIGUSR2']);

describe.each(ALL)('$name', (mode) => {
  /** @type {OpenMode} */
  let open;

  beforeAll(async () => {
    // A core that is killed, in the process that stands for its Worker, cannot say goodbye.
    open = await OpenMode.open(mode, ['--session-timeout', '1']);
  });

  afterAll(async () => {
    await open.close();
    await until(() => realWorkers(open.mark).length === 0, 'the end of all workers');
  });

  test.each(KILLS)('tells of a worker that ends by %s', async (signal, how) => {
    const life = await WorkerLife.start(open);
    const router = await life.worker.createRouter();

    await router.createDirectTransport();
    process.kill(life.realPid, signal);
    await life.ended();

    expect(life.death?.message).toBe(`[pid:${life.worker.pid}, ${how}]`);
    expect(life.events).toEqual(DEATH);
    await expect(life.worker.dump()).rejects.toThrow(
      'Channel closed, cannot send request [method:WORKER_DUMP]',
    );
    await gone(life.realPid);
    await gone(life.worker.pid);
  });

  test.each(KILLS)('takes %s to worker.pid', async (signal, how) => {
    const life = await WorkerLife.start(open);

    process.kill(life.worker.pid, signal);
    await life.ended();

    expect(life.death?.message).toBe(`[pid:${life.worker.pid}, ${how}]`);
    expect(life.events).toEqual(DEATH.slice(-3));
    await gone(life.realPid);
    await gone(life.worker.pid);
  });

  test('rejects what waits for an answer of a worker that dies', async () => {
    const life = await WorkerLife.start(open);

    process.kill(life.realPid, 'SIGSTOP');
    const pending = life.worker.getResourceUsage().catch((error) => error);

    process.kill(life.realPid, 'SIGKILL');
    await life.ended();

    expectAborted(await within(pending, 'the rejection'));
  });

  test('closes with subprocessclose and without died', async () => {
    const life = await WorkerLife.start(open);

    process.kill(life.realPid, 'SIGSTOP');
    const pending = life.worker.getResourceUsage().catch((error) => error);

    life.worker.close();
    expect(life.worker).toMatchObject({ closed: true, subprocessClosed: false });
    process.kill(life.realPid, 'SIGCONT');
    await life.ended();

    expect(life.events).toEqual(['observer close', 'subprocessclose']);
    expect(life.worker).toMatchObject({ died: false, subprocessClosed: true });
    expectAborted(await within(pending, 'the rejection'));
    await gone(life.realPid);
    await gone(life.worker.pid);
  });

  test('survives the signals that mediasoup-worker ignores', async () => {
    const life = await WorkerLife.start(open);

    for (const signal of IGNORED) {
      for (const pid of new Set([life.worker.pid, life.realPid])) {
        process.kill(pid, signal);
      }
    }

    expect((await life.worker.dump()).pid).toBe(life.worker.pid);
    expect(isRunning(life.worker.pid)).toBe(true);
    expect(life.events).toEqual([]);
    await life.close();
  });

  test('says its pid everywhere alike', async () => {
    const life = await WorkerLife.start(open);

    expect((await life.worker.dump()).pid).toBe(life.worker.pid);
    expect(isRunning(life.worker.pid)).toBe(true);
    expect(life.realPid === life.worker.pid).toBe(mode.inPlace);
    await life.close();
  });
});

/** @param {any} error */
function expectAborted(error) {
  // Compared by name: the class of another copy of mediasoup must not make a difference.
  expect(error.constructor.name).toBe('WorkerClosedError');
  expect(error.message).toMatch(
    /^Channel closed, pending request aborted \[method:WORKER_GET_RESOURCE_USAGE, id:\d+\]$/,
  );
}
