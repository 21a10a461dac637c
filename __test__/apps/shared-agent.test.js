'use strict';

const { onAgents, plain } = require('./lib/places');
const { RunningApp } = require('./lib/running-app');
const { visit, visitOnce } = require('./lib/visit');
const { visitWorkerPerRoom } = require('./scripts/worker-per-room');
const { visitWorkerPool } = require('./scripts/worker-pool');

const TEST_TIMEOUT = 90_000;

jest.setTimeout(TEST_TIMEOUT);

test('two apps share an agent without seeing each other', async () => {
  const place = await onAgents(1);
  const [pool, perRoom] = await Promise.all([
    RunningApp.start('worker-pool.js', place),
    RunningApp.start('worker-per-room.mjs', place),
  ]);

  try {
    // At the same time, each says what it says when it is alone on plain mediasoup. One of them
    // kills a Worker of its own.
    const [a, b] = await Promise.all([
      visit(pool, visitWorkerPool),
      visit(perRoom, visitWorkerPerRoom),
    ]);

    expect(a).toEqual(await visitOnce('worker-pool.js', await plain(), visitWorkerPool));
    expect(b).toEqual(await visitOnce('worker-per-room.mjs', await plain(), visitWorkerPerRoom));

    // One is killed; the other goes on.
    pool.kill();
    await pool.ended;
    expect(await visit(perRoom, visitWorkerPerRoom)).toEqual(b);
  } finally {
    pool.kill();
    perRoom.kill();
    await Promise.all(place.agents.map((agent) => agent.stop()));
  }
});
