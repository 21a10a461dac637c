'use strict';

const { spawn } = require('node:child_process');
const { EventEmitter, once } = require('node:events');
const path = require('node:path');
const { CHANGE, Changes } = require('../../js/monitor/changes');
const { openRoom, scatteredMocks } = require('./lib/room');

/** @import { HorizontalChange, ObjectEvent } from '../..' */
/** @import { Horizontal } from '../..' */

/** @type {Horizontal | undefined} */
let horizontal;

afterEach(() => horizontal?.close());

/**
 * The next changes, up to the one that is looked for.
 *
 * @param {AsyncIterableIterator<HorizontalChange>} changes
 * @param {(change: any) => boolean} wanted
 */
async function until(changes, wanted) {
  /** @type {any[]} */
  const seen = [];

  for (;;) {
    const { done, value } = await changes.next();

    if (done) {
      throw new Error(`the changes ended after ${JSON.stringify(seen)}`);
    }
    seen.push(value);
    if (wanted(value)) {
      return seen;
    }
  }
}

test('changes() begins with what is there and goes on with what comes and goes', async () => {
  horizontal = scatteredMocks('a', 'b');

  const { worker, router, transports, producer, consumers } = await openRoom(horizontal, 2);
  const changes = horizontal.changes();
  const { value: snapshot } = await changes.next();

  expect(snapshot).toMatchObject({ type: 'snapshot', stats: { workers: [{ pid: worker.pid }] } });
  expect(snapshot.stats.objects).toHaveLength(6);

  const observer = await router.createAudioLevelObserver();
  const within = { worker: worker.pid, router: router.id };
  const opened = { type: 'newobject', kind: 'rtpObserver', id: observer.id, connection: 'a' };

  expect(await until(changes, ({ kind }) => kind === 'rtpObserver')).toEqual([
    { ...opened, ...within },
  ]);

  producer.close();
  transports[0]?.close();

  let count = 0;
  // The Consumer's own mediasoup-worker says when that is gone.
  const closed = await until(changes, () => ++count === 3);
  const gone = { ...within, type: 'closeobject', reason: null };

  expect(closed[0]).toEqual({ ...gone, kind: 'producer', id: producer.id, connection: 'b' });
  expect(closed).toContainEqual({
    ...gone,
    kind: 'consumer',
    id: consumers[0]?.id,
    connection: 'a',
  });
  expect(closed).toContainEqual({
    ...gone,
    kind: 'webRtcTransport',
    id: transports[0]?.id,
    connection: 'b',
  });

  worker.close();

  const end = await until(changes, ({ kind }) => kind === 'worker');

  expect(end.map(({ kind, reason, connection }) => [kind, reason, connection])).toEqual([
    ['router', null, 'a'],
    ...[
      ['webRtcTransport', null, 'a'],
      ['rtpObserver', null, 'a'],
    ].map(() => [expect.any(String), null, 'a']),
    ['worker', null, 'a'],
  ]);

  horizontal.close();
  expect(await changes.next()).toEqual({ done: true, value: undefined });
});

test('a Worker that is killed is told as died, and all that it had', async () => {
  horizontal = scatteredMocks('a', 'b');

  const { worker } = await openRoom(horizontal, 2);
  const changes = horizontal.changes();

  await changes.next();
  process.kill(worker.pid, 'SIGKILL');

  const end = await until(changes, ({ kind }) => kind === 'worker');

  expect(end).toHaveLength(6);
  expect(end.every(({ type, reason }) => type === 'closeobject' && reason === 'died')).toBe(true);
});

test('objects are told to whoever listens for them, and else not made into events', async () => {
  horizontal = scatteredMocks('a');

  const created = once(horizontal, 'newobject');
  const { worker } = await openRoom(horizontal, 1);

  expect((await created)[0]).toEqual({
    kind: 'worker',
    id: `${worker.pid}`,
    connection: 'a',
    worker: worker.pid,
    router: null,
  });
  // once() has let go: nobody listens now.
  const quiet = await worker.createRouter();
  const heard = once(horizontal, 'newobject');
  const loud = await worker.createRouter();

  expect((await heard)[0].id).toBe(loud.id);
  expect(quiet.id).not.toBe(loud.id);
});

