'use strict';

const { pathToFileURL } = require('node:url');
const { redirect } = require('./redirect');

/**
 * The hook by which Node.js asks where a specifier leads, for threads of either kind: the app's
 * own (`registerHooks`, synchronous) and the one that Node.js keeps for hooks (`register`).
 *
 * @template Context, Result
 * @param {string} specifier
 * @param {Context} context
 * @param {(specifier: string, context?: Context) => Result} nextResolve
 * @returns {Result | { url: string, format: 'commonjs', shortCircuit: true }}
 */
function resolve(specifier, context, nextResolve) {
  const file = redirect(specifier);

  return file === undefined
    ? nextResolve(specifier, context)
    : { url: pathToFileURL(file).href, format: 'commonjs', shortCircuit: true };
}

exports.resolve = resolve;
