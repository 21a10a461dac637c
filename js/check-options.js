'use strict';

const { inspect } = require('node:util');
const { CONSTRUCTORS } = require('./configuration');

/** @import { Kind, Option, Owner } from './configuration' */

/** More of a value is never shown. */
const SHOWN_MAX = 40;

/** So many changed letters make another word. */
const TYPOS_MAX = 2;

/**
 * Checks the options of a constructor.
 *
 * @template {object} T
 * @param {Owner} owner
 * @param {T} given
 * @returns {T} A copy, which the app cannot change any more.
 * @throws {TypeError} Naming the option, what is wrong with it and what is expected. It never
 * quotes a secret.
 */
function checkOptions(owner, given) {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw wrong(`${owner}: options`, 'an object', given, true);
  }

  const options = CONSTRUCTORS[owner];
  /** @type {Record<string, unknown>} */
  const checked = {};

  for (const name of Object.keys(given)) {
    if (!options.some((option) => option.name === name)) {
      throw new TypeError(`${owner}: options.${shorten(name)} is unknown; ${hint(owner, name)}`);
    }
  }
  for (const { name, kind, required, secret } of options) {
    const value = /** @type {Record<string, unknown>} */ (given)[name];

    if (value !== undefined || required) {
      checkValue(`${owner}: options.${name}`, kind, value, secret);
      checked[name] = Array.isArray(value) ? [...value] : value;
    }
  }

  return /** @type {T} */ (checked);
}

/**
 * The checked options as the core takes them, which wants to hear of each.
 *
 * @param {Owner} owner
 * @param {object} given
 * @returns {Record<string, any>}
 */
function toSettings(owner, given) {
  const nothing = CONSTRUCTORS[owner].map(({ name }) => [name, null]);

  return { ...Object.fromEntries(nothing), ...checkOptions(owner, given) };
}

/**
 * @param {string} path
 * @param {Kind} kind
 * @param {unknown} value
 * @param {boolean} [secret]
 */
function checkValue(path, kind, value, secret) {
  if (!kind.fits(value)) {
    throw wrong(path, kind.expected, value, secret);
  }
  if (kind.each) {
    for (const [i, element] of /** @type {unknown[]} */ (value).entries()) {
      checkValue(`${path}[${i}]`, kind.each, element, secret);
    }
  }
}

/**
 * @param {string} path
 * @param {string} expected
 * @param {unknown} value
 * @param {boolean} [secret]
 * @returns {TypeError}
 */
function wrong(path, expected, value, secret) {
  return new TypeError(`${path} must be ${expected}, got ${show(value, secret)}`);
}

/**
 * A value in an error: never what an object holds, which may be anything.
 *
 * @param {unknown} value
 * @param {boolean} [secret]
 * @returns {string}
 */
function show(value, secret = false) {
  if (Array.isArray(value)) {
    return 'an array';
  }
  if (value === null || value === undefined || value === '') {
    return inspect(value);
  }
  if (secret || !['string', 'number', 'bigint', 'boolean'].includes(typeof value)) {
    return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
  }

  return typeof value === 'string' ? inspect(shorten(value)) : shorten(inspect(value));
}

/**
 * @param {string} word
 * @returns {string}
 */
function shorten(word) {
  return word.length > SHOWN_MAX ? `${word.slice(0, SHOWN_MAX)}…` : word;
}

/**
 * What somebody may have meant.
 *
 * @param {Owner} owner
 * @param {string} name
 * @returns {string}
 */
function hint(owner, name) {
  const known = CONSTRUCTORS[owner].map((option) => option.name);
  const near = known
    .map((candidate) => ({ candidate, typos: typosBetween(name, candidate) }))
    .sort((one, other) => one.typos - other.typos)
    .find(({ typos }) => typos <= TYPOS_MAX);

  if (near) {
    return `did you mean ${near.candidate}?`;
  }

  const elsewhere = Object.entries(CONSTRUCTORS).find(([, options]) =>
    options.some((option) => option.name === name),
  );

  return elsewhere
    ? `it is an option of ${elsewhere[0]}`
    : `the options of ${owner} are ${known.join(', ')}`;
}

/**
 * How many letters must be put in, taken out or replaced to make one word of the other, in whatever
 * case they are.
 *
 * @param {string} one
 * @param {string} other
 * @returns {number}
 */
function typosBetween(one, other) {
  if (Math.abs(one.length - other.length) > TYPOS_MAX) {
    return Number.POSITIVE_INFINITY;
  }

  const [from, to] = [one.toLowerCase(), other.toLowerCase()];
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);

  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];

    for (let j = 1; j <= to.length; j += 1) {
      const replaced = row[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1);

      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }

  return row[to.length];
}

module.exports = { checkOptions, show, toSettings };
