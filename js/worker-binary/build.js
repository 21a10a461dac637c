'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { InstallError, findFile, findTool, run } = require('./commands');
const { Packages } = require('./packages');

const PROJECT_DIR = path.join(__dirname, '..', '..', 'native', 'worker');
// The C++ headers and the generator of flatbuffers, which must be of the same version.
const FLATC_VERSION = '==25.12.19rc0';
const COMPILE_MS = 3_600_000;
const PROGRESS_STEPS = 10;
const MIN_CMAKE = 18;

/** What a build needs of the system: names of programs, one of each line, and what for. */
const TOOLS = [
  { names: ['g++', 'c++', 'clang++'], variable: 'CXX', use: 'compiles the worker', debian: 'g++' },
  { names: ['gcc', 'cc', 'clang'], variable: 'CC', use: 'compiles libsrtp', debian: 'gcc' },
  { names: ['python3'], use: 'fetches and unpacks build tools', debian: 'python3 python3-pip' },
  { names: ['apt-get'], use: 'fetches the libraries of the worker', debian: '' },
  { names: ['dpkg-deb'], use: 'unpacks the libraries of the worker', debian: 'dpkg' },
  { names: ['tar'], use: 'unpacks the source of libsrtp', debian: 'tar' },
];

/**
 * @typedef {object} BuildOptions
 * @property {string} mediasoupDir
 * @property {string} workDir
 * @property {string} logFile
 * @property {(line: string) => void} log
 */

/**
 * Builds the worker from the sources in the installed mediasoup package and from libraries out of
 * package registries.
 *
 * @param {BuildOptions} options
 * @returns {Promise<string>}  Path of the binary.
 */
async function buildWorker({ mediasoupDir, workDir, logFile, log }) {
  if (process.platform !== 'linux') {
    throw new InstallError(
      `Building the worker is not supported on ${process.platform}. Install mediasoup where its ` +
        'prebuilt worker can be downloaded, or set MEDIASOUP_HORIZONTAL_WORKER_BIN to a worker.',
    );
  }
  const { cxx, cc } = requireTools();

  const packages = new Packages({ workDir, logFile, log });
  const sysroot = path.join(workDir, 'sysroot');
  const libsrtp = path.join(workDir, 'libsrtp');
  const flatc = path.join(workDir, 'flatc');
  await packages.unpackDebs(['libuv1-dev', 'libssl-dev', 'libabsl-dev'], sysroot);
  await addCompression(packages, sysroot);
  await packages.unpackSource('libsrtp2', libsrtp);
  await packages.unpackWheel('flatc', FLATC_VERSION, flatc);
  const cmake = await getCmake(packages, path.join(workDir, 'cmake'));
  const ninja = await getNinja(packages, path.join(workDir, 'ninja'));

  const inputs = path.join(workDir, 'inputs.cmake');
  writeInputs(inputs, path.join(mediasoupDir, 'worker'), {
    SYSROOT: sysroot,
    SRTP_DIR: libsrtp,
    FLATC: makeRunnable(path.join(flatc, 'flatc', 'bin', 'flatc')),
    FLATBUFFERS_INCLUDE_DIR: path.join(flatc, 'flatc', 'include'),
  });

  const out = path.join(workDir, 'out');
  log(`configuring the build, the full log is in ${logFile}`);
  await run(
    cmake,
    [
      ...['-G', 'Ninja', '-S', PROJECT_DIR, '-B', out, '-D', 'CMAKE_BUILD_TYPE=Release'],
      ...['-D', `CMAKE_MAKE_PROGRAM=${ninja}`, '-D', `INPUTS=${inputs}`],
      ...['-D', `CMAKE_CXX_COMPILER=${cxx}`, '-D', `CMAKE_C_COMPILER=${cc}`],
    ],
    { logFile },
  );
  log(`compiling with ${os.availableParallelism()} cores`);
  await run(ninja, ['-C', out], { logFile, timeout: COMPILE_MS, onLine: progress(log) });

  return path.join(out, 'mediasoup-worker');
}

/**
 * Looks for every tool before the first is used, so that one message names all that is missing.
 *
 * @returns {{ cxx: string, cc: string }}
 */
function requireTools() {
  const found = TOOLS.map(({ names, variable }) => {
    const own = variable && process.env[variable];

    return (own ? [own] : names).map(findTool).find(Boolean);
  });

  const missing = TOOLS.filter((_tool, index) => !found[index]);
  if (missing.length > 0) {
    const lines = missing.map(({ names, variable, use }) => {
      const own = variable && process.env[variable];

      return `  ${own ? `${own} (from ${variable})` : names[0]}: ${use}`;
    });
    const debian = missing.map((tool) => tool.debian).filter(Boolean);
    const hint = missing.some(({ names }) => names[0] === 'apt-get')
      ? 'The build needs a Debian-like system. On others, take a worker built elsewhere and name ' +
        'it in MEDIASOUP_HORIZONTAL_WORKER_BIN.'
      : `Install with: apt-get install ${debian.join(' ')}`;
    throw new InstallError(
      `To build mediasoup-worker, this is missing on the PATH:\n${lines.join('\n')}\n${hint}`,
    );
  }

  return { cxx: /** @type {string} */ (found[0]), cc: /** @type {string} */ (found[1]) };
}

