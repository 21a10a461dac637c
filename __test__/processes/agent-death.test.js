'use strict';

const { Horizontal } = require('../..');
const { AgentProcess } = require('./lib/agent-process');
const { until, within } = require('./lib/deadline');
const { AGENT, BARE_STUB_AGENT, OpenMode } = require('./lib/modes');
const { realWorkers } = require('./lib/process-table');
const { WorkerLife } = require('./lib/worker-life');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** What mediasoup tells its app when a worker with a Router dies. */
const DEATH = [
  'router workerclose',
  'router observer close',
  'died closed=true died=true',
  'subprocessclose',
  'observer close',
];

const CONNECT_TIMEOUT_MS = 1_500;
/** Beyond the timeout, on a busy machine. */
const GRACE_MS = 1_500;

describe.each([AGENT, BARE_STUB_AGENT])('$name', (mode) => {
  test.each(/** @type {const} */ (['SIGKILL', 'SIGTERM']))(
    'every Worker dies in the words of mediasoup when the agent gets %s',
    async (signal) => {
      const open = await OpenMode.open(mode);
      const lives = [await WorkerLife.start(open), await WorkerLife.start(open)];
      const agent = /** @type {AgentProcess} */ (open.agent);

      await Promise.all(lives.map(({ worker }) => worker.createRouter()));
      agent.kill(signal);
      await Promise.all(lives.map((life) => life.ended()));
      for (const { events, death, worker } of lives) {
        expect(events).toEqual(DEATH);
        // One that the agent asks to end says code 0, one that is lost with its agent code 1 and,
        // where the app knows more than the stub's exit status, why.
        const cause = mode === AGENT && signal === 'SIGKILL' ? ': agent ws://.+' : '';

        expect(death?.message).toMatch(
          new RegExp(`^\\[pid:${worker.pid}, code:[01], signal:null\\]${cause}$`),
        );
      }
      const { code, signal: by } = await agent.ended();

      expect([code, by]).toEqual(signal === 'SIGTERM' ? [0, null] : [null, 'SIGKILL']);
      await until(() => realWorkers(open.mark).length === 0, 'the end of the workers');
      await open.close();
    },
  );
});

test('a createWorker that waits for an agent that dies is rejected in time', async () => {
  const agent = await AgentProcess.start();
  const url = await agent.url();
  const horizontal = new Horizontal([url], { connectTimeoutMs: CONNECT_TIMEOUT_MS });
  const first = await horizontal.mediasoup.createWorker();

  // It hears the question and cannot answer.
  agent.kill('SIGSTOP');
  const start = Date.now();
  const creating = Promise.allSettled([
    horizontal.mediasoup.createWorker(),
    horizontal.mediasoup.createWorker(),
  ]);

  agent.kill('SIGKILL');
  for (const result of await within(creating, 'both rejections')) {
    expect(result).toMatchObject({ status: 'rejected', reason: expect.any(Error) });
    expect(/** @type {PromiseRejectedResult} */ (result).reason.message).toContain(url);
  }
  expect(Date.now() - start).toBeLessThan(CONNECT_TIMEOUT_MS + GRACE_MS);
  await until(() => first.died && first.subprocessClosed, 'the death of the first Worker');
  horizontal.close();
});

test('an agent that comes back serves the same Horizontal', async () => {
  const first = await AgentProcess.start();
  const { url, address } = await first.ready();
  const horizontal = new Horizontal([url]);
  const lost = await horizontal.mediasoup.createWorker();

  first.kill('SIGKILL');
  await until(() => lost.died, 'the death of the Worker');
  const second = await AgentProcess.start({ listen: address });
  const worker = await within(horizontal.mediasoup.createWorker(), 'createWorker');

  expect((await worker.dump()).pid).toBe(worker.pid);
  worker.close();
  await until(() => worker.subprocessClosed, 'subprocessclose');
  horizontal.close();
  await second.stop();
});
