'use strict';

/** Apps typed against mediasoup, with mediasoup and with this package under its name. */

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const ROOT = path.join(__dirname, '..');
const MODULES = path.join(ROOT, 'node_modules');
const APPS = path.join(__dirname, 'types', 'apps');
const TSC = path.join(MODULES, '.bin', 'tsc');
const TIMEOUT_MS = 120_000;

/** What is installed as `mediasoup`. */
const PACKAGES = {
  mediasoup: path.join(MODULES, 'mediasoup-upstream'),
  'mediasoup-horizontal': ROOT,
};

/** How an app's modules are found, and in which formats its files may be. */
const RESOLUTIONS = {
  node16: { module: 'node16', moduleResolution: 'node16' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
};

/** Of no use to a bundler: `import x = require()`, and the default import of a CommonJS module. */
const NODE_ONLY = ['cjs.cts', 'esm.mts', 'ours.mts'];

/** @type {string} */
let dir;

beforeAll(() => {
  dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-types-')));
});

afterAll(() => {
  fs.rmSync(dir, { recursive: true, force: true });
});

/**
 * @param {keyof typeof PACKAGES} name
 * @param {keyof typeof RESOLUTIONS} resolution
 * @param {string[]} files
 * @returns {Promise<string>} What the compiler complains of.
 */
async function compile(name, resolution, files) {
  const app = path.join(dir, `${name}-${resolution}`);
  const modules = path.join(app, 'node_modules');

  fs.mkdirSync(modules, { recursive: true });
  fs.symlinkSync(PACKAGES[name], path.join(modules, 'mediasoup'), 'dir');
  fs.symlinkSync(path.join(MODULES, '@types'), path.join(modules, '@types'), 'dir');
  for (const file of files) {
    fs.copyFileSync(path.join(APPS, file), path.join(app, file));
  }
  fs.writeFileSync(
    path.join(app, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        ...RESOLUTIONS[resolution],
        target: 'es2023',
        lib: ['es2023'],
        types: ['node'],
        strict: true,
        noEmit: true,
        // The packages' own declarations are checked too.
        skipLibCheck: false,
      },
      files,
    }),
  );

  try {
    await promisify(execFile)(TSC, ['-p', app], { timeout: TIMEOUT_MS });

    return '';
  } catch (error) {
    const { stdout, stderr } = /** @type {{ stdout: string, stderr: string }} */ (error);

    return stdout + stderr || String(error);
  }
}

const CASES = /** @type {(keyof typeof PACKAGES)[]} */ (Object.keys(PACKAGES)).flatMap((name) =>
  /** @type {(keyof typeof RESOLUTIONS)[]} */ (Object.keys(RESOLUTIONS)).map(
    (resolution) => /** @type {const} */ ([name, resolution]),
  ),
);

test.each(CASES)(
  'an app with %s as its mediasoup compiles under %s',
  async (name, resolution) => {
    const files = fs
      .readdirSync(APPS)
      .filter((file) => file !== 'ours.mts' || name === 'mediasoup-horizontal')
      .filter((file) => resolution !== 'bundler' || !NODE_ONLY.includes(file));

    expect(await compile(name, resolution, files)).toBe('');
  },
  TIMEOUT_MS,
);
