'use strict';

const { parseCommand } = require('./command-line');
const { findProblems, printReport } = require('./report');

/** `node examples/room.js`: the room on its own, without agents. */

const HELP = `Usage: node examples/room.js [options]

Plays a clip through a room: produced on one Worker, piped to the others, consumed there.

  --plain        Run on plain mediasoup instead of mediasoup-horizontal.
  --seconds S    How long to play. Default 8.
  --workers N    How many Workers. Default 2.
  --json         Print the result as JSON in the last line.
  --help         Print this text.
`;

/** @param {typeof import('../room').runRoom} runRoom */
async function main(runRoom) {
  const options = parseCommand({
    help: HELP,
    numbers: {
      seconds: { default: 8, min: 1 },
      workers: { default: 2, min: 1, integer: true },
    },
    flags: ['plain', 'json'],
  });
  const { seconds, workers } = options.numbers;

  try {
    const mediasoup = require(options.flags.plain ? 'mediasoup-upstream' : '../..');
    const report = await runRoom({ mediasoup, seconds, workers, log: console.log });
    const problems = findProblems(report);

    printReport(report, problems, console.log);
    process.exitCode = problems.length === 0 ? 0 : 1;

    if (options.flags.json) {
      console.log(JSON.stringify({ workers, ...report, ok: problems.length === 0 }));
    }
  } catch (error) {
    console.error(`The room failed: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}

module.exports = { main };
