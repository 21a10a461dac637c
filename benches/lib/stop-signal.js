'use strict';

const os = require('node:os');

/** @returns {AbortSignal} Aborted when the process is asked to end, whose exit status then says so. */
function stopSignal() {
  const stopping = new AbortController();

  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(name, () => {
      process.exitCode = 128 + os.constants.signals[name];
      stopping.abort(new Error(`stopped by ${name}`));
    });
  }

  return stopping.signal;
}

module.exports = { stopSignal };
