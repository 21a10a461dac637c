'use strict';

/**
 * `node -r mediasoup-horizontal/register app.js`: whatever the app requires or imports as
 * `mediasoup` is this package. Threads and forked processes inherit the option from Node.js.
 */

const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { redirect } = require('../register/redirect');
const { resolve } = require('../register/resolve-hook');

/**
 * The parts of Node.js that its typings lack: a function that every `require()` and
 * `require.resolve()` goes through, and hooks that only newer versions have.
 *
 * @typedef {object} Loader
 * @property {(request: string, ...rest: unknown[]) => string} _resolveFilename
 * @property {(hooks: { resolve: typeof resolve }) => void} [registerHooks]
 */

const loader = /** @type {typeof Module & Loader} */ (/** @type {unknown} */ (Module));
const resolveFilename = loader._resolveFilename;

/**
 * @this {unknown}
 * @param {string} request
 * @param {unknown[]} rest
 * @returns {string}
 */
loader._resolveFilename = function resolveRedirected(request, ...rest) {
  return redirect(request) ?? resolveFilename.call(this, request, ...rest);
};

if (loader.registerHooks) {
  loader.registerHooks({ resolve });
} else {
  // Node.js before 22.15 runs hooks for `import` on a thread of their own.
  loader.register(pathToFileURL(path.join(__dirname, '..', 'register', 'resolve-hook.js')));
}
