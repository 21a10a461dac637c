#!/usr/bin/env node
'use strict';

const { runAgent } = require('./cli/agent');
const { installCommand, pathCommand } = require('./cli/worker');
const native = require('./native');
const { version } = require('../package.json');

const HELP = `Usage: mediasoup-horizontal COMMAND

Commands:
  agent [options]           Give this host's mediasoup-workers to apps on other hosts.
                            "agent --help" tells the options.
  agent drain [options]     Let a running agent take no new Workers, and end once it is empty.
  agent status [--json]     Tell what a running agent is about.
  worker install [--force]  Fetch or build the mediasoup-worker of this version.
  worker path               Print the path of the installed mediasoup-worker.
  worker-bin                Print the path for MEDIASOUP_WORKER_BIN, with which an unmodified
                            mediasoup gets its Workers from here.

Options:
  --version  Print the version.
  --help     Print this text.
`;

/** The command line is wrong. */
const USAGE = 2;

/**
 * @param {string[]} args
 * @returns {Promise<number>} Exit status.
 */
async function main([command, ...rest]) {
  switch (command) {
    case 'agent':
      return runAgent(rest);
    case 'worker':
      return worker(rest);
    case 'worker-bin':
      return rest.length > 0 ? misuse(`worker-bin takes no ${rest[0]}`) : workerBin();
    case '--version':
    case '-V':
      return say(version);
    case '--help':
    case '-h':
    case 'help':
      return say(HELP.trimEnd());
    case undefined:
      return misuse('a command is missing');
    default:
      return misuse(`unknown command ${command}`);
  }
}

/**
 * @param {string[]} args
 * @returns {Promise<number>}
 */
async function worker([command, ...rest]) {
  const known = { install: ['--force'], path: [] }[command ?? ''];
  const unknown = known && rest.find((arg) => !known.includes(/** @type {never} */ (arg)));

  if (known === undefined) {
    return misuse(command ? `unknown command worker ${command}` : 'worker needs install or path');
  }
  if (unknown !== undefined) {
    return misuse(`worker ${command} takes no ${unknown}`);
  }

  return command === 'install' ? installCommand({ force: rest.length > 0 }) : pathCommand();
}

function workerBin() {
  native.checkNative();

  return say(native.stubPath);
}

/** @param {string} text */
function say(text) {
  console.log(text);

  return 0;
}

/** @param {string} problem */
function misuse(problem) {
  console.error(`mediasoup-horizontal: ${problem}\n\n${HELP}`);

  return USAGE;
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error) => {
    console.error(`mediasoup-horizontal: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  },
);
