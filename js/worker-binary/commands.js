'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const GRACE_MS = 2_000;

/** A problem that the user can do something about; its message says what. */
class InstallError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'InstallError';
  }
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {number} [timeout]  Milliseconds; 10 minutes unless told otherwise.
 * @property {(line: string) => void} [onLine]  Called for every line of output.
 * @property {string} [logFile]  Gets the command and all its output.
 */

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
let stopped = false;

/**
 * Runs a command to its end and returns what it printed. Rejects when it fails or takes too long.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<string>}
 */
function run(command, args, options = {}) {
  const { cwd, env = process.env, timeout = 600_000, onLine, logFile } = options;
  const shown = [command, ...args].join(' ');
  /** @param {string} text */
  const record = (text) => {
    if (logFile) {
      fs.appendFileSync(logFile, `${text}\n`);
    }
  };
  record(`$ ${shown}`);
  if (stopped) {
    return Promise.reject(new InstallError('stopped'));
  }

  return new Promise((resolve, reject) => {
    // In a process group of its own, so that a timeout ends its children as well.
    const child = spawn(command, args, {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);

    /** @type {string[]} */
    const lines = [];
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        record(line);
        onLine?.(line);
      });
    }

    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child);
    }, timeout);
    /** @param {string} problem */
    const fail = (problem) => {
      const tail = lines.slice(-15).join('\n');
      const where = logFile ? `\nThe full log is in ${logFile}` : '';
      reject(new InstallError(`${shown}\n${problem}${tail ? `:\n${tail}` : '.'}${where}`));
    };

    child.once('error', (error) => {
      clearTimeout(timer);
      running.delete(child);
      fail(`could not be started (${error.message})`);
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      if (stopped) {
        reject(new InstallError('stopped'));
      } else if (late) {
        fail(`did not end within ${timeout / 1000} s and was stopped`);
      } else if (code === 0) {
        resolve(lines.join('\n'));
      } else {
        fail(signal ? `was ended by ${signal}` : `ended with exit code ${code}`);
      }
    });
  });
}

/** @param {import('node:child_process').ChildProcess} child */
function killGroup(child) {
  /** @param {NodeJS.Signals} signal */
  const kill = (signal) => {
    try {
      process.kill(-(/** @type {number} */ (child.pid)), signal);
    } catch {
      // It ended by itself.
    }
  };
  if (child.pid !== undefined) {
    // Politely first: ninja has its compilers in groups of their own, and ends them itself.
    kill('SIGTERM');
    const timer = setTimeout(kill, GRACE_MS, 'SIGKILL');
    child.once('close', () => clearTimeout(timer));
  }
}

/** Ends every command that is still running, with its children, and lets no other start. */
function stopCommands() {
  stopped = true;
  running.forEach(killGroup);
}

/**
 * Finds a program on the PATH.
 *
 * @param {string} name  A name, or a path that is returned when it can be run.
 * @returns {string | undefined}
 */
function findTool(name) {
  const folders = name.includes('/') ? [''] : (process.env.PATH ?? '').split(path.delimiter);
  for (const folder of folders) {
    const file = path.resolve(folder, name);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      if (fs.statSync(file).isFile()) {
        return file;
      }
    } catch {
      // Not in this folder.
    }
  }

  return undefined;
}

/**
 * @param {string} dir
 * @param {RegExp} pattern  For the name of the file.
 * @returns {string | undefined}  The first match below the folder.
 */
function findFile(dir, pattern) {
  for (const entry of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && pattern.test(entry.name)) {
      // Node 20.12 calls the folder of an entry `parentPath`; before, it was `path`.
      return path.join(entry.parentPath ?? entry.path, entry.name);
    }
  }

  return undefined;
}

module.exports = { InstallError, findFile, findTool, run, stopCommands };
