'use strict';

/**
 * All that can be configured, once: the constructors check by it, docs/configuration.md is made of
 * it, and tests hold the typings and the core's variables against it.
 */

/**
 * What a value may be.
 *
 * @typedef {object} Kind
 * @property {string} expected As in "must be …".
 * @property {(value: unknown) => boolean} fits
 * @property {Kind} [each] What the elements of a list may be.
 */

/**
 * An option of a constructor.
 *
 * @typedef {object} Option
 * @property {string} name
 * @property {Kind} kind
 * @property {string} fallback What holds where nothing is said.
 * @property {string | null} variable What the environment may say instead.
 * @property {string} description
 * @property {boolean} [required]
 * @property {boolean} [secret] Its value is never shown.
 */

/**
 * A variable of the environment that stands for no option alone.
 *
 * @typedef {object} Variable
 * @property {string} name
 * @property {string} expected
 * @property {string} fallback
 * @property {string} description
 */

/** @typedef {'Horizontal' | 'LocalConnection' | 'RemoteConnection' | 'MockConnection'} Owner */

const PREFIX = 'MEDIASOUP_HORIZONTAL_';

/** @type {Kind} */
const text = {
  expected: 'a string that is not empty',
  fits: (value) => typeof value === 'string' && value !== '',
};

/** @type {Kind} */
const url = { ...text, expected: 'a URL such as ws://host:4480 or wss://host:4480' };

/** @type {Kind} */
const flag = { expected: 'true or false', fits: (value) => typeof value === 'boolean' };

/** @type {Kind} */
const method = { expected: 'a function', fits: (value) => typeof value === 'function' };

const count = whole('a whole number', 1);
const milliseconds = whole('a whole number of milliseconds', 0);
const someMilliseconds = whole('a whole number of milliseconds', 1);

/**
 * @param {string} what
 * @param {number} least
 * @returns {Kind}
 */
function whole(what, least) {
  return {
    expected: `${what} from ${least} on`,
    fits: (value) => Number.isSafeInteger(value) && Number(value) >= least,
  };
}

/**
 * @param {number} least
 * @param {number} most
 * @returns {Kind}
 */
function between(least, most) {
  return {
    expected: `a number from ${least} to ${most}`,
    fits: (value) => typeof value === 'number' && value >= least && value <= most,
  };
}

/**
 * @param {string[]} names
 * @returns {Kind}
 */
function oneOf(...names) {
  const shown = names.map((name) => `'${name}'`);

  return {
    expected: [shown.slice(0, -1).join(', '), shown.at(-1)].filter(Boolean).join(' or '),
    fits: (value) => typeof value === 'string' && names.includes(value),
  };
}

/**
 * @param {Kind} one
 * @param {Kind} other
 * @returns {Kind}
 */
function either(one, other) {
  return {
    expected: `${one.expected}, or ${other.expected}`,
    fits: (value) => one.fits(value) || other.fits(value),
  };
}

/**
 * @param {string} expected
 * @param {Kind} each
 * @returns {Kind}
 */
function listOf(expected, each) {
  return { expected, fits: Array.isArray, each };
}

/**
 * @param {string} name
 * @param {Kind} kind
 * @param {string} fallback
 * @param {string | null} variable Without the prefix that all have.
 * @param {string} description
 * @param {{ required?: boolean, secret?: boolean }} [more]
 * @returns {Option}
 */
function option(name, kind, fallback, variable, description, more) {
  return { name, kind, fallback, variable: variable && PREFIX + variable, description, ...more };
}

/**
 * @param {string} name
 * @param {string} expected
 * @param {string} fallback
 * @param {string} description
 * @returns {Variable}
 */
function variable(name, expected, fallback, description) {
  return { name, expected, fallback, description };
}

/** The rules of placement that come with the package. */
const POLICIES = ['home', 'pack', 'leastLoaded', 'roundRobin', 'region', 'scatter'];

/**
 * What the constructors take.
 *
 * @type {Record<Owner, Option[]>}
 */
