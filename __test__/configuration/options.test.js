'use strict';

/** What constructors do with options, against the table of them. */

const {
  Horizontal,
  LocalConnection,
  MockConnection,
  RemoteConnection,
  horizontal,
} = require('../..');
const { CONSTRUCTORS } = require('../../js/configuration');

/** @import { Owner } from '../../js/configuration' */

const url = 'ws://127.0.0.1:9';

/** @type {Record<Owner, (options: any) => unknown>} */
const make = {
  Horizontal: (options) => new Horizontal([], options).close(),
  LocalConnection: (options) => new LocalConnection(options),
  RemoteConnection: (options) => new RemoteConnection({ url, ...options }),
  MockConnection: (options) => new MockConnection(options),
};

/** Something that each option takes. @type {Record<string, unknown[]>} */
const GOOD = {
  announcedMode: ['auto', 'identity'],
  callTimeoutMs: [1, 'infinite'],
  compatibility: ['strict', 'pipes', 'schema'],
  connectTimeoutMs: [0, 10_000],
  cores: [1],
  cpu: [0, 0.25],
  execInPlace: [true, false],
  fastDeath: [true, false],
  heartbeatMs: [1],
  maxFanOut: [1],
  maxParts: [1],
  onPartLost: ['continue', 'died'],
  placement: ['home', 'pack', 'leastLoaded', 'roundRobin', 'scatter', () => null],
  selfAddresses: [[], ['203.0.113.1', 'app.example']],
  sessionTimeoutMs: [0, 'infinite'],
  silenceMs: [0],
  silentWindowMs: [0],
  url: [url],
  watermark: [0, 0.6, 1],
  workersPerHost: [1],
};

/** Beyond what the kinds of all options take, and just beyond what some do. */
const BAD = [
  null,
  -1,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '',
  Symbol('hush'),
  { hush: 'hush' },
  ['', 'hush'],
  Object.assign(() => {}, { hush: 'hush' }),
];

/** @param {() => unknown} call @returns {Error} */
function errorOf(call) {
  try {
    call();
  } catch (error) {
    return /** @type {Error} */ (error);
  }
  throw new Error('nothing was thrown');
}

const EACH = Object.entries(CONSTRUCTORS).flatMap(([owner, options]) =>
  options.map((option) => ({ owner: /** @type {Owner} */ (owner), ...option })),
);

afterAll(() => {
  horizontal.close();
});

describe.each(EACH)('$owner, $name', ({ owner, name, kind, required }) => {
  test('takes what it should', () => {
    for (const value of GOOD[name] ?? ['some text']) {
      make[owner]({ [name]: value });
    }
    if (!required) {
      make[owner]({ [name]: undefined });
    }
  });

  test('refuses anything else with its path and what is expected', () => {
    const wrong = BAD.filter((value) => !(name === 'placement' && typeof value === 'function'));

    for (const value of wrong) {
      const error = errorOf(() => make[owner]({ [name]: value }));
      const path =
        Array.isArray(value) && kind.each
          ? `${owner}: options.${name}[0] must be ${kind.each.expected}, got ''`
          : `${owner}: options.${name} must be ${kind.expected}, got `;

      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain(path);
      expect(error.message).not.toContain('hush');
    }
  });
});

test('a token is never quoted, whatever it is', () => {
  for (const token of [0x4855_5348, true, 4_855_348n]) {
    const { message } = errorOf(() => make.RemoteConnection({ token }));

    expect(message).toBe(
      `RemoteConnection: options.token must be a string that is not empty, got a ${typeof token}`,
    );
  }
});

test('a long value is cut', () => {
  const { message } = errorOf(() => make.Horizontal({ placement: 'x'.repeat(1_000_000) }));

  expect(message).toContain(`got '${'x'.repeat(40)}…'`);
  expect(message.length).toBeLessThan(300);
});

test.each(
  /** @type {[Owner, object, string][]} */ ([
    ['Horizontal', { watermrk: 1 }, 'options.watermrk is unknown; did you mean watermark?'],
    ['Horizontal', { connectTimeout: 1 }, 'did you mean connectTimeoutMs?'],
    ['Horizontal', { MAXPARTS: 1 }, 'did you mean maxParts?'],
    ['Horizontal', { maxParts: 1, sessionTimeoutMs: 1 }, 'it is an option of RemoteConnection'],
    [
      'Horizontal',
      { '': 1 },
      'options. is unknown; the options of Horizontal are connectTimeoutMs,',
    ],
    ['Horizontal', { hasOwnProperty: 1 }, 'options.hasOwnProperty is unknown'],
    ['RemoteConnection', { tokenfile: 'x' }, 'did you mean tokenFile?'],
    ['RemoteConnection', { pasword: 'hush' }, 'the options of RemoteConnection are url, token,'],
    ['LocalConnection', { path: 'x' }, 'are name, workerBin, version, execInPlace'],
    ['MockConnection', { cpus: 1 }, 'did you mean cpu?'],
  ]),
)('%s refuses %j, which it does not know', (owner, options, words) => {
  const error = errorOf(() => make[owner](options));

  expect(error).toBeInstanceOf(TypeError);
  expect(error.message).toContain(`${owner}: options.`);
  expect(error.message).toContain(words);
  expect(error.message).not.toContain('hush');
});

test.each([[null], [7], ['hush'], [[]], [() => {}]])('options are an object, not %p', (given) => {
  for (const [owner, call] of Object.entries({
    ...make,
    RemoteConnection: (/** @type {any} */ options) => new RemoteConnection(options),
  })) {
    const { message } = errorOf(() => call(given));

    expect(message).toMatch(new RegExp(`^${owner}: options must be an object, got `));
    expect(message).not.toContain('hush');
  }
});

test('an agent needs a URL', () => {
  const words = 'RemoteConnection: options.url must be a URL such as ws://host:4480 or wss://host';

  for (const options of [{}, { url: undefined }, { url: '' }]) {
    expect(() => new RemoteConnection(/** @type {any} */ (options))).toThrow(words);
  }
  expect(() => new /** @type {any} */ (RemoteConnection)()).toThrow('got undefined');
});

test('a connection that is none is named by its place', () => {
  const given = [new MockConnection(), { name: 'hush' }];
  const { message } = errorOf(() => new Horizontal(/** @type {any} */ (given)));

  expect(message).toMatch(/^Horizontal: connections\[1\] must be a URL .*, got an object$/);
  expect(() => new Horizontal([''])).toThrow('connections[0] must be a URL (ws://… or wss://…)');
});

test.each([
  ['ws://:hush@127.0.0.1:9', 'a string'],
  [7, 'a number'],
  [{ url }, 'an object'],
])('connections are a list, not %p', (given, shown) => {
  expect(errorOf(() => new Horizontal(/** @type {any} */ (given)))).toEqual(
    new TypeError(`Horizontal: connections must be a list of connections, got ${shown}`),
  );
});

test('what an app changes later changes nothing', () => {
  const selfAddresses = ['app.example'];
  const options = { selfAddresses, maxParts: 2 };
  const one = new Horizontal(undefined, options);

  options.maxParts = /** @type {any} */ ('hush');
  selfAddresses.push(/** @type {any} */ (7));
  expect(one.size).toBeGreaterThan(0);
  one.close();
});
