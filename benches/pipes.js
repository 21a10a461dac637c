'use strict';

const path = require('node:path');
const { AgentProcess } = require('../examples/lib/agent-process');
const { parseCommand } = require('../examples/lib/command-line');
const { pause, within } = require('../examples/lib/deadline');
const { closeAll } = require('./lib/leftovers');
const { DelayedLink } = require('./lib/link/delayed-link');
const { countRoundTrips } = require('./lib/link/round-trips');
const { SteppedLink } = require('./lib/link/stepped-link');
const { describeMachine, round } = require('./lib/machine');
const { AGENTS, PipeWorld, SCENARIOS, STEP_TEXTS } = require('./lib/pipe-scenarios');
const { median } = require('./lib/statistics');
const { stopSignal } = require('./lib/stop-signal');

/** @import { Scenario, StepName } from './lib/pipe-scenarios' */

const HELP = `Usage: npm run bench -- pipes [options]

What it takes until a Consumer on another host is there, and until it hears that its Producer is
paused: round trips, counted at the links to three agents with all answers kept back until nothing
is left to ask, and milliseconds over links of some length. Beside ours, mediasoup's own
pipeToRouter() over the same links.

  --delay MS   Length of the links, each way. Default 50.
  --rounds N   How often times are taken. Default 5.
  --json       Print the result as JSON in the last line.
  --help       Print this text.
`;

const CLI = path.join(__dirname, '..', 'js', 'cli.js');
const STEP_MS = 30_000;
const STEPS = /** @type {StepName[]} */ (Object.keys(STEP_TEXTS));

/**
 * @typedef {object} StepResult
 * @property {string} scenario
 * @property {StepName} step
 * @property {number} roundTrips Counted.
 * @property {string[][]} requests Of each of them.
 * @property {number} ms Median.
 * @property {number[]} allMs
 */

/**
 * @param {{ delay: number, rounds: number }} options
 * @param {AbortSignal} signal
 */
async function run({ delay, rounds }, signal) {
  const machine = describeMachine();
  /** @type {AgentProcess[]} */
  const agents = [];
  /** @type {StepResult[]} */
  const results = [];

  try {
    for (let i = 0; i < AGENTS; i++) {
      agents.push(new AgentProcess(CLI));
    }
    const urls = await Promise.all(agents.map(async (agent) => (await agent.ready(signal)).url));

    for (const scenario of SCENARIOS) {
      progress(scenario.text);
      const requests = await count(scenario, urls, signal);
      const times = await time(scenario, urls, { delay, rounds, signal });

      results.push(
        ...STEPS.map((step) => ({
          scenario: scenario.name,
          step,
          roundTrips: requests[step].length,
          requests: requests[step],
          ms: round(median(times[step]), 1),
          allMs: times[step].map((ms) => round(ms, 1)),
        })),
      );
    }
  } finally {
    await closeAll(async () => {
      await Promise.all(agents.map((agent) => agent.stop()));
    });
  }

  return { bench: 'pipes', machine, delayMs: delay, rounds, results };
}

/**
 * @param {Scenario} scenario
 * @param {string[]} urls
 * @param {AbortSignal} signal
 * @returns {Promise<Record<StepName, string[][]>>}
 */
async function count(scenario, urls, signal) {
  const links = await Promise.all(urls.map((url) => SteppedLink.open(url)));

  return withWorld(scenario, links, async (world) => {
    const { fences } = world;
    /** @type {Record<StepName, string[][]>} */
    const requests = { newPair: [], samePair: [], pause: [] };

    for (const [step, run] of entries(await world.steps())) {
      signal.throwIfAborted();
      requests[step] = await countRoundTrips({ links, fences, run });
    }

    return requests;
  });
}

/**
 * @param {Scenario} scenario
 * @param {string[]} urls
 * @param {{ delay: number, rounds: number, signal: AbortSignal }} options
 * @returns {Promise<Record<StepName, number[]>>}
 */
async function time(scenario, urls, { delay, rounds, signal }) {
  const links = await Promise.all(urls.map((url) => DelayedLink.open(url, delay)));

  return withWorld(scenario, links, async (world) => {
    /** @type {Record<StepName, number[]>} */
    const times = { newPair: [], samePair: [], pause: [] };

    for (let i = 0; i < rounds; i++) {
      for (const [step, run] of entries(await world.steps())) {
        // What the core still does on its own account from the step before.
        await pause(4 * delay, signal);

        const start = performance.now();

        await within(run(), { ms: STEP_MS, what: `${scenario.name}: ${step}`, signal });
        times[step].push(performance.now() - start);
      }
    }

    return times;
  });
}

/**
 * @template T
 * @param {Scenario} scenario
 * @param {{ url: string, close(): void }[]} links
 * @param {(world: PipeWorld) => Promise<T>} use
 * @returns {Promise<T>}
 */
async function withWorld(scenario, links, use) {
  /** @type {PipeWorld | undefined} */
  let world;

  try {
    world = await PipeWorld.open(
      scenario,
      links.map(({ url }) => url),
    );

    return await use(world);
  } finally {
    world?.close();
    for (const link of links) {
      link.close();
    }
  }
}

/**
 * @param {import('./lib/pipe-scenarios').Steps} steps
 * @returns {[StepName, () => Promise<unknown>][]}
 */
function entries(steps) {
  return STEPS.map((step) => [step, steps[step]]);
}

/**
 * @param {Awaited<ReturnType<typeof run>>} report
 * @returns {string}
 */
function toText({ delayMs, rounds, results }) {
  const lines = [
    `Round trips counted in lock-step; times over links of ${delayMs} ms each way, medians of ${rounds}.`,
  ];

  for (const step of STEPS) {
    lines.push('', STEP_TEXTS[step]);
    for (const { name, text } of SCENARIOS) {
      const result = results.find((one) => one.scenario === name && one.step === step);
      const trips = String(result?.roundTrips).padStart(2);
      const ms = String(result?.ms).padStart(8);

      lines.push(`  ${text.padEnd(54)}${trips} round trips ${ms} ms`);
    }
  }

  return lines.join('\n');
}

/** @param {string} text */
function progress(text) {
  console.error(`pipes: ${text}`);
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
        delay: { default: 50, min: 0, max: 1_000 },
        rounds: { default: 5, min: 1, max: 1_000, integer: true },
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