const CONSTRUCTORS = {
  Horizontal: [
    option(
      'connectTimeoutMs',
      milliseconds,
      '10000',
      'CONNECT_TIMEOUT_MS',
      'how long `createWorker()` looks for a worker, and `add()` for an agent',
    ),
    option(
      'callTimeoutMs',
      either(someMilliseconds, oneOf('infinite')),
      '10 s more than the session timeout: 40000',
      'CALL_TIMEOUT_MS',
      'how long a call may wait for the answer of a mediasoup-worker that can be reached',
    ),
    option(
      'selfAddresses',
      listOf('a list of addresses and names', text),
      'none',
      'SELF_ADDRESSES',
      "further addresses and names of the app's own host ([addresses](divergences.md)); with commas " +
        'in the variable, which adds to the option',
    ),
    option(
      'announcedMode',
      oneOf('auto', 'identity'),
      '`auto`',
      null,
      "whether announced addresses that are not the app's own are replaced by the agent's or kept",
    ),
    option(
      'compatibility',
      oneOf('strict', 'pipes', 'schema'),
      '`strict`',
      'COMPATIBILITY',
      "how much the workers of a connection may differ from the library's own " +
        '([compatibility](compatibility.md))',
    ),
    option(
      'placement',
      either(oneOf(...POLICIES), method),
      '`pack`',
      'PLACEMENT',
      'where Workers, and the transports of a Router whose mediasoup-worker is busy, go ' +
        '([placement](../README.md#placement)); no function in the variable',
    ),
    option(
      'watermark',
      between(0, 1),
      '0.6',
      'WATERMARK',
      'the share of a core below which a mediasoup-worker takes more',
    ),
    option(
      'maxParts',
      count,
      '32; 3 with `scatter`, always 1 with `home`',
      'MAX_PARTS',
      'on how many mediasoup-workers the objects of one Worker may live',
    ),
    option(
      'onPartLost',
      oneOf('continue', 'died'),
      'it lives on unless a PlainTransport or DirectTransport was there',
      'ON_PART_LOST',
      'what becomes of a Worker that loses one of several mediasoup-workers: it lives on without ' +
        'what was there, or it dies',
    ),
    option(
      'maxFanOut',
      count,
      '8',
      'MAX_FAN_OUT',
      'how many mediasoup-workers one of them feeds with the same Producer before others pass it on',
    ),
    option(
      'region',
      text,
      'none',
      'REGION',
      'where the app is, as agents say it with `--label region=…`; `placement: region` needs it',
    ),
    option(
      'workersPerHost',
      count,
      'its number of cores; on agents at most `--max-workers`',
      'WORKERS_PER_HOST',
      'how many mediasoup-workers an app may have on one host; further Workers share them',
    ),
  ],
  LocalConnection: [
    option('name', text, '`local`', null, 'what it is called in errors and events'),
    option(
      'workerBin',
      text,
      'the one that set-up found or built',
      null,
      'path of a mediasoup-worker',
    ),
    option(
      'version',
      text,
      "what the manifest.json beside it tells, else the library's own",
      null,
      'its mediasoup version',
    ),
    option(
      'execInPlace',
      flag,
      'where a Worker has only one mediasoup-worker anyway',
      null,
      'whether the process that mediasoup spawns becomes the worker itself, which then is the only ' +
        'one of its Worker',
    ),
  ],
  RemoteConnection: [
    option(
      'url',
      url,
      'none, it must be given',
      null,
      'where the agent is; for the constructor of Horizontal also `dns+wss://name:port`, those ' +
        'behind a name ([deploy](deploy.md))',
      { required: true },
    ),
    option('token', text, 'none', 'TOKEN', 'what the agent asks for; never part of the URL', {
      secret: true,
    }),
    option(
      'tokenFile',
      text,
      'none',
      'TOKEN_FILE',
      'path of a file with it instead, read again at each dial; its first line counts, and lines ' +
        'that begin with # are comments',
    ),
    option(
      'ca',
      text,
      "the system's",
      'CA',
      "path of a PEM file with the authorities of the agent's certificate, and no others are trusted",
    ),
    option(
      'cert',
      text,
      'none',
      'CERT',
      'path of a PEM file with the certificate to show to an agent that asks for one',
    ),
    option(
      'key',
      text,
      'none',
      'KEY',
      'path of a PEM file with its private key, for its owner only',
    ),
    option(
      'serverName',
      text,
      "the URL's host",
      null,
      "the name that the agent's certificate must have",
    ),
    option(
      'sessionTimeoutMs',
      either(milliseconds, oneOf('infinite')),
      '30000',
      'SESSION_TIMEOUT_MS',
      'how long Workers outlive a lost link ([operations](operations.md))',
    ),
    option(
      'silentWindowMs',
      milliseconds,
      '3000',
      null,
      "how long a lost link is nobody's business",
    ),
    option(
      'heartbeatMs',
      someMilliseconds,
      '1000',
      null,
      'how often the agent is asked for a sign of life',
    ),
    option(
      'silenceMs',
      milliseconds,
      '4000',
      null,
      'how long an agent may say nothing; longer than `heartbeatMs`',
    ),
    option(
      'fastDeath',
      flag,
      'true',
      null,
      'whether an agent whose own address refuses connections after a loss counts as dead at once',
    ),
  ],
  MockConnection: [
    option('name', text, '`mock`', null, 'what it is called in errors and events'),
    option('cores', count, '1024 on 8 cores', null, 'how many workers it has room for'),
    option('region', text, 'none', null, 'where it says that it is'),
    option('cpu', between(0, 1024), '0', null, 'cores that each of its workers says it takes'),
  ],
};

