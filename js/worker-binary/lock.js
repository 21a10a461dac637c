'use strict';

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const BEAT_MS = 5_000;
// A holder that missed this many milliseconds of beats is gone, wherever it ran.
const STALE_MS = 60_000;

/**
 * Takes a lock file, waiting for another holder to finish and clearing away one that died.
 *
 * @param {string} file
 * @param {{ onWait?: (holder: string) => void }} [options]
 * @returns {Promise<() => void>}  Gives the lock back.
 */
async function takeLock(file, { onWait } = {}) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const own = JSON.stringify({ pid: process.pid, host: os.hostname(), token: randomUUID() });
  let told = false;

  while (!tryCreate(file, own)) {
    const holder = readHolder(file);
    if (holder && isDead(holder)) {
      clearAway(file, holder.text);
      continue;
    }
    if (holder && !told) {
      told = true;
      onWait?.(`process ${holder.pid} on ${holder.host}`);
    }
    await sleep(500);
  }

  const beat = setInterval(() => {
    try {
      fs.utimesSync(file, new Date(), new Date());
    } catch {
      // The lock was taken away; the results are put into place atomically all the same.
    }
  }, BEAT_MS);
  beat.unref();

  return () => {
    clearInterval(beat);
    if (readHolder(file)?.text === own) {
      fs.rmSync(file, { force: true });
    }
  };
}

/**
 * @param {string} file
 * @param {string} text
 * @returns {boolean}
 */
function tryCreate(file, text) {
  // Linking a finished file makes the lock appear together with its content.
  const draft = `${file}.${randomUUID()}`;
  fs.writeFileSync(draft, text);
  try {
    fs.linkSync(draft, file);

    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') {
      return false;
    }
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/**
 * @typedef {{ text: string, pid: number, host: string, beat: number }} Holder
 */

/**
 * @param {string} file
 * @returns {Holder | undefined}
 */
function readHolder(file) {
  try {
    const text = fs.readFileSync(file, 'utf8');
    const beat = fs.statSync(file).mtimeMs;
    try {
      const { pid, host } = JSON.parse(text);

      return { text, pid, host, beat };
    } catch {
      return { text, pid: 0, host: '', beat };
    }
  } catch {
    return undefined;
  }
}

/**
 * @param {Holder} holder
 * @returns {boolean}
 */
function isDead({ pid, host, beat }) {
  if (Date.now() - beat > STALE_MS) {
    return true;
  }
  if (host !== os.hostname()) {
    return false;
  }
  try {
    process.kill(pid, 0);

    return false;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH';
  }
}

/**
 * @param {string} file
 * @param {string} text  Content of the lock that was found dead.
 */
function clearAway(file, text) {
  const aside = `${file}.${randomUUID()}`;
  try {
    fs.renameSync(file, aside);
  } catch {
    return;
  }
  // Another process may have cleared the dead lock and taken it in between: give theirs back.
  if (readHolder(aside)?.text !== text) {
    try {
      fs.linkSync(aside, file);
    } catch {
      // A third one holds it by now.
    }
  }
  fs.rmSync(aside, { force: true });
}

module.exports = { takeLock };