/**
 * Newer builds of libcrypto need compression libraries; its description for pkg-config tells.
 *
 * @param {Packages} packages
 * @param {string} sysroot
 */
async function addCompression(packages, sysroot) {
  const description = findFile(sysroot, /^libcrypto\.pc$/);
  const text = description ? fs.readFileSync(description, 'utf8') : '';
  const names = [];
  if (/\blibzstd\b|-lzstd\b/.test(text)) {
    names.push('libzstd-dev');
  }
  if (/\bzlib\b|-lz\b/.test(text)) {
    names.push('zlib1g-dev');
  }
  await packages.unpackDebs(names, sysroot);
}

/**
 * @param {Packages} packages
 * @param {string} dir
 * @returns {Promise<string>}
 */
async function getCmake(packages, dir) {
  const own = findTool('cmake');
  if (own) {
    const text = await run(own, ['--version']).catch(() => '');
    const [, major, minor] = /version (\d+)\.(\d+)/.exec(text) ?? [];
    if (Number(major) > 3 || (Number(major) === 3 && Number(minor) >= MIN_CMAKE)) {
      return own;
    }
  }
  await packages.unpackWheel('cmake', `>=3.${MIN_CMAKE},<5`, dir);

  return makeRunnable(findFile(dir, /^cmake$/));
}

/**
 * @param {Packages} packages
 * @param {string} dir
 * @returns {Promise<string>}
 */
async function getNinja(packages, dir) {
  const own = findTool('ninja');
  if (own && (await run(own, ['--version']).catch(() => ''))) {
    return own;
  }
  await packages.unpackWheel('ninja', '>=1.10,<2', dir);

  return makeRunnable(findFile(dir, /^ninja$/));
}

/**
 * @param {string | undefined} file
 * @returns {string}
 */
function makeRunnable(file) {
  if (!file || !fs.existsSync(file)) {
    throw new InstallError(`a build tool is not where its package had it: ${file ?? 'not found'}`);
  }
  // Unpacking a Python package loses the permission to run.
  fs.chmodSync(file, 0o755);

  return file;
}

/**
 * Tells CMake what to build from. The lists of sources are read here since the syntax of Meson's
 * files is beyond CMake's string functions.
 *
 * @param {string} file
 * @param {string} workerDir
 * @param {Record<string, string>} values
 */
function writeInputs(file, workerDir, values) {
  const libwebrtc = path.join(workerDir, 'deps', 'libwebrtc');
  const sources = sourcesIn(path.join(workerDir, 'meson.build'), 'common_sources');
  const lists = {
    WORKER_SOURCES: [...sources, 'src/main.cpp'].map((name) => path.join(workerDir, name)),
    LIBWEBRTC_SOURCES: sourcesIn(path.join(libwebrtc, 'meson.build'), 'libwebrtc_sources').map(
      (name) => path.join(libwebrtc, name),
    ),
  };

  const lines = Object.entries({ WORKER_DIR: workerDir, ...values })
    .map(([name, value]) => `set(${name} ${quote(value)})`)
    .concat(
      Object.entries(lists).map(
        ([name, files]) => `set(${name}\n${files.map((f) => `  ${quote(f)}`).join('\n')}\n)`,
      ),
    );
  fs.writeFileSync(file, `${lines.join('\n')}\n`);
}

/**
 * @param {string} file
 * @param {string} name  Of a list; additions to it in the same file count.
 * @returns {string[]}
 */
function sourcesIn(file, name) {
  const text = fs.readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, '');
  const lists = text.matchAll(new RegExp(`^\\s*${name}\\s*\\+?=\\s*\\[([^\\]]*)\\]`, 'gm'));
  const sources = [...lists].flatMap(([, body]) => body.match(/(?<=')[^']+(?=')/g) ?? []);
  const names = sources.filter((source) => /\.(c|cc|cpp)$/.test(source));
  if (names.length === 0) {
    throw new InstallError(`no list ${name} in ${file}; is this version of mediasoup supported?`);
  }

  return names;
}

/**
 * @param {string} value
 * @returns {string}  As an argument for CMake in which nothing is special.
 */
function quote(value) {
  return `[==[${value}]==]`;
}

/**
 * Makes few lines out of the many that ninja prints.
 *
 * @param {(line: string) => void} log
 * @returns {(line: string) => void}
 */
function progress(log) {
  let told = 0;

  return (line) => {
    const [, done, all] = /^\[(\d+)\/(\d+)\]/.exec(line) ?? [];
    const step = Math.floor((Number(done) * PROGRESS_STEPS) / Number(all));
    if (step > told) {
      told = step;
      log(`compiling [${done.padStart(all.length)}/${all}]`);
    }
  };
}

module.exports = { buildWorker };