const WORKER_BIN = variable(
  `${PREFIX}WORKER_BIN`,
  '`VERSION=PATH`, or the path of one with a manifest; several with commas',
  'what is found',
  'the mediasoup-worker to run',
);
const CACHE = variable(
  `${PREFIX}CACHE`,
  'a path',
  '`~/.cache/mediasoup-horizontal`, or in `XDG_CACHE_HOME`',
  'where mediasoup-workers are kept',
);
const MEDIASOUPS_BIN = variable(
  'MEDIASOUP_WORKER_BIN',
  'a path',
  'unset',
  "mediasoup's own: a mediasoup-worker to run, if there is one and the variable above names none; " +
    'under an unmodified mediasoup the path of the stub',
);
const LOG = `${PREFIX}LOG`;
const LEVELS = 'a level such as `warn`, or a filter such as `mediasoup_horizontal=debug`';

/** What the environment of each program tells beyond the options. */
const ENVIRONMENT = {
  app: [
    variable(
      `${PREFIX}AGENTS`,
      'URLs with commas; `dns+wss://name:port` is those behind a name',
      'none: Workers run on this host',
      'the agents of a Horizontal that is given no connections',
    ),
    WORKER_BIN,
    MEDIASOUPS_BIN,
    variable(
      `${PREFIX}EXEC_IN_PLACE`,
      '`0` or `1`',
      'where a Worker has only one mediasoup-worker anyway',
      'as `execInPlace` above, for a Horizontal that is given no connections',
    ),
    CACHE,
    variable(LOG, LEVELS, '`warn`', 'what the stub under an unmodified mediasoup logs'),
  ],
  agent: [
    variable(
      `${PREFIX}TOKEN`,
      'a token',
      'none',
      'one more token that controllers may use, beside those of `--token-file`',
    ),
    WORKER_BIN,
    CACHE,
    variable(LOG, LEVELS, '`info`', 'what the agent logs on stderr'),
  ],
  setUp: [
    CACHE,
    { ...WORKER_BIN, description: 'set-up of a checkout gets and builds no other' },
    variable(
      'MEDIASOUP_SKIP_WORKER_PREBUILT_DOWNLOAD',
      'anything',
      'unset',
      "mediasoup's own: the worker is built and never downloaded",
    ),
    variable('CC', 'a compiler', 'what is found', 'compiles libsrtp where the worker is built'),
    variable('CXX', 'a compiler', 'what is found', 'compiles the worker where it is built'),
  ],
};

/** Variables between our own programs and in our tests: nothing that anybody sets. */
const INTERNAL = ['SOCKET', 'TICKET', 'WORKER', 'FUZZ_BYTES'].map((name) => PREFIX + name);

module.exports = { CONSTRUCTORS, ENVIRONMENT, INTERNAL, PREFIX };
