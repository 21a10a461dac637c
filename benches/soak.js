'use strict';

const { parseCommand } = require('../examples/lib/command-line');
const { pause } = require('../examples/lib/deadline');
const { closeAll } = require('./lib/leftovers');
const { describeMachine, round } = require('./lib/machine');
const { Cutter } = require('./lib/soak/cutter');
const { Fleet } = require('./lib/soak/fleet');
const { Load, RATES } = require('./lib/soak/load');
const { isOverloaded, warmUp } = require('./lib/soak/warm-up');
const { stopSignal } = require('./lib/stop-signal');

const HELP = `Usage: npm run soak -- [options]

Three agents, and every few seconds a cut of each link to them, of 0.1 to 2.5 s: reset, held, or held
on one way only. Meanwhile an app makes ${RATES.calls} calls a second, sends ${RATES.messages} numbered messages a second
through a Router on each agent, each of which comes back as an event, and has media flow. Nothing may be
lost, doubled or reordered, no call may fail, no Worker may die. Rates are lowered, and told, where the
machine cannot carry them without cuts: at first, and whenever so much waits that no cut explains it.

  --seconds S  How long links are cut. Default 120.
  --scatter    Each Router is on all three agents, with pipes between them.
  --json       Print the result as JSON in the last line.
  --help       Print this text.

The exit status is 0 if nothing went wrong.
`;

const WARM_UP_MS = 3_000;
const PROGRESS_MS = 10_000;
const LOOK_MS = 2_000;

/** @typedef {Awaited<ReturnType<typeof run>>} SoakReport */

/**
 * @param {object} options
 * @param {number} options.seconds
 * @param {boolean} options.scatter
 * @param {AbortSignal} options.signal
 */
async function run({ seconds, scatter, signal }) {
  const machine = describeMachine();
  /** @type {Fleet | undefined} */
  let fleet;
  /** @type {Load | undefined} */
  let load;

  try {
    fleet = await Fleet.open({ scatter, signal });
    load = await Load.open(fleet.routers);
    const cutter = new Cutter(fleet.links);
    const shares = await cutFor({ seconds, fleet, load, cutter, signal });
    const share = shares.at(-1) ?? 0;

    await load.stop();
    const strays = await load.strays();
    const counts = load.counts;
    const deaths = [...fleet.deaths];
    const { calls, messages, rtp } = counts;
    const hasHappened = [cutter.count, calls.made, messages.sent, rtp.packets].every(Boolean);

    return {
      bench: 'soak',
      machine,
      seconds,
      scatter,
      ratesWanted: RATES,
      rates: { calls: RATES.calls * share, messages: RATES.messages * share },
      shares,
      cuts: { count: cutter.count, seconds: round(cutter.ms / 1_000, 1), kinds: cutter.counts },
      ...counts,
      strays,
      deaths,
      ok: hasHappened && countProblems(counts) === 0 && strays === 0 && deaths.length === 0,
    };
  } finally {
    load?.close();
    await closeAll(async () => fleet?.close());
  }
}

/**
 * Cuts links under load.
 *
 * @param {object} options
 * @param {number} options.seconds
 * @param {Fleet} options.fleet
 * @param {Load} options.load
 * @param {Cutter} options.cutter
 * @param {AbortSignal} options.signal
 * @returns {Promise<number[]>} The shares of the full rates, one after the other.
 */
async function cutFor({ seconds, fleet, load, cutter, signal }) {
  const shares = [];
  let left = seconds * 1_000;

  for (let from = 1; left >= 1; from = (shares.at(-1) ?? 1) / 2) {
    const share = await warmUp(load, { ms: WARM_UP_MS, from, progress, signal });

    shares.push(share);
    load.start(share);
    cutter.start();
    try {
      left = await watch({ ms: left, share, fleet, load, cutter, signal });
    } finally {
      cutter.stop();
    }
    if (left >= 1) {
      progress('more waits than any cut explains: this machine has become slower');
      await load.rest();
    }
  }

  return shares;
}

