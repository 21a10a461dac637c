'use strict';

const { WorkerLife } = require('./lib/worker-life');
const { ALL, OpenMode, PLAIN } = require('./lib/modes');
const { until, within } = require('./lib/deadline');
const { gone, isRunning, realWorkers } = require('./lib/process-table');

/** @import { Mode } from './lib/modes' */

/** What mediasoup tells its app when a worker with a Router and a transport dies. */
const DEATH = [
  'transport observer close',
  'router workerclose',
  'router observer close',
  'died closed=true died=true',
  'subprocessclose',
  'observer close',
];

const AUDIO = [
  { kind: /** @type {const} */ ('audio'), mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
];

/** What ends the real worker, and how that looks to the app. */
const KILLS = /** @type {const} */ ([
  ['SIGKILL', 'code:null, signal:SIGKILL'],
  ['SIGSEGV', 'code:null, signal:SIGSEGV'],
  // mediasoup-worker closes itself on these two.
  ['SIGTERM', 'code:0, signal:null'],
  ['SIGINT', 'code:0, signal:null'],
]);

describe.each(ALL)('$name', (mode) => {
  /** @type {OpenMode} */
  let open;

  beforeAll(async () => {
    open = await OpenMode.open(mode);
  });

  afterAll(async () => {
    await open.close();
    await until(() => realWorkers(open.mark).length === 0, 'the end of all workers');
  });

  test.each(KILLS)('tells of a worker that ends by %s as mediasoup does', async (signal, how) => {
    const life = await WorkerLife.start(open);
    const router = await life.worker.createRouter({ mediaCodecs: AUDIO });

    await router.createDirectTransport();
    const pending = stop(life.realPid, () => life.worker.getResourceUsage());

    process.kill(life.realPid, signal);
    process.kill(life.realPid, 'SIGCONT');
    await life.ended();

    expect(life.death?.message).toBe(`[pid:${life.worker.pid}, ${how}]`);
    expect(life.events.filter((event) => event !== 'transport routerclose')).toEqual(DEATH);
    expect(life.events).toContain('transport routerclose');
    // A worker that closes itself may answer first.
    await expectSettled(pending, signal === 'SIGKILL' || signal === 'SIGSEGV');
    await expect(life.worker.dump()).rejects.toThrow(
      'Channel closed, cannot send request [method:WORKER_DUMP]',
    );
    await gone(life.realPid);
  });

  test.each(KILLS)('takes %s to worker.pid as mediasoup does', async (signal, how) => {
    const life = await WorkerLife.start(open);

    process.kill(life.worker.pid, signal);
    await life.ended();

    expect(life.death?.message).toBe(`[pid:${life.worker.pid}, ${how}]`);
    await gone(life.realPid);
    await gone(life.worker.pid);
  });

  test('closes with subprocessclose and nothing else', async () => {
    const life = await WorkerLife.start(open);
    const pending = stop(life.realPid, () => life.worker.getResourceUsage());

    life.worker.close();
    expect(life.worker.subprocessClosed).toBe(false);
    process.kill(life.realPid, 'SIGCONT');
    await life.ended();

    expect(life.events).toEqual(['observer close', 'subprocessclose']);
    expect(life.worker).toMatchObject({ closed: true, died: false, subprocessClosed: true });
    await expectSettled(pending, true);
    await gone(life.realPid);
    await gone(life.worker.pid);
  });

  test('survives the signals that mediasoup-worker ignores', async () => {
    const life = await WorkerLife.start(open);

    for (const pid of new Set([life.worker.pid, life.realPid])) {
      for (const signal of /** @type {const} */ ([
        'SIGPIPE',
        'SIGHUP',
        'SIGALRM',
        'SIGUSR1',
        'SIGUSR2',
      ])) {
        process.kill(pid, signal);
      }
    }

    // They are dealt with before anything that is sent later.
    expect((await life.worker.dump()).pid).toBe(life.worker.pid);
    expect(isRunning(life.worker.pid)).toBe(true);
    expect(life.events).toEqual([]);
    await life.close();
  });

  test('loses no answer that a worker gives right before it ends', async () => {
    const life = await WorkerLife.start(open);
    const answers = stop(life.realPid, () =>
      Array.from({ length: 200 }, () => life.worker.dump()),
    );

    // It reads what waits, answers, and only then sees its signal.
    await within(sent(life), 'the requests on their way');
    process.kill(life.realPid, 'SIGCONT');
    await within(answers[0], 'the first answer');
    process.kill(life.realPid, 'SIGKILL');
    await life.ended();
    const results = await Promise.allSettled(answers);
    const answered = results.map(({ status }) => status === 'fulfilled');
    const last = answered.lastIndexOf(true);

    expect(answered.slice(0, last + 1)).not.toContain(false);
    expect(last).toBeGreaterThanOrEqual(0);
  });
});

/**
 * Sends while the worker is stopped, so that it cannot answer yet.
 *
 * @template T
 * @param {number} pid
 * @param {() => T} send
 * @returns {T}
 */
function stop(pid, send) {
  process.kill(pid, 'SIGSTOP');

  return send();
}
