'use strict';

const { AGENT, BARE_STUB_AGENT, OpenMode, WAITING } = require('./lib/modes');
const { within } = require('./lib/deadline');
const { WorkerLife } = require('./lib/worker-life');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

/** Those whose stub waits; with an agent and no core in the app the stub is the core. */
test.each([WAITING, AGENT])('$name: a stopped stub stops nothing', async (mode) => {
  const open = await OpenMode.open(mode);
  const life = await WorkerLife.start(open);

  process.kill(life.worker.pid, 'SIGSTOP');
  const router = await within(life.worker.createRouter(), 'createRouter');
  const dumps = await within(
    Promise.all(Array.from({ length: 1_000 }, () => router.dump())),
    '1000 answers',
  );

  expect(new Set(dumps.map(({ id }) => id))).toEqual(new Set([router.id]));
  process.kill(life.worker.pid, 'SIGCONT');
  await life.close();
  await open.close();
});

test('a stopped stub that is its own core goes on where it was', async () => {
  const open = await OpenMode.open(BARE_STUB_AGENT);
  const life = await WorkerLife.start(open);

  process.kill(life.worker.pid, 'SIGSTOP');
  const dumps = Array.from({ length: 1_000 }, () => life.worker.dump());

  process.kill(life.worker.pid, 'SIGCONT');
  await within(Promise.all(dumps), '1000 answers');
  await life.close();
  await open.close();
});
