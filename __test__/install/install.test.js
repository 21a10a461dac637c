'use strict';

/** The package as users install it, and an app's three ways to it. */

const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { cacheRoot } = require('../../js/worker-binary/paths');
const { packageOf, hostPlatform } = require('../../js/platforms');
const { version } = require('../../package.json');
const upstream = require('mediasoup-upstream');
const { within } = require('../../examples/lib/deadline');
const { Published } = require('./lib/published');
const tools = require('./lib/tools');

/** @import { Project } from './lib/published' */

const TIMEOUT_MS = 180_000;
const READY_MS = 20_000;
const APPS = path.join(__dirname, 'apps');
const TSC = path.join(__dirname, '..', '..', 'node_modules', 'typescript', 'bin', 'tsc');
const TYPES = path.join(__dirname, '..', '..', 'node_modules');
const PRINTED = `${upstream.version} true true\n`;
const KINDS = ['CommonJS', 'ESM', 'TypeScript'];

/** Where the mediasoup-worker is that set-up installed, as on a host of a user who did so too. */
const WORKER = {
  MEDIASOUP_HORIZONTAL_CACHE: cacheRoot(),
  ...(process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN && {
    MEDIASOUP_HORIZONTAL_WORKER_BIN: process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN,
  }),
};

/** The smallest app. */
const APP = `(async () => {
  const { createWorker } = require('mediasoup-horizontal');
  const worker = await createWorker();
  console.log((await worker.dump()).pid === worker.pid);
  worker.close();
})()`;

/** @type {Published} */
let published;
/** mediasoup itself is our package. @type {Project} */
let aliased;
/** An app of mediasoup that has our package beside it. @type {Project} */
let beside;

beforeAll(async () => {
  published = await Published.pack();
  aliased = await published.project(['mediasoup@npm:mediasoup-horizontal']);
  beside = await published.project(['mediasoup-horizontal']);
  // mediasoup's real package, whose install script would fetch a worker.
  await beside.install([`mediasoup@${upstream.version}`, '--ignore-scripts', '--prefer-offline'], {
    shared: true,
  });
  await Promise.all([aliased, beside].map(putApps));
}, TIMEOUT_MS);

afterAll(() => published?.remove());

/**
 * Puts the apps into a project, the typed one compiled there.
 *
 * @param {Project} project
 */
async function putApps({ folder }) {
  for (const name of fs.readdirSync(APPS)) {
    fs.copyFileSync(path.join(APPS, name), path.join(folder, name));
  }
  const types = path.join(folder, 'node_modules', '@types');

  if (!fs.existsSync(path.join(types, 'node'))) {
    fs.mkdirSync(types, { recursive: true });
    fs.symlinkSync(path.join(TYPES, '@types', 'node'), path.join(types, 'node'));
  }
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'];
  const compiler = spawn(process.execPath, [TSC, ...options, 'typed.mts'], { cwd: folder });
  let said = '';

  compiler.stdout.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const [status] = await once(compiler, 'close');
  if (status !== 0) {
    throw new Error(`the TypeScript app does not compile:\n${said}`);
  }
}

/** @param {string} kind One of KINDS. */
function fileOf(kind) {
  return { CommonJS: 'app.cjs', ESM: 'app.mjs', TypeScript: 'typed.mjs' }[kind] ?? '';
}

/** @param {unknown} reason What a failed run was rejected with. */
function outputOf(reason) {
  return /** @type {{ stdout: string }} */ (reason).stdout;
}

describe.each(/** @type {const} */ ([10, 11]))('npm %i', (npm) => {
  test.each([
    ['on', '--ignore-scripts=false'],
    ['off', '--ignore-scripts'],
  ])(
    'installs it into an empty project, with install scripts %s',
    async (_, option) => {
      const project = await published.project(['mediasoup-horizontal', option], { npm });
      const names = fs.readdirSync(path.join(project.folder, 'node_modules'));

      expect(await project.node(['--eval', APP], { env: WORKER })).toBe('true\n');
      const platform = /** @type {import('../../js/platforms').Platform} */ (hostPlatform());
      expect(names.filter((name) => !name.startsWith('.')).sort()).toEqual([
        'mediasoup-horizontal',
        packageOf(platform),
      ]);
    },
    TIMEOUT_MS,
  );
});

test(
  'a checkout packs itself: npm pack makes one tarball that npm 10 installs',
  async () => {
    const project = await published.project([await published.packCheckout()], { npm: 10 });

    expect(await project.node(['--eval', APP], { env: WORKER })).toBe('true\n');
  },
  TIMEOUT_MS,
);

test('nothing else is fetched', () => {
  expect(published.unknown).toEqual([]);
});

test.each(KINDS)(
  'mediasoup itself, without a worker of its own, does not run the %s app',
  async (kind) => {
    await expect(beside.node([fileOf(kind)], { env: WORKER })).rejects.toThrow();
  },
  TIMEOUT_MS,
);

