'use strict';

/** What `npm pack` makes of a checkout: the package with this host's native parts in it. */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const TIMEOUT_MS = 120_000;
const MODULES = path.join(ROOT, 'node_modules');

/** What an app does, and what it prints then. */
const USE = `
  const worker = await mediasoup.createWorker();
  const router = await worker.createRouter();
  worker.close();
  console.log(router.closed, mediasoup.version);
`;
const PRINTED = `true ${require('mediasoup-upstream').version}\n`;

/** @type {string} */
let dir;

beforeAll(() => {
  dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-package-')));
  const packed = run('npm', ['pack', '--json', '--pack-destination', dir], ROOT);
  const [{ filename }] = JSON.parse(packed);
  const modules = path.join(dir, 'node_modules');

  fs.mkdirSync(modules);
  run('tar', ['-xf', filename], dir);
  fs.renameSync(path.join(dir, 'package'), path.join(modules, 'mediasoup-horizontal'));
  // As `npm install mediasoup@npm:mediasoup-horizontal` has it.
  fs.symlinkSync('mediasoup-horizontal', path.join(modules, 'mediasoup'), 'dir');
  for (const name of ['@types', 'undici-types']) {
    fs.symlinkSync(path.join(MODULES, name), path.join(modules, name), 'dir');
  }
}, TIMEOUT_MS);

afterAll(() => {
  fs.rmSync(dir, { recursive: true, force: true });
});

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 * @returns {string} What it printed.
 */
function run(command, args, cwd) {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/**
 * @param {string} name
 * @param {string} text
 * @returns {string} What the app printed.
 */
function runApp(name, text) {
  fs.writeFileSync(path.join(dir, name), text);

  return run(process.execPath, [name], dir);
}

test.each(['mediasoup-horizontal', 'mediasoup'])(
  'a CommonJS app uses %s',
  (name) => {
    const text = `(async () => { const mediasoup = require('${name}'); ${USE} })();`;

    expect(runApp('app.cjs', text)).toBe(PRINTED);
  },
  TIMEOUT_MS,
);

test(
  'an ESM app uses it',
  () => {
    const text = `import * as mediasoup from 'mediasoup-horizontal';
      import { NotFoundError } from 'mediasoup-horizontal/errors';
      if (NotFoundError !== mediasoup.errors.NotFoundError) throw new Error('another class');
      ${USE}`;

    expect(runApp('app.mjs', text)).toBe(PRINTED);
  },
  TIMEOUT_MS,
);

test(
  'a TypeScript app compiles against it',
  () => {
    fs.copyFileSync(path.join(__dirname, 'types', 'app.ts'), path.join(dir, 'app.mts'));
    const tsc = path.join(MODULES, 'typescript', 'bin', 'tsc');
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023'];

    run(process.execPath, [tsc, ...options, '--types', 'node', 'app.mts'], dir);
  },
  TIMEOUT_MS,
);

test('its command runs', () => {
  const cli = path.join(dir, 'node_modules', 'mediasoup-horizontal', 'js', 'cli.js');

  expect(run(cli, ['--version'], dir)).toBe(`${require('../package.json').version}\n`);
});

test('it brings a mediasoup that runs no script at install', () => {
  const modules = path.join(dir, 'node_modules', 'mediasoup-horizontal', 'node_modules');
  const manifest = path.join(modules, 'mediasoup-upstream', 'package.json');

  expect(JSON.parse(fs.readFileSync(manifest, 'utf8'))).toMatchObject({ name: 'mediasoup' });
  expect(JSON.parse(fs.readFileSync(manifest, 'utf8'))).not.toHaveProperty('scripts');
});

test('it brings no files of the checkout that nobody needs', () => {
  const names = fs.readdirSync(path.join(dir, 'node_modules', 'mediasoup-horizontal'));

  expect(names).not.toEqual(expect.arrayContaining(['src']));
  expect(names).not.toEqual(expect.arrayContaining(['__test__']));
  expect(names).toEqual(
    expect.arrayContaining(['LICENSE', 'index.d.ts', 'index.js', 'js', 'native-build']),
  );
});
