'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { run } = require('./commands');

const DOWNLOAD_MS = 60_000;

/**
 * Lets mediasoup's own install script fetch its prebuilt worker. The script works on the folder it
 * is in, so it runs in a copy, and it would go on to mediasoup's own build, which is kept from it.
 *
 * @param {object} options
 * @param {string} options.mediasoupDir
 * @param {string} options.workDir  Folder for the copy; created.
 * @param {string} options.logFile
 * @returns {Promise<string | undefined>}  Path of the worker, undefined if it could not be had.
 */
async function downloadPrebuilt({ mediasoupDir, workDir, logFile }) {
  const script = path.join(mediasoupDir, 'npm-scripts.mjs');
  if (!fs.existsSync(script)) {
    return undefined;
  }

  fs.mkdirSync(path.join(workDir, 'node_modules'), { recursive: true });
  for (const name of ['npm-scripts.mjs', 'package.json']) {
    fs.copyFileSync(path.join(mediasoupDir, name), path.join(workDir, name));
  }
  for (const name of importsOf(script)) {
    const found = packageDir(mediasoupDir, name);
    if (found) {
      fs.symlinkSync(found, path.join(workDir, 'node_modules', name), 'dir');
    }
  }

  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env };
  for (const name of ['MEDIASOUP_WORKER_BIN', 'MEDIASOUP_LOCAL_DEV', 'npm_package_resolved']) {
    delete env[name];
  }
  // The build that follows a failed download starts with Python.
  env.PYTHON = 'false';

  const options = { cwd: workDir, env, timeout: DOWNLOAD_MS, logFile };
  await run(process.execPath, ['npm-scripts.mjs', 'postinstall'], options).catch(() => {});
  const binary = path.join(workDir, 'worker', 'out', 'Release', 'mediasoup-worker');

  return fs.existsSync(binary) ? binary : undefined;
}

/**
 * @param {string} script
 * @returns {string[]}  Packages that it imports when it starts.
 */
function importsOf(script) {
  const text = fs.readFileSync(script, 'utf8');
  const names = [...text.matchAll(/^import .* from '([^'.][^']*)'/gm)].map(([, name]) => name);

  return names.filter((name) => !name.startsWith('node:') && !name.includes('/'));
}

/**
 * @param {string} from
 * @param {string} name
 * @returns {string | undefined}  The folder of a package as seen from another folder.
 */
function packageDir(from, name) {
  for (let dir = fs.realpathSync(from); ; dir = path.dirname(dir)) {
    const found = path.join(dir, 'node_modules', name);
    if (fs.existsSync(found)) {
      return fs.realpathSync(found);
    }
    if (dir === path.dirname(dir)) {
      return undefined;
    }
  }
}

module.exports = { downloadPrebuilt };
