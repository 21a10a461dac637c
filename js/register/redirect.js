'use strict';

const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const SUBPATHS = path.join(ROOT, 'js', 'subpaths');

/**
 * What an app asks for, and the file of this package that it gets. Only what mediasoup exports:
 * anything else stays mediasoup's affair, and our own `mediasoup-upstream` is another name.
 *
 * @type {ReadonlyMap<string, string>}
 */
const REDIRECTS = new Map([
  ['mediasoup', path.join(ROOT, 'index.js')],
  ['mediasoup/types', path.join(SUBPATHS, 'types.js')],
  ['mediasoup/errors', path.join(SUBPATHS, 'errors.js')],
  ['mediasoup/ortc', path.join(SUBPATHS, 'ortc.js')],
  ['mediasoup/extras', path.join(SUBPATHS, 'extras.js')],
]);

/**
 * @param {string} specifier As in `require(specifier)`.
 * @returns {string | undefined} Absolute path of what takes its place; undefined if nothing does.
 */
function redirect(specifier) {
  return REDIRECTS.get(specifier);
}

module.exports = { redirect };