test('an iteration that ends lets go of everything, and of its process', async () => {
  horizontal = scatteredMocks('a');

  const before = horizontal.eventNames();

  for await (const change of horizontal.changes()) {
    expect(change.type).toBe('snapshot');
    expect(horizontal.eventNames()).toHaveLength(before.length + 1);
    break;
  }
  expect(horizontal.eventNames()).toEqual(before);

  const script = `
    const { Horizontal, MockConnection } = require(${JSON.stringify(path.join(__dirname, '../..'))});
    const horizontal = new Horizontal([new MockConnection()]);
    (async () => {
      for await (const { type } of horizontal.changes()) {
        console.log(type);
      }
    })();
  `;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let told = '';

  child.stdout.setEncoding('utf8').on('data', (text) => {
    told += text;
  });

  expect(await once(child, 'close')).toEqual([0, null]);
  expect(told).toMatch(/^snapshot\n/);
});

describe('where changes get lost', () => {
  class Source extends EventEmitter {
    closed = false;
    /** @type {ObjectEvent[]} */
    objects = [];
    asked = 0;

    /** @type {() => Promise<any>} */
    stats = async () => {
      this.asked += 1;

      return { objects: [...this.objects] };
    };

    /** @param {HorizontalChange} change */
    tell(change) {
      this.emit(CHANGE, change);
    }

    /** @param {string} id */
    add(id) {
      const object = routerOf(id);

      this.objects.push(object);
      this.tell({ type: 'newobject', ...object });
    }
  }

  /**
   * @param {string} id
   * @returns {ObjectEvent}
   */
  function routerOf(id) {
    return { kind: 'router', id, connection: 'a', worker: 1, router: id };
  }

  test('it is said, and a snapshot follows', async () => {
    const source = new Source();
    const changes = new Changes(source);

    expect((await changes.next()).value).toMatchObject({ type: 'snapshot' });
    source.add('one');
    expect((await changes.next()).value).toMatchObject({ type: 'newobject', id: 'one' });
    source.add('two');
    source.tell({ type: 'missed', count: 7 });
    source.add('three');
    expect((await changes.next()).value).toEqual({ type: 'missed', count: 9 });

    const { value } = await changes.next();

    expect(value).toMatchObject({ type: 'snapshot' });
    expect(/** @type {any} */ (value).stats.objects).toHaveLength(3);
    source.add('four');
    expect((await changes.next()).value).toMatchObject({ type: 'newobject', id: 'four' });
    expect(source.asked).toBe(2);
  });

  test('what waits is bounded', async () => {
    const source = new Source();
    const changes = new Changes(source);

    await changes.next();
    for (let i = 0; i < 10_005; i++) {
      source.add(`${i}`);
    }
    expect((await changes.next()).value).toEqual({ type: 'missed', count: 10_005 });
    expect((await changes.next()).value).toMatchObject({ type: 'snapshot' });
  });

  test('what the snapshot has already is not told twice', async () => {
    const source = new Source();
    const changes = new Changes(source);

    source.add('before');
    source.add('brief');
    source.objects.pop();
    source.tell({ type: 'closeobject', ...routerOf('unknown'), reason: null });

    const { value } = await changes.next();

    expect(/** @type {any} */ (value).stats.objects).toEqual([routerOf('before')]);
    source.tell({ type: 'closeobject', ...routerOf('brief'), reason: null });
    expect((await changes.next()).value).toMatchObject({ type: 'newobject', id: 'brief' });
    expect((await changes.next()).value).toMatchObject({ type: 'closeobject', id: 'brief' });
  });

  test('changes that are lost while a snapshot is made are told of too', async () => {
    const source = new Source();
    const changes = new Changes(source);
    const { stats } = source;

    source.stats = async () => {
      source.stats = stats;
      source.tell({ type: 'missed', count: 1 });

      return { objects: [] };
    };
    expect((await changes.next()).value).toMatchObject({ type: 'snapshot' });
    expect((await changes.next()).value).toEqual({ type: 'missed', count: 1 });
    expect((await changes.next()).value).toMatchObject({ type: 'snapshot' });
  });

  test('a snapshot that fails ends the iteration with its error', async () => {
    const source = new Source();
    const changes = new Changes(source);

    source.stats = () => Promise.reject(new Error('no stats'));
    await expect(changes.next()).rejects.toThrow('no stats');
    expect(await changes.next()).toEqual({ done: true, value: undefined });
    expect(source.eventNames()).toEqual([]);
  });

  test('whoever waits hears of the end', async () => {
    const source = new Source();
    const changes = new Changes(source);

    await changes.next();

    const waiting = [changes.next(), changes.next()];

    await changes.return();
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
  });
});
