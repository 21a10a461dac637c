'use strict';

/**
 * Writes docs/configuration.md, or with --check tells whether it is as it would be written. The
 * agent's options come from the built agent itself.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { CONSTRUCTORS, ENVIRONMENT } = require('../js/configuration');
const { agentPath } = require('../js/native');

/** @import { Option, Owner, Variable } from '../js/configuration' */

const FILE = path.join(__dirname, '..', 'docs', 'configuration.md');
const COMMAND = 'node scripts/configuration-docs.js';

/**
 * @typedef {object} Flag
 * @property {string} name As in `--listen <HOST:PORT>`.
 * @property {string} description
 */

const INTRODUCTION = `\
<!-- Made by ${COMMAND} of js/configuration.js and of what the agent tells. -->

# Configuration

Nothing must be configured: Workers run on this host then. What is said wrongly is refused with the option's path or the
variable's name, what was given (never a token) and what is expected; an unknown option is refused too:

\`\`\`
TypeError: Horizontal: options.watermark must be a number from 0 to 1, got 7
TypeError: RemoteConnection: options.tokenfile is unknown; did you mean tokenFile?
MEDIASOUP_HORIZONTAL_MAX_PARTS=0: it is a whole number from 1 on
\`\`\`

An option counts before its variable. A variable that is set to nothing counts as unset. An option that is \`undefined\`
counts as not given.`;

/** @type {Record<Owner, string>} */
const OWNERS = {
  Horizontal: `\
\`new Horizontal(connections, options)\`. Without \`connections\` (undefined or null) the environment tells them, else this
host is one. The instance behind the exports of the package is such a one: it is configured by variables alone.`,
  LocalConnection: '`new LocalConnection(options)`: Workers of this host.',
  RemoteConnection: `\
\`new RemoteConnection(options)\`: Workers of another host, through its agent. A URL alone stands for one with nothing else.`,
  MockConnection:
    '`new MockConnection(options)`: Workers without media, for tests ([testing](testing.md)).',
};

/** @type {Record<keyof typeof ENVIRONMENT, string[]>} */
const PROGRAMS = {
  app: ['The environment of an app', 'Beside the variables above, which stand for an option each:'],
  agent: [
    'The environment of an agent',
    'Its mediasoup-workers get to see none of them ([security](security.md)).',
  ],
  setUp: [
    'The environment of set-up',
    'What `npx mediasoup-horizontal worker install` reads, and in a checkout `npm run setup`.',
  ],
};

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
function table(head, rows) {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n')
    .replace(/^\| --- .*$/m, `|${head.map(() => '---|').join('')}`);
}

/** @param {string} name */
function code(name) {
  return `\`${name}\``;
}

/** @param {Option[]} options */
function optionsTable(options) {
  const variables = options.some(({ variable }) => variable !== null);
  const head = ['option', 'what', 'value', 'default', ...(variables ? ['variable'] : [])];

  return table(
    head,
    options.map(({ name, description, kind, fallback, variable }) => [
      code(name),
      description,
      kind.expected.replace(/'([^']*)'/g, '`$1`'),
      fallback,
      ...(variables ? [variable === null ? '' : code(variable)] : []),
    ]),
  );
}

/** @param {Variable[]} variables */
function variablesTable(variables) {
  return table(
    ['variable', 'what', 'value', 'default'],
    variables.map(({ name, description, expected, fallback }) => [
      code(name),
      description,
      expected,
      fallback,
    ]),
  );
}

/**
 * What `--help` tells of the options.
 *
 * @param {string[]} command
 * @returns {Flag[]}
 */
function flagsOf(...command) {
  const help = execFileSync(agentPath, [...command, '--help'], { encoding: 'utf8' });
  const [, options] = help.split('\nOptions:\n');
  /** @type {Flag[]} */
  const flags = [];

  for (const line of options.split('\n')) {
    const head = /^ {2,6}(?:-\w, )?(--[\w-]+(?: <[^>]+>)?)(?: {2,}(.*))?$/.exec(line);

    if (head) {
      flags.push({ name: head[1], description: head[2] ?? '' });
    } else if (line.trim() !== '') {
      const flag = /** @type {Flag} */ (flags.at(-1));
      const text = line.trim().replace(/^- (\w+): +/, '$1: ');

      flag.description = [flag.description, text].filter(Boolean).join('; ');
    }
  }

  return flags
    .filter(({ name }) => !['--help', '--version'].includes(name))
    .map(({ name, description }) => ({
      name,
      description: description.replaceAll('values:;', 'values:'),
    }));
}

/** @param {string[]} command */
function flagsTable(...command) {
  return table(
    ['option', 'what'],
    flagsOf(...command).map(({ name, description }) => [code(name), description]),
  );
}

/** @returns {string} The page. */
function render() {
  const parts = [INTRODUCTION];

  for (const [owner, text] of Object.entries(OWNERS)) {
    parts.push(`## ${owner}`, text, optionsTable(CONSTRUCTORS[/** @type {Owner} */ (owner)]));
  }
  for (const [program, [title, text]] of Object.entries(PROGRAMS)) {
    const variables = ENVIRONMENT[/** @type {keyof typeof ENVIRONMENT} */ (program)];

    parts.push(`## ${title}`, text, variablesTable(variables));
  }
  parts.push(
    "## The agent's command line",
    '`npx mediasoup-horizontal agent`, or the binary `mediasoup-horizontal-agent` itself:',
    flagsTable(),
    '`agent drain` ([operations](operations.md#drain)):',
    flagsTable('drain'),
    '`agent status`:',
    flagsTable('status'),
  );

  return `${parts.join('\n\n')}\n`;
}

function main() {
  const page = render();
  const [mode, ...more] = process.argv.slice(2);

  if ((mode !== undefined && mode !== '--check') || more.length > 0) {
    console.error(`usage: ${COMMAND} [--check]`);
    process.exitCode = 2;
  } else if (mode === undefined) {
    fs.writeFileSync(FILE, page);
  } else if (!fs.existsSync(FILE) || fs.readFileSync(FILE, 'utf8') !== page) {
    console.error(`docs/configuration.md is not what it would be made: ${COMMAND}`);
    process.exitCode = 1;
  }
}

if (require.main === module) {
  main();
}

module.exports = { flagsOf, render };
