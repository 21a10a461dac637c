'use strict';

const os = require('node:os');
const mediasoup = require('mediasoup-upstream');
const { parseCommand } = require('../examples/lib/command-line');
const { LocalConnection } = require('../js/connections');
const { Horizontal } = require('../js/horizontal');
const { Crowd } = require('./lib/crowd');
const { closeAll } = require('./lib/leftovers');
const { describeMachine, round } = require('./lib/machine');
const { workerBin } = require('./lib/modes');
const { stopSignal } = require('./lib/stop-signal');

/** @import { CrowdMeasure } from './lib/crowd' */

const HELP = `Usage: npm run bench -- vertical [options]

How many Consumers of one Router this machine carries: four who speak, each with the clip's audio
and video, and listeners of one of them each. They become more and more until media is lost or
late, on mediasoup itself and on ours with all cores. One listener of ten is received and checked.
Senders and receivers run on this machine too and take their share of it.

  --seconds S      How long to measure each number of Consumers. Default 3.
  --start N        Consumers to begin with. Default 80.
  --max N          Consumers to end with, whatever is lost. Default 4000.
  --loss PERCENT   What may be lost. Default 1.
  --late MS        How late it may come, at the 95th percentile. Default 200.
  --json           Print the result as JSON in the last line.
  --help           Print this text.
`;

const GROWTH = 1.5;
/** A speaker is heard with audio and video. */
const PER_LISTENER = 2;

/**
 * @typedef {object} Subject
 * @property {string} name
 * @property {string} text
 * @property {() => Promise<{ worker: import('mediasoup-upstream/types').Worker, close(): void }>} open
 */

/** @type {Subject[]} */
const SUBJECTS = [
  {
    name: 'plain',
    text: 'mediasoup itself, one Router on one worker',
    open: async () => ({
      worker: await mediasoup.createWorker({ workerBin: workerBin() }),
      close: () => {},
    }),
  },
  {
    name: 'ours',
    text: 'ours, one Router on a worker for each core',
    open: async () => {
      const horizontal = new Horizontal([new LocalConnection()], {
        placement: 'scatter',
        maxParts: os.availableParallelism(),
      });

      return { worker: await horizontal.mediasoup.createWorker(), close: () => horizontal.close() };
    },
  },
];

/**
 * @typedef {object} Options
 * @property {number} seconds
 * @property {number} start
 * @property {number} max
 * @property {number} loss In percent.
 * @property {number} late In milliseconds.
 */

/**
 * @param {Options} options
 * @param {AbortSignal} signal
 */
async function run(options, signal) {
  const machine = describeMachine();
  const results = [];

  for (const subject of SUBJECTS) {
    const steps = await measure(subject, options, signal);
    const carried = steps.filter((step) => isCarried(step, options));

    results.push({
      subject: subject.name,
      consumers: Math.max(0, ...carried.map(({ consumers }) => consumers)),
      steps,
    });
  }

  const [plain, ours] = results.map(({ consumers }) => consumers);

  return {
    bench: 'vertical',
    machine,
    ...options,
    results,
    ratio: plain && ours ? round(ours / plain, 2) : null,
  };
}

/**
 * @param {Subject} subject
 * @param {Options} options
 * @param {AbortSignal} signal
 * @returns {Promise<CrowdMeasure[]>}
 */
async function measure({ text, open }, options, signal) {
  const { seconds, start, max } = options;
  const { worker, close } = await open();
  /** @type {Crowd | undefined} */
  let crowd;
  /** @type {CrowdMeasure[]} */
  const steps = [];

  try {
    crowd = await Crowd.open(worker);
    for (let goal = start; goal <= max; goal = Math.ceil(goal * GROWTH)) {
      await crowd.grow(Math.ceil((goal - crowd.consumers) / PER_LISTENER));

      let step = await crowd.measure(seconds * 1_000, signal);

      if (!isCarried(step, options)) {
        // A machine has its moments. What it carries, it carries at the second try.
        step = await crowd.measure(seconds * 1_000, signal);
      }
      steps.push(step);
      progress(`${text}: ${describe(step)}`);
      if (!isCarried(step, options)) {
        break;
      }
    }
  } finally {
    await closeAll(async () => {
      worker.close();
      await crowd?.close();
      close();
    });
  }

  return steps;
}

/**
 * @param {CrowdMeasure} step
 * @param {Options} options
 * @returns {boolean}
 */
function isCarried({ loss, delayP95Ms }, options) {
  return loss <= options.loss && delayP95Ms <= options.late;
}

/** @param {CrowdMeasure} step */
function describe({ consumers, loss, delayP95Ms, cpuPercent }) {
  const cpu = cpuPercent.map((percent) => `${percent} %`).join(' and ');

  return `${consumers} Consumers, ${loss} % lost, p95 ${delayP95Ms} ms, CPU of workers ${cpu}`;
}

/**
 * @param {Awaited<ReturnType<typeof run>>} report
 * @returns {string}
 */
function toText({ machine, loss, late, results, ratio }) {
  const lines = [`${machine.cores} cores (${machine.cpu}), load ${machine.load1} at the start.`];

  for (const { subject, consumers, steps } of results) {
    lines.push('', SUBJECTS.find(({ name }) => name === subject)?.text ?? '');
    lines.push(...steps.map((step) => `  ${describe(step)}`));
    lines.push(
      `  carried (at most ${loss} % lost, p95 at most ${late} ms): ${consumers} Consumers`,
    );
  }
  lines.push('', `ours to mediasoup itself: ${ratio === null ? '-' : `x${ratio}`}`);

  return lines.join('\n');
}

/** @param {string} text */
function progress(text) {
  console.error(`vertical: ${text}`);
}

/**
 * @param {string[]} args
 * @returns {Promise<number>} Exit status.
 */
async function main(args) {
  const { numbers, flags } = parseCommand(
    {
      help: HELP,
      numbers: {
        seconds: { default: 3, min: 0.5, max: 600 },
        start: { default: 80, min: PER_LISTENER, integer: true },
        max: { default: 4_000, min: PER_LISTENER, integer: true },
        loss: { default: 1, min: 0, max: 100 },
        late: { default: 200, min: 1 },
      },
      flags: ['json'],
    },
    args,
  );
  const report = await run(numbers, stopSignal());

  console.log(toText(report));
  if (flags.json) {
    console.log(JSON.stringify(report));
  }

  return 0;
}

module.exports = { main };