/**
 * @param {object} options
 * @param {number} options.ms
 * @param {number} options.share
 * @param {Fleet} options.fleet
 * @param {Load} options.load
 * @param {Cutter} options.cutter
 * @param {AbortSignal} options.signal
 * @returns {Promise<number>} How much of the time is left, if the rates are too high.
 */
async function watch({ ms, share, fleet, load, cutter, signal }) {
  const end = performance.now() + ms;
  let toldAt = performance.now();

  for (let left = ms; left >= 1; left = end - performance.now()) {
    await pause(Math.min(left, LOOK_MS), signal);
    const now = performance.now();

    if (now - toldAt >= PROGRESS_MS || now >= end) {
      toldAt = now;
      tell({ left: end - now, fleet, load, cutter });
    }
    if (isOverloaded(load, share)) {
      return Math.max(0, end - now);
    }
  }

  return 0;
}

/**
 * @param {object} options
 * @param {number} options.left
 * @param {Fleet} options.fleet
 * @param {Load} options.load
 * @param {Cutter} options.cutter
 */
function tell({ left, fleet, load, cutter }) {
  const { calls, messages, rtp } = load.counts;
  const { waiting } = load;
  const problems = countProblems({ calls, messages, rtp }) - messages.lost + fleet.deaths.length;

  progress(
    `${Math.max(0, Math.round(left / 1_000))} s left, ${cutter.count} cuts, ` +
      `${calls.made} calls, ${messages.arrived} messages, ${rtp.packets} packets; under way ` +
      `${waiting.calls} and ${waiting.messages}; ${problems} problems`,
  );
}

/** @param {Load['counts']} counts */
function countProblems({ calls, messages, rtp }) {
  return [
    calls.failed,
    ...[messages.lost, messages.doubled, messages.reordered, messages.refused, messages.broken],
    ...[rtp.lost, rtp.doubled, rtp.reordered, rtp.errors.length],
  ].reduce((total, count) => total + count, 0);
}

/**
 * @param {SoakReport} report
 * @returns {string}
 */
function toText({ seconds, rates, shares, cuts, calls, messages, rtp, strays, deaths, ok }) {
  return [
    `${rates.calls} calls and ${rates.messages} messages a second, lowered ${shares.length - 1} times ` +
      'on the way',
    `${cuts.count} cuts in ${seconds} s, ${cuts.seconds} s long together:`,
    ...Object.entries(cuts.kinds).map(([name, count]) => `  ${name}: ${count}`),
    `${calls.made} calls, ${calls.failed} failed, the longest ${calls.longestMs} ms`,
    ...calls.errors.map((error) => `  ${error}`),
    `${messages.sent} messages, ${messages.lost} lost, ${messages.doubled} doubled, ` +
      `${messages.reordered} reordered, ${messages.refused} refused, ${messages.broken} broken, the ` +
      `longest ${messages.longestMs} ms`,
    `${rtp.packets} RTP packets of ${rtp.streams} streams, ${rtp.lost} lost, ${rtp.doubled} doubled, ` +
      `${rtp.reordered} reordered`,
    ...rtp.errors.map((error) => `  ${error}`),
    `${strays ?? 'nobody knows how many'} transports too many or too few`,
    `${deaths.length} Workers died`,
    ...deaths.map((death) => `  ${death}`),
    ok ? 'nothing went wrong' : 'something went wrong',
  ].join('\n');
}

/** @param {string} text */
function progress(text) {
  console.error(`soak: ${text}`);
}

/**
 * @param {string[]} args
 * @returns {Promise<number>} Exit status.
 */
async function main(args) {
  const { numbers, flags } = parseCommand(
    {
      help: HELP,
      numbers: { seconds: { default: 120, min: 1, max: 86_400 } },
      flags: ['scatter', 'json'],
    },
    args,
  );
  const report = await run({ ...numbers, scatter: flags.scatter, signal: stopSignal() });

  console.log(toText(report));
  if (flags.json) {
    console.log(JSON.stringify(report));
  }

  return report.ok ? 0 : 1;
}

module.exports = { main };
