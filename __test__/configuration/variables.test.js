'use strict';

/** Every variable of the table with a value that is none: the refusal names the variable. */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Horizontal, version } = require('../..');
const { CONSTRUCTORS, ENVIRONMENT, INTERNAL, PREFIX } = require('../../js/configuration');
const { agentPath } = require('../../js/native');
const { within } = require('../processes/lib/deadline');

const ROOT = path.join(__dirname, '..', '..');
const TIMEOUT_MS = 20_000;
const MISSING = '/nonexistent/file';
const AGENT = { AGENTS: 'wss://media.example:4480' };

/**
 * What each refuses, what else must be set for it to be looked at, and what is shown of it, if not
 * the value.
 *
 * @type {Record<string, { value: string, others?: Record<string, string>, shown?: string }>}
 */
const REFUSED = {
  AGENTS: { value: 'http://127.0.0.1:4480' },
  CA: { value: MISSING, others: AGENT },
  CALL_TIMEOUT_MS: { value: '0' },
  CERT: { value: MISSING, others: { ...AGENT, KEY: MISSING } },
  COMPATIBILITY: { value: 'loose' },
  CONNECT_TIMEOUT_MS: { value: 'soon' },
  EXEC_IN_PLACE: { value: 'yes' },
  KEY: { value: MISSING, others: AGENT, shown: 'set both' },
  MAX_FAN_OUT: { value: '-1' },
  MAX_PARTS: { value: '0' },
  ON_PART_LOST: { value: 'weep' },
  PLACEMENT: { value: 'elsewhere' },
  SESSION_TIMEOUT_MS: { value: '1.5', others: AGENT },
  TOKEN: { value: 'hush hush', others: AGENT, shown: 'the token has a character' },
  TOKEN_FILE: { value: MISSING, others: AGENT },
  WATERMARK: { value: '60%' },
  WORKERS_PER_HOST: { value: 'two' },
  WORKER_BIN: { value: `${version}=${MISSING}`, shown: MISSING },
};

/** Any text is one. */
const ANYTHING = ['CACHE', 'REGION', 'SELF_ADDRESSES'].map((name) => PREFIX + name);

/** Not the core's to read in this process. */
const STUB_ONLY = [`${PREFIX}LOG`];

const OF_OPTIONS = Object.values(CONSTRUCTORS)
  .flat()
  .flatMap(({ variable }) => variable ?? []);
const OF_THE_APP = [...OF_OPTIONS, ...ENVIRONMENT.app.map(({ name }) => name)].filter(isOurs);
const ALL = new Set([
  ...OF_THE_APP,
  ...[...ENVIRONMENT.agent, ...ENVIRONMENT.setUp].map(({ name }) => name).filter(isOurs),
]);

/** @type {NodeJS.ProcessEnv} */
let saved;

beforeEach(() => {
  saved = { ...process.env };
  for (const name of Object.keys(process.env).filter(isOurs)) {
    delete process.env[name];
  }
});

afterEach(() => {
  for (const name of Object.keys(process.env).filter(isOurs)) {
    delete process.env[name];
  }
  Object.assign(process.env, saved);
});

/** @param {string} name */
function isOurs(name) {
  return name.startsWith(PREFIX);
}

/** @param {string[]} args @param {Record<string, string>} variables */
function runAgent(args, variables) {
  const env = { PATH: process.env.PATH, ...variables };

  return spawnSync(agentPath, args, { encoding: 'utf8', env, timeout: TIMEOUT_MS });
}

describe("an app's", () => {
  test('are all tried here', () => {
    const tried = [...Object.keys(REFUSED).map((name) => PREFIX + name), ...ANYTHING, ...STUB_ONLY];

    expect(tried.sort()).toEqual([...new Set(OF_THE_APP)].sort());
  });

  test.each(Object.entries(REFUSED))(
    '%s is refused by name',
    async (name, { value, others, shown = value }) => {
      for (const [other, text] of Object.entries({ ...others, [name]: value })) {
        process.env[PREFIX + other] = text;
      }
      const horizontal = new Horizontal();
      const { message } = await within(
        horizontal.mediasoup.createWorker().then(
          () => new Error('a Worker was made'),
          (error) => error,
        ),
        'the refusal',
      );

      horizontal.close();
      expect(message).toMatch(new RegExp(`${PREFIX}${name}\\b`));
      expect(message).toContain(shown);
      expect(message).not.toContain('hush');
    },
  );

  test.each(ANYTHING)('%s takes any text', (name) => {
    process.env[name] = '#?! ,=';
    const horizontal = new Horizontal();

    expect(horizontal.size).toBe(1);
    horizontal.close();
  });

  test('that say nothing count as unset', () => {
    for (const name of OF_THE_APP) {
      process.env[name] = ' ';
    }
    const horizontal = new Horizontal();

    expect(horizontal.size).toBe(1);
    horizontal.close();
  });

  test('log filter is refused by the stub alone', () => {
    const { stderr, status } = runAgent(['virtual-worker'], { [STUB_ONLY[0]]: 'core=loud' });

    expect(stderr).toContain(`${STUB_ONLY[0]}=core=loud: `);
    expect(status).toBe(1);
  });
});

describe("an agent's", () => {
  /** @type {Record<string, string>} */
  const refused = {
    [`${PREFIX}LOG`]: 'agent=loud',
    [`${PREFIX}TOKEN`]: 'hush hush',
    [`${PREFIX}WORKER_BIN`]: MISSING,
  };

  test('are all tried here', () => {
    const tried = [...Object.keys(refused), `${PREFIX}CACHE`];

    expect(tried.sort()).toEqual(ENVIRONMENT.agent.map(({ name }) => name).sort());
  });

  test.each(Object.entries(refused))('%s is refused by name', (name, value) => {
    const { stderr, status } = runAgent(['--listen', '127.0.0.1:0'], { [name]: value });

    expect(stderr).toContain(name);
    expect(stderr).not.toContain('hush');
    expect(status).toBe(1);
  });
});

test('the table has every variable that the sources read, and no other', () => {
  /** What process.emitWarning() calls its warnings. */
  const codes = ['PLACEMENT', 'CONNECTION'].map((name) => PREFIX + name);
  const found = new Set(
    ['src', 'js']
      .flatMap((folder) =>
        fs
          .readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => path.join(entry.parentPath, entry.name)),
      )
      .filter((file) => file !== path.join(ROOT, 'js', 'configuration.js'))
      .flatMap((file) => fs.readFileSync(file, 'utf8').match(/MEDIASOUP_HORIZONTAL_[A-Z_]+/g) ?? [])
      .filter((name) => name !== PREFIX),
  );

  expect([...found].sort()).toEqual([...new Set([...ALL, ...INTERNAL, ...codes])].sort());
});

test('documents name no other variable', () => {
  const files = [
    'README.md',
    ...fs.readdirSync(path.join(ROOT, 'docs')).map((name) => `docs/${name}`),
  ];
  const known = new Set([...ALL, ...INTERNAL, `${PREFIX}CONNECTION`, PREFIX]);

  for (const file of files.filter((name) => name.endsWith('.md'))) {
    const text = fs.readFileSync(path.join(ROOT, file), 'utf8');
    const named = text.match(/MEDIASOUP_HORIZONTAL_[A-Z_]*/g) ?? [];

    expect({ file, unknown: named.filter((name) => !known.has(name)) }).toEqual({
      file,
      unknown: [],
    });
  }
});
