'use strict';

const { parseArgs } = require('node:util');
const { within } = require('../examples/lib/deadline');
const { toText } = require('./lib/calls-report');
const { judge, summarize } = require('./lib/calls-summary');
const { closeAll } = require('./lib/leftovers');
const { describeMachine } = require('./lib/machine');
const { BASELINE, MODES, openMode } = require('./lib/modes');
const { IDLE_MS, IN_FLIGHT, takeSample } = require('./lib/phases');
const { stopSignal } = require('./lib/stop-signal');
const { CALLS } = require('./lib/subject');

/** @import { CallsReport } from './lib/calls-report' */
/** @import { Samples } from './lib/calls-summary' */
/** @import { OpenMode } from './lib/modes' */

const HELP = `Usage: npm run bench -- calls [options]

What a call costs in each mode: its latency back to back and after ${IDLE_MS} ms of rest, calls a second
with ${IN_FLIGHT} in flight, and CPU time per message. Modes take turns, call by call and round by round,
and each figure is the median of the rounds.

  --modes LIST  What is measured, with commas between. Default: all of
${Object.entries(MODES)
  .map(([name, { text }]) => `                  ${name.padEnd(8)}${text}`)
  .join('\n')}
                ${BASELINE} is always among them.
  --seconds S   About how long to measure, all in all. Default 120.
  --rounds N    Default 7.
  --json        Print the result as JSON in the last line.
  --help        Print this text.

Goals are told, not enforced: the exit status is 0 if everything could be measured.
MEDIASOUP_HORIZONTAL_WORKER_BIN names another mediasoup-worker than the installed one.
`;

/** The command line is wrong. */
const USAGE = 2;
const PHASES = 3;
const WARM_UP_MS = 40;
const CLOSE_MS = 15_000;

/**
 * @typedef {object} Options
 * @property {string[]} modes
 * @property {number} seconds
 * @property {number} rounds
 * @property {boolean} json
 */

/**
 * @param {Options} options
 * @param {AbortSignal} signal
 * @returns {Promise<CallsReport>}
 */
async function run({ modes: names, seconds, rounds }, signal) {
  const machine = describeMachine();
  const phaseMs = (seconds * 1_000) / (rounds * names.length * CALLS.length * PHASES);
  /** @type {Record<string, OpenMode>} */
  const modes = {};
  /** @type {Samples | undefined} */
  let samples;

  try {
    for (const name of names) {
      modes[name] = await openMode(name, signal);
    }

    progress('warming up');
    await measure(modes, { rounds: 1, ms: WARM_UP_MS, signal });
    samples = await measure(modes, { rounds, ms: phaseMs, signal, onRound: progress });
  } finally {
    await closeAll(() => closeModes(modes));
  }

  const results = summarize(samples);
  const goals = judge(samples, results);

  return { bench: 'calls', machine, rounds, seconds, phaseMs, results, goals };
}

/**
 * @param {Record<string, OpenMode>} modes
 * @param {object} options
 * @param {number} options.rounds
 * @param {number} options.ms Length of a phase.
 * @param {AbortSignal} options.signal
 * @param {(text: string) => void} [options.onRound]
 * @returns {Promise<Samples>}
 */
async function measure(modes, { rounds, ms, signal, onRound }) {
  const names = Object.keys(modes);
  /** @type {Samples} */
  const samples = {};

  for (const name of names) {
    samples[name] = noSamples();
  }

  for (let round = 0; round < rounds; round++) {
    onRound?.(`round ${round + 1} of ${rounds}`);

    for (const [index, call] of CALLS.entries()) {
      // Each mode follows each other one about as often.
      for (const name of rotate(names, round + index)) {
        const mode = /** @type {OpenMode} */ (modes[name]);

        samples[name]?.[call].push(await takeSample(mode, call, { ms, signal }));
      }
    }
  }

  return samples;
}

/** @returns {Samples[string]} */
function noSamples() {
  return /** @type {any} */ (Object.fromEntries(CALLS.map((call) => [call, []])));
}

/**
 * @param {Record<string, OpenMode>} modes
 * @returns {Promise<void>}
 */
async function closeModes(modes) {
  const results = await Promise.allSettled(
    Object.entries(modes).map(async ([name, mode]) => {
      await within(mode.close(), { ms: CLOSE_MS, what: `closing mode ${name}` });
    }),
  );

  for (const result of results) {
    if (result.status === 'rejected') {
      throw result.reason;
    }
  }
}

/**
 * @template T
 * @param {T[]} list
 * @param {number} by
 * @returns {T[]}
 */
function rotate(list, by) {
  const start = by % list.length;

  return [...list.slice(start), ...list.slice(0, start)];
}

/** @param {string} text */
function progress(text) {
  console.error(`calls: ${text}`);
}

/**
 * @param {string[]} args
 * @returns {Options | undefined} Undefined: help was asked for.
 */
function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      modes: { type: 'string', default: Object.keys(MODES).join(',') },
      seconds: { type: 'string', default: '120' },
      rounds: { type: 'string', default: '7' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    return undefined;
  }

  const modes = [...new Set([BASELINE, ...values.modes.split(',')])];
  const unknown = modes.find((mode) => !Object.hasOwn(MODES, mode));
  const seconds = Number(values.seconds);
  const rounds = Number(values.rounds);

  if (unknown !== undefined) {
    throw new Error(`there is no mode ${unknown}`);
  }
  if (!(seconds > 0 && seconds <= 3_600)) {
    throw new Error(`--seconds wants a number up to 3600, not ${values.seconds}`);
  }
  if (!(Number.isInteger(rounds) && rounds > 0 && rounds <= 1_000)) {
    throw new Error(`--rounds wants a whole number from 1 to 1000, not ${values.rounds}`);
  }

  return { modes, seconds, rounds, json: values.json };
}

/**
 * @param {string[]} args
 * @returns {Promise<number>} Exit status.
 */
async function main(args) {
  let options;

  try {
    options = readOptions(args);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${HELP}`);

    return USAGE;
  }
  if (!options) {
    process.stdout.write(HELP);

    return 0;
  }

  const signal = stopSignal();

  // What finds a worker must find the same one in every mode.
  delete process.env.MEDIASOUP_WORKER_BIN;

  const report = await run(options, signal);
  console.log(options.json ? JSON.stringify(report) : toText(report));

  return report.goals.some(({ measured }) => measured === null) ? 1 : 0;
}

module.exports = { main };
