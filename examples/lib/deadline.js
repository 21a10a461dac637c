'use strict';

/**
 * Waits for a promise, but not for ever.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {object} options
 * @param {number} options.ms
 * @param {string} options.what What is waited for, for the message of the error.
 * @param {AbortSignal} [options.signal] Ends the wait with its reason.
 * @returns {Promise<T>}
 */
async function within(promise, { ms, what, signal }) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  /** @type {(() => void) | undefined} */
  let onAbort;

  try {
    return await Promise.race([
      promise,
      new Promise((_, reject) => {
        timer = setTimeout(() => {
          reject(new Error(`timed out after ${ms / 1000} s: ${what}`));
        }, ms);
        onAbort = () => reject(signal?.reason);
        signal?.addEventListener('abort', onAbort);

        if (signal?.aborted) {
          onAbort();
        }
      }),
    ]);
  } finally {
    clearTimeout(timer);

    if (onAbort) {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/**
 * Lets time pass.
 *
 * @param {number} ms
 * @param {AbortSignal} [signal] Ends the pause with its reason.
 * @returns {Promise<void>}
 */
async function pause(ms, signal) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const passed = new Promise((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });

  try {
    await within(passed, { ms: ms + 10_000, what: 'a pause', signal });
  } finally {
    clearTimeout(timer);
  }
}

module.exports = { pause, within };
