'use strict';

const fs = require('node:fs');
const path = require('node:path');

/**
 * How jest finds modules in a conformance run: mediasoup's tests get the module under test where
 * they ask for mediasoup's index, and everybody gets the one copy of mediasoup that the tests are
 * part of, so that error classes are the same everywhere.
 *
 * @typedef {object} ResolverOptions
 * @property {string} basedir
 * @property {(request: string, options: object) => string} defaultResolver
 */

const {
  MEDIASOUP_CONFORMANCE_DIR: dir = '',
  MEDIASOUP_CONFORMANCE_TEST_DIR: testDir,
  MEDIASOUP_CONFORMANCE_INDEX: index,
} = process.env;

/**
 * @param {string} request
 * @param {ResolverOptions} options
 * @returns {string}
 */
module.exports = function resolve(request, options) {
  if (index && request === '../' && options.basedir === testDir) {
    // The run checks that this has happened.
    fs.writeFileSync(path.join(dir, 'index-used'), index);

    return index;
  }

  const upstream = /^mediasoup-upstream(\/|$)/.test(request);

  return options.defaultResolver(request, upstream ? { ...options, basedir: dir } : options);
};
