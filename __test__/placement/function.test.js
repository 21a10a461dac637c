'use strict';

const { Horizontal, MockConnection } = require('../..');
const { within } = require('../processes/lib/deadline');

jest.setTimeout(60_000);

/** @import { PlacementFunction } from '../../js/placement' */
/** @import { HorizontalOptions } from '../../js/horizontal' */

/** @type {Horizontal} */
let horizontal;

afterEach(() => horizontal.close());

/**
 * @param {PlacementFunction} placement
 * @param {HorizontalOptions} [options]
 */
function open(placement, options = {}) {
  horizontal = new Horizontal(
    [
      new MockConnection({ name: 'one', cores: 4, region: 'us', cpu: 0.25 }),
      new MockConnection({ name: 'two', cores: 2, region: 'eu' }),
    ],
    { ...options, placement },
  );
}

async function createWorker() {
  return within(horizontal.mediasoup.createWorker(), 'a Worker');
}

async function home() {
  return horizontal.whereIs(await createWorker())?.connection;
}

test('a name or a position decides where a Worker goes', async () => {
  const answers = ['two', 'two', 0, 1, 0];

  open(() => answers.shift());
  expect(await home()).toBe('two');
  expect(await home()).toBe('two');
  expect(await home()).toBe('one');
  // Full: the next best one takes it.
  expect(await home()).toBe('one');
  expect(await home()).toBe('one');
});

test('nothing leaves it to the package', async () => {
  open(() => undefined);
  expect([await home(), await home()].sort()).toEqual(['one', 'two']);
});

test('the function hears what is known', async () => {
  /** @type {any[]} */
  const asked = [];

  open(
    (...question) => {
      asked.push(question);

      return 0;
    },
    { region: 'eu', watermark: 0 },
  );
  const worker = await createWorker();

  await createWorker();
  const router = await worker.createRouter();

  await router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: '127.0.0.1' } });
  const [first, , third] = asked;

  expect(first).toEqual([
    { worker: worker.pid, router: null, transport: null },
    [
      {
        name: 'one',
        reachable: true,
        draining: false,
        near: false,
        cores: 4,
        cpu: 0,
        workers: 0,
        maxWorkers: 4,
        ownWorkers: 0,
        parts: 0,
      },
      expect.objectContaining({ name: 'two', near: true, cores: 2, maxWorkers: 2 }),
    ],
  ]);
  expect(asked).toHaveLength(3);
  expect(third[0]).toEqual({ worker: worker.pid, router: router.id, transport: 'plain' });
  expect(third[1][0]).toMatchObject({ workers: 2, ownWorkers: 2, parts: 1 });
  // Two Workers of a quarter of a core, and what they were guessed at when they were placed.
  expect(third[1][0].cpu).toBeGreaterThanOrEqual(0.5);
  expect(third[1][0].cpu).toBeLessThanOrEqual(0.6);
});

describe('an answer that is of no use', () => {
  /**
   * jest gives tests a `process` of their own, which hears of no warnings.
   *
   * @param {PlacementFunction} placement
   * @returns {Promise<string[]>} The warnings.
   */
  async function warningsOf(placement) {
    /** @type {string[]} */
    const warnings = [];
    const warned = new Promise((resolve) => {
      jest.spyOn(process, 'emitWarning').mockImplementation((text) => {
        warnings.push(String(text));
        resolve(undefined);
      });
    });

    open(placement);

    try {
      expect([await home(), await home()].sort()).toEqual(['one', 'two']);
      await within(warned, 'a warning');
    } finally {
      jest.restoreAllMocks();
    }

    return warnings;
  }

  /** @type {[string, any, string][]} */
  const answers = [
    [
      'an unknown name',
      () => 'three',
      "it returned 'three', no name or position of a candidate (one, two)",
    ],
    ['a position that is none', () => 2, 'it returned 2, no name or position'],
    ['a negative one', () => -1, 'it returned -1, no name or position'],
    ['a promise', async () => 0, 'it returned a Promise, no name or position'],
    ['an object', () => ({ index: 0 }), 'it returned a Object, no name or position'],
    [
      'an error',
      () => {
        throw new Error('out of ideas');
      },
      'it threw out of ideas',
    ],
    [
      'no answer in time',
      () => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500);

        return 1;
      },
      'it gave no answer within 1s',
    ],
  ];

  test.each(answers)('%s is passed over with one warning', async (_, placement, why) => {
    const warnings = await warningsOf(placement);

    expect(warnings).toEqual([
      expect.stringContaining(`the placement function is passed over, and 'pack' decides: ${why}`),
    ]);
  });
});
