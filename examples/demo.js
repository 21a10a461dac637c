'use strict';

/**
 * The demo: agents as processes of their own, an ordinary mediasoup app on top of them, and real
 * media from one agent to the others.
 *
 *   npm run demo -- --seconds 8 --agents 2     the app of `room.js`: a Worker on each agent
 *   npm run demo -- --room 30                  the app of `conference.js`: one Router on all agents
 */

const { runConference } = require('./conference');
const { parseCommand } = require('./lib/command-line');
const { Screen, findConferenceProblems } = require('./lib/conference-table');
const { findProblems, printReport } = require('./lib/report');
const { Stage } = require('./lib/stage');
const { runRoom } = require('./room');

/**
 * @typedef {import('./lib/report').RoomReport} RoomReport
 * @typedef {import('./lib/stage').Agent} Agent
 *
 * @typedef {object} Outcome
 * @property {Record<string, unknown>} report
 * @property {string[]} problems
 * @property {() => void} print
 */

const HELP = `Usage: npm run demo -- [options]

Starts agents as processes of their own, then an ordinary mediasoup app that produces a clip on one
of them, pipes it to the others and consumes it there. Says what arrived.

  --seconds S  How long to play. Default 8.
  --agents N   How many agents. Default 2, with --room 3.
  --room N     Instead, a room of N people in one Router, spread over all agents: shows who is
               where and what goes from agent to agent.
  --json       Print the result as JSON in the last line.
  --help       Print this text.

The exit status is 0 if all that was sent arrived and everything was closed in order.
`;

const ROOM_AGENTS = 3;
/** Where nobody watches, fewer tables do. */
const REFRESH_MS = process.stdout.isTTY ? 1_000 : 4_000;

const startedAt = performance.now();

/** @param {string} text */
function log(text) {
  const elapsed = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(5);

  console.log(text === '' ? '' : text.replace(/^(?! )/, `${elapsed} s  `));
}

/**
 * @param {Stage} stage
 * @param {Agent[]} agents
 * @param {{ seconds: number }} options
 * @returns {Promise<Outcome>}
 */
async function playClip(stage, agents, { seconds }) {
  const { Horizontal } = require('..');
  const horizontal = new Horizontal(agents.map(({ url }) => url));
  const report = await stage.play(horizontal, () =>
    runRoom({
      mediasoup: horizontal.mediasoup,
      workers: agents.length,
      seconds,
      log: (text) => {
        // The room tells each step, so whatever it starts is seen while it runs.
        stage.rememberProcesses();
        log(text);
      },
      whereIs: (worker) => horizontal.whereIs(worker)?.connection ?? 'gone',
      signal: stage.signal,
    }),
  );
  const problems = [...findProblems(report), ...findPlacementProblems(report, agents.length)];
  const { producers, consumers } = report;

  return {
    report: { producers, consumers },
    problems,
    print: () => printReport(report, problems, log),
  };
}

/**
 * The point of the demo is that media goes from agent to agent.
 *
 * @param {RoomReport} report
 * @param {number} agentCount
 * @returns {string[]}
 */
function findPlacementProblems({ producers, consumers }, agentCount) {
  const used = new Set([...producers, ...consumers].map(({ agent }) => agent));

  return used.size === agentCount
    ? []
    : [`The Workers are on ${used.size} of ${agentCount} agents.`];
}

/**
 * @param {Stage} stage
 * @param {Agent[]} agents
 * @param {{ seconds: number, room: number }} options
 * @returns {Promise<Outcome>}
 */
async function playRoom(stage, agents, { seconds, room }) {
  const { Horizontal } = require('..');
  const urls = agents.map(({ url }) => url);
  const screen = new Screen(process.stdout);
  // One transport after the other goes to the next agent.
  const horizontal = new Horizontal(urls, { placement: 'scatter', maxParts: agents.length });
  const report = await stage.play(horizontal, () =>
    runConference({
      mediasoup: horizontal.mediasoup,
      peers: room,
      seconds,
      refreshMs: REFRESH_MS,
      log: (text) => {
        stage.rememberProcesses();
        log(text);
      },
      show: (state) => screen.show(state, log),
      // The app knows no agents.
      stats: () => horizontal.stats({ objects: true, bitrates: true }),
      signal: stage.signal,
    }),
  );
  const problems = findConferenceProblems(report, urls);

  return {
    report: { room: report },
    problems,
    print: () => {
      for (const problem of problems) {
        log(`Problem: ${problem}`);
      }
      log(problems.length === 0 ? 'All that was sent has arrived.' : 'Not all is well.');
    },
  };
}

/**
 * @param {Stage} stage
 * @param {{ seconds: number, room: number }} options
 * @returns {Promise<Outcome>}
 */
async function run(stage, options) {
  try {
    const agents = await stage.open();
    const play = options.room > 0 ? playRoom : playClip;
    const outcome = await play(stage, agents, options);

    outcome.problems.push(...(await stage.close()));

    return outcome;
  } finally {
    stage.killAgents();
  }
}

async function main() {
  const { numbers, flags } = parseCommand({
    help: HELP,
    numbers: {
      seconds: { default: 8, min: 1 },
      agents: { default: 0, min: 1, max: 64, integer: true },
      room: { default: 0, min: 2, max: 500, integer: true },
    },
    flags: ['json'],
  });
  const { room, seconds } = numbers;
  const agents = numbers.agents || (room > 0 ? ROOM_AGENTS : 2);
  const stage = new Stage({ agents, log });
  /** @type {Record<string, unknown>} */
  let result = { agents, ...(room > 0 ? {} : { producers: [], consumers: [] }), ok: false };

  process.once('exit', () => stage.killAgents());

  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, () => stage.stop(new Error(`stopped by ${signal}`)));
  }

  try {
    const { report, problems, print } = await run(stage, { seconds, room });
    const ok = problems.length === 0;

    print();
    result = { agents, ...report, ok };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);

    console.error(`The demo failed: ${message}`);
    result.error = message;
  }

  process.exitCode = result.ok ? 0 : 1;

  if (flags.json) {
    console.log(JSON.stringify(result));
  }
}

void main();
