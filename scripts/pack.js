'use strict';

/**
 * Makes what is published: the main package, which carries mediasoup's JavaScript with it, and the
 * package with the native parts of one platform. Prints the path of each tarball.
 */

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { PLATFORMS, hostPlatform, packageOf } = require('../js/platforms');
const manifest = require('../package.json');
const { removeInstallScripts } = require('./upstream-scripts');

/** @import { Platform } from '../js/platforms' */

const ROOT = path.join(__dirname, '..');
const BUILT = path.join(ROOT, 'native-build');
const PACK_MS = 60_000;

const HELP = `Usage: node scripts/pack.js [options]

  --out DIR        Where the tarballs go; the current folder if not given.
  --only WHICH     main or platform; both if not given.
  --platform NAME  ${PLATFORMS.map(({ name }) => name).join(', ')};
                   this host's if not given.
  --natives DIR    Where its native parts are, as Cargo or scripts/setup left them;
                   native-build if not given.
`;

/** What each native part is called in the package, and how Cargo may call it. */
const NATIVES = {
  'mediasoup-horizontal.node': ['libmediasoup_horizontal.so', 'libmediasoup_horizontal.dylib'],
  'mediasoup-horizontal-worker': [],
  'mediasoup-horizontal-agent': [],
};

/** What the packages have in common. */
const COMMON = {
  version: manifest.version,
  license: manifest.license,
  engines: manifest.engines,
};

/** What the main package is made of, beside what npm adds by itself. */
const MAIN_FILES = manifest.files.filter((name) => !name.includes('native-build'));

/**
 * The main package: the checkout's files without its native parts, which come by platform.
 *
 * @param {string} stage
 */
function stageMain(stage) {
  const { devDependencies, scripts, ...kept } = manifest;
  const platforms = PLATFORMS.map((platform) => [packageOf(platform), manifest.version]);

  for (const name of [...MAIN_FILES, 'README.md', 'LICENSE']) {
    fs.cpSync(path.join(ROOT, name), path.join(stage, name), { recursive: true });
  }
  for (const name of productionModules()) {
    fs.cpSync(path.join(ROOT, name), path.join(stage, name), {
      recursive: true,
      // Nested packages come by their own entries.
      filter: (file) => path.basename(file) !== 'node_modules',
    });
  }
  removeInstallScripts(path.join(stage, 'node_modules'));
  writeJson(path.join(stage, 'package.json'), {
    ...kept,
    files: MAIN_FILES,
    optionalDependencies: Object.fromEntries(platforms),
  });
}

/** @returns {string[]} Folders of the packages that are not for development only. */
function productionModules() {
  const lock = JSON.parse(fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8'));

  return Object.entries(/** @type {Record<string, { dev?: boolean }>} */ (lock.packages))
    .filter(([name, { dev }]) => name !== '' && !dev && fs.existsSync(path.join(ROOT, name)))
    .map(([name]) => name);
}

/**
 * @param {string} stage
 * @param {Platform} platform
 * @param {string} natives
 */
function stagePlatform(stage, platform, natives) {
  const { name, os: system, cpu, libc } = platform;

  fs.copyFileSync(path.join(ROOT, 'LICENSE'), path.join(stage, 'LICENSE'));
  for (const [file, aliases] of Object.entries(NATIVES)) {
    const found = [file, ...aliases].map((one) => path.join(natives, one)).find(fs.existsSync);
    const staged = path.join(stage, file);

    if (!found) {
      throw new Error(
        `${file} is missing in ${natives}: build it, or name its folder by --natives`,
      );
    }
    fs.copyFileSync(found, staged);
    fs.chmodSync(staged, 0o755);
    if (system === 'linux' && platform === hostPlatform()) {
      // A release build has nothing left to strip, and not every host has the tool.
      spawnSync('strip', ['--strip-unneeded', staged], { stdio: 'ignore' });
    }
  }
  fs.writeFileSync(
    path.join(stage, 'README.md'),
    `# ${packageOf(platform)}\n\nThe native parts of \`mediasoup-horizontal\` for ${name}. ` +
      'It installs this package by itself.\n',
  );
  writeJson(path.join(stage, 'package.json'), {
    name: packageOf(platform),
    description: `Native parts of mediasoup-horizontal for ${name}`,
    ...COMMON,
    files: Object.keys(NATIVES),
    os: [system],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
  });
}

/**
 * @param {string} file
 * @param {object} value
 */
function writeJson(file, value) {
  fs.writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * @param {string} out
 * @param {(stage: string) => void} fill
 * @returns {string} Path of the tarball.
 */
function pack(out, fill) {
  const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-pack-'));

  try {
    fill(stage);
    const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', path.resolve(out)];
    const text = execFileSync('npm', args, {
      cwd: stage,
      encoding: 'utf8',
      timeout: PACK_MS,
      stdio: ['ignore', 'pipe', 'inherit'],
    });

    return path.resolve(out, JSON.parse(text)[0].filename);
  } finally {
    fs.rmSync(stage, { recursive: true, force: true });
  }
}

function main() {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: '.' },
      only: { type: 'string' },
      platform: { type: 'string' },
      natives: { type: 'string', default: BUILT },
      help: { type: 'boolean', short: 'h' },
    },
  });

  if (values.help) {
    console.log(HELP.trimEnd());
    return;
  }
  if (values.only !== undefined && values.only !== 'main' && values.only !== 'platform') {
    throw new Error(`--only is main or platform, not ${values.only}`);
  }
  const platform = values.platform
    ? PLATFORMS.find(({ name }) => name === values.platform)
    : hostPlatform();

  if (!platform && values.only !== 'main') {
    const known = PLATFORMS.map(({ name }) => name).join(', ');
    throw new Error(`no such platform: ${values.platform ?? 'this host'}; there are ${known}`);
  }
  fs.mkdirSync(values.out, { recursive: true });
  if (values.only !== 'platform') {
    console.log(pack(values.out, stageMain));
  }
  if (platform && values.only !== 'main') {
    console.log(pack(values.out, (stage) => stagePlatform(stage, platform, values.natives)));
  }
}

try {
  main();
} catch (error) {
  console.error(`pack: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
