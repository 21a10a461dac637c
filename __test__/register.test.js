'use strict';

/** What an app finds that was started with `-r mediasoup-horizontal/register`. */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const TIMEOUT_MS = 20_000;
const REGISTER = path.join(ROOT, 'js', 'subpaths', 'register.js');

/** Where each name leads, as seen from here. */
const TARGETS = {
  mediasoup: 'index.js',
  'mediasoup/types': 'js/subpaths/types.js',
  'mediasoup/errors': 'js/subpaths/errors.js',
  'mediasoup/ortc': 'js/subpaths/ortc.js',
  'mediasoup/extras': 'js/subpaths/extras.js',
};

/** A folder of an app, in which nothing is installed. @type {string} */
let dir;

beforeAll(() => {
  dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-register-')));
});

afterAll(() => {
  fs.rmSync(dir, { recursive: true, force: true });
});

/**
 * @param {string} name
 * @param {string} text An app that prints JSON.
 * @param {{ args?: string[], env?: NodeJS.ProcessEnv }} [options]
 */
function runApp(name, text, { args = ['-r', REGISTER], env } = {}) {
  fs.writeFileSync(path.join(dir, name), text);
  const output = execFileSync(process.execPath, [...args, name], {
    cwd: dir,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: TIMEOUT_MS,
  });

  return JSON.parse(output);
}

test('require() and require.resolve() find this package', () => {
  const text = `
    const names = ${JSON.stringify(Object.keys(TARGETS))};
    const { createRequire } = require('node:module');
    const found = names.map((name) => [
      require.resolve(name),
      createRequire(__filename).resolve(name),
      require(name) === require(require.resolve(name)),
    ]);
    console.log(JSON.stringify(found));`;
  const expected = Object.values(TARGETS).map((file) => {
    const target = path.join(ROOT, file);
    return [target, target, true];
  });

  expect(runApp('require.cjs', text)).toEqual(expected);
});

test.each(['-r', '--import'])('import statements and import() find it, by %s', (option) => {
  const text = `
    import * as mediasoup from 'mediasoup';
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    const names = ${JSON.stringify(Object.keys(TARGETS))};
    const same = await Promise.all(
      names.map(async (name) => (await import(name)).default === require(name)),
    );
    console.log(JSON.stringify([typeof mediasoup.Horizontal, ...same]));`;

  expect(runApp('import.mjs', text, { args: [option, REGISTER] })).toEqual([
    'function',
    ...Object.keys(TARGETS).map(() => true),
  ]);
});

test('a dynamic import() of a CommonJS app finds it', () => {
  const text = `
    import('mediasoup').then((found) => {
      console.log(JSON.stringify(found.default === require('mediasoup')));
    });`;

  expect(runApp('dynamic.cjs', text)).toBe(true);
});

/** A thread says what it finds, by require and by import. */
const THREADS = `
  const { Worker, isMainThread, parentPort } = require('node:worker_threads');
  if (isMainThread) {
    new Worker(__filename).on('message', (found) => console.log(JSON.stringify(found)));
  } else {
    import('mediasoup').then((imported) => {
      parentPort.postMessage([require.resolve('mediasoup'), typeof imported.Horizontal]);
    });
  }`;

test.each([
  ['the command line', {}],
  ['NODE_OPTIONS', { args: [], env: { NODE_OPTIONS: `-r ${REGISTER}` } }],
])('threads inherit it from %s', (_, options) => {
  expect(runApp('threads.cjs', THREADS, options)).toEqual([
    path.join(ROOT, 'index.js'),
    'function',
  ]);
});

test('forked processes inherit it', () => {
  const text = `
    const { fork } = require('node:child_process');
    if (process.send) {
      process.send(require.resolve('mediasoup'), () => process.disconnect());
    } else {
      fork(__filename).on('message', (found) => console.log(JSON.stringify(found)));
    }`;

  expect(runApp('forked.cjs', text)).toBe(path.join(ROOT, 'index.js'));
});

test('what mediasoup does not export, and names like its own, stay what they are', () => {
  const names = ['mediasoup/node/lib/Worker.js', 'mediasoup-client', 'mediasoup-upstream'];
  const text = `
    const code = (error) => error.code;
    const resolve = (name) => {
      try {
        return require.resolve(name);
      } catch (error) {
        return error.code;
      }
    };
    const names = ${JSON.stringify(names)};
    Promise.all(names.map((name) => import(name).catch(code))).then((imported) => {
      console.log(JSON.stringify([names.map(resolve), imported]));
    });`;

  expect(runApp('others.cjs', text)).toEqual([
    ['MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'],
    ['ERR_MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'],
  ]);
});

test('the package exports it by name, with typings', () => {
  const { exports: paths } = require('../package.json');

  expect(require.resolve('mediasoup-horizontal/register')).toBe(REGISTER);
  expect(fs.existsSync(path.join(ROOT, paths['./register'].types))).toBe(true);
});