describe.each(/** @type {const} */ ([20, 22, 24]))('on Node.js %i', (major) => {
  /** @type {string} */
  let node;

  beforeAll(async () => {
    node = await tools.node(major);
  }, TIMEOUT_MS);

  test.each(KINDS)(
    'a %s app uses it under the name mediasoup',
    async (kind) => {
      expect(await aliased.node([fileOf(kind)], { node, env: WORKER })).toBe(PRINTED);
    },
    TIMEOUT_MS,
  );

  test.each(KINDS)(
    'a %s app uses it by -r mediasoup-horizontal/register',
    async (kind) => {
      const args = ['-r', 'mediasoup-horizontal/register', fileOf(kind)];

      expect(await beside.node(args, { node, env: WORKER })).toBe(PRINTED);
    },
    TIMEOUT_MS,
  );

  test.each(KINDS)(
    'a %s app of an unmodified mediasoup uses it as its worker',
    async (kind) => {
      const line = `MEDIASOUP_WORKER_BIN="$(npx mediasoup-horizontal worker-bin)" node ${fileOf(kind)}`;

      expect(await beside.shell(line, { node, env: WORKER })).toBe(PRINTED);
    },
    TIMEOUT_MS,
  );
});

describe('without a mediasoup-worker on the host', () => {
  const none = () => ({ MEDIASOUP_HORIZONTAL_CACHE: published.emptyFolder('cache') });

  test(
    'an app whose Workers are on agents runs',
    async () => {
      const cli = path.join('node_modules', 'mediasoup-horizontal', 'js', 'cli.js');
      const args = [cli, 'agent', '--listen', '127.0.0.1:0'];
      const token = randomBytes(24).toString('hex');
      const env = { MEDIASOUP_HORIZONTAL_TOKEN: token, MEDIASOUP_HORIZONTAL_LOG: 'warn' };
      const agent = spawn(process.execPath, args, {
        cwd: beside.folder,
        env: beside.environment({ env: { ...WORKER, ...env } }),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(agent, 'close');

      try {
        const line = once(readline.createInterface(agent.stdout), 'line');
        const early = ended.then(() => Promise.reject(new Error('the agent ended at once')));
        const what = 'the start of the agent';
        const [ready] = await within(Promise.race([line, early]), { ms: READY_MS, what });
        const agents = { MEDIASOUP_HORIZONTAL_AGENTS: JSON.parse(ready).url };
        early.catch(() => {});

        const run = aliased.node(['app.cjs'], { env: { ...none(), ...env, ...agents } });

        expect(await run).toBe(PRINTED);
      } finally {
        agent.kill('SIGTERM');
        await ended;
      }
    },
    TIMEOUT_MS,
  );

  test(
    'createWorker() of an app without agents says how to get one',
    async () => {
      const failed = await aliased.node(['app.cjs'], { env: none() }).catch((reason) => reason);

      expect(outputOf(failed)).toContain('npx mediasoup-horizontal worker install');
    },
    TIMEOUT_MS,
  );
});

test(
  'without the package of its platform it loads, and createWorker() says which one is missing',
  async () => {
    const platform = /** @type {import('../../js/platforms').Platform} */ (hostPlatform());
    const project = await published.project(['mediasoup-horizontal', '--omit=optional']);
    const app = `const { createWorker } = require('mediasoup-horizontal');
      createWorker().catch((error) => console.log(error.message));`;

    const message = await project.node(['--eval', app]);
    expect(message).toContain(`npm install ${packageOf(platform)}@${version}`);
    expect(message).toContain(`${process.platform} on ${process.arch}`);
    await expect(project.shell('npx mediasoup-horizontal worker-bin')).rejects.toThrow(
      packageOf(platform),
    );
    const other = `Object.defineProperty(process, 'arch', { value: 'riscv64' }); ${app}`;

    expect(await project.node(['--eval', other])).toContain(
      `has no native parts for ${process.platform} on riscv64`,
    );
  },
  TIMEOUT_MS,
);

test(
  'native parts of another version are refused',
  async () => {
    const platform = /** @type {import('../../js/platforms').Platform} */ (hostPlatform());
    const file = path.join(beside.folder, 'node_modules', packageOf(platform), 'package.json');
    const text = fs.readFileSync(file, 'utf8');
    const app = `const { createWorker } = require('mediasoup-horizontal');
      createWorker().catch((error) => console.log(error.message));`;

    fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(text), version: '1.0.0' }));
    try {
      expect(await beside.node(['--eval', app])).toBe(
        `${packageOf(platform)} is 1.0.0, but mediasoup-horizontal is ${version}: ` +
          `npm install ${packageOf(platform)}@${version}\n`,
      );
    } finally {
      fs.writeFileSync(file, text);
    }
  },
  TIMEOUT_MS,
);
