'use strict';

const { parseArgs } = require('node:util');

/**
 * @typedef {object} NumberOption
 * @property {number} default
 * @property {number} min
 * @property {number} [max]
 * @property {boolean} [integer]
 */

/**
 * Reads the command line of an example. Ends the process by itself on `--help` and on mistakes.
 *
 * @template {string} N
 * @template {string} F
 * @param {object} command
 * @param {string} command.help
 * @param {Record<N, NumberOption>} command.numbers
 * @param {F[]} command.flags
 * @param {string[]} [args]
 * @returns {{ numbers: Record<N, number>, flags: Record<F, boolean> }}
 */
function parseCommand({ help, numbers, flags }, args = process.argv.slice(2)) {
  try {
    const values = readOptions(Object.keys(numbers), flags, args);

    if (values.help) {
      process.stdout.write(help);
      process.exit(0);
    }

    return {
      numbers: /** @type {Record<N, number>} */ (
        Object.fromEntries(
          Object.entries(numbers).map(([name, option]) => [
            name,
            readNumber(name, /** @type {NumberOption} */ (option), values[name]),
          ]),
        )
      ),
      flags: /** @type {Record<F, boolean>} */ (
        Object.fromEntries(flags.map((name) => [name, values[name] === true]))
      ),
    };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${help}`);
    process.exit(2);
  }
}

/**
 * @param {string[]} numbers
 * @param {string[]} flags
 * @param {string[]} args
 * @returns {Record<string, string | boolean | undefined>}
 */
function readOptions(numbers, flags, args) {
  /** @type {Record<string, { type: 'string' | 'boolean' }>} */
  const options = {};

  for (const name of numbers) {
    options[name] = { type: 'string' };
  }

  for (const name of [...flags, 'help']) {
    options[name] = { type: 'boolean' };
  }

  const { values } = parseArgs({ args, options, strict: true });

  return /** @type {Record<string, string | boolean | undefined>} */ (values);
}

/**
 * @param {string} name
 * @param {NumberOption} option
 * @param {string | boolean | undefined} text
 * @returns {number}
 */
function readNumber(name, option, text) {
  if (text === undefined) {
    return option.default;
  }

  const { min, max = Infinity, integer = false } = option;
  const value = text === '' ? NaN : Number(text);

  if (!Number.isFinite(value) || value < min || value > max || (integer && value % 1 !== 0)) {
    const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;

    throw new Error(`--${name} wants a ${integer ? 'whole ' : ''}number ${range}, not "${text}".`);
  }

  return value;
}

module.exports = { parseCommand };
