'use strict';

const { setMaxListeners } = require('node:events');
const { Leftovers } = require('../conformance/leftovers');
const { parseCommand } = require('../examples/lib/command-line');
const { startAgent, stopAgents } = require('./lib/failover/agents');
const { killAgent } = require('./lib/failover/killed-agent');
const { killApp } = require('./lib/failover/killed-app');
const { killPart } = require('./lib/failover/killed-part');
const { loseHost } = require('./lib/failover/vanished-host');
const { describeMachine } = require('./lib/machine');
const { median } = require('./lib/statistics');
const { stopSignal } = require('./lib/stop-signal');

const HELP = `Usage: npm run bench -- failover [options]

How soon the loss of an agent, of its host and of an app is noticed, in milliseconds, and whether that
is within the bounds. Of an app, nothing is left on its agents: no process, port, file or descriptor.

  --rounds N           How often each is tried. Default 5.
  --session-timeout S  How long the app and agents wait for each other. Default 30.
  --json               Print the result as JSON in the last line.
  --help               Print this text.

Bounds are told, not enforced: the exit status is 0 if everything could be measured.
`;

const AGENT_DIED_MS = 1_000;
const DISCONNECTED_MS = 5_000;
/** From the session timeout on: until silence is a loss, and until hanging workers are killed. */
const GRACE_MS = 5_000;
const TEXT_LENGTH = 52;

/**
 * @typedef {object} Result
 * @property {string} what
 * @property {number} medianMs
 * @property {number} shortestMs
 * @property {number} longestMs
 * @property {number[]} allMs
 * @property {[number, number]} boundsMs The least and the most that it should take.
 * @property {boolean} ok Whether each time did.
 */

/**
 * @param {{ rounds: number, sessionTimeoutMs: number }} options
 * @param {AbortSignal} signal
 */
async function run({ rounds, sessionTimeoutMs }, signal) {
  const machine = describeMachine();
  const leftovers = new Leftovers();
  const late = sessionTimeoutMs + GRACE_MS;

  try {
    progress('agents are killed');
    const killed = [];
    const parts = [];

    for (let i = 0; i < rounds; i++) {
      killed.push(await killAgent(signal));
      parts.push(await killPart(signal));
    }
    progress(`hosts vanish, for ${sessionTimeoutMs / 1_000} s and more`);
    const lost = await loseHosts(rounds, sessionTimeoutMs, signal);
    const disconnected = lost.map(({ disconnectedMs }) => disconnectedMs);
    const died = lost.map(({ diedMs }) => diedMs);

    progress(`apps are killed, and missed for ${sessionTimeoutMs / 1_000} s`);
    const freed = await all(rounds, () => killApp(sessionTimeoutMs, signal));
    const results = [
      summarize('an agent is killed: died', killed, [0, AGENT_DIED_MS]),
      summarize('an agent with a part is killed: its transport closed', parts, [0, AGENT_DIED_MS]),
      summarize('a host vanishes: disconnected', disconnected, [0, DISCONNECTED_MS]),
      summarize('a host vanishes: died', died, [sessionTimeoutMs, late]),
      summarize('an app is killed: nothing left on its agents', freed, [sessionTimeoutMs, late]),
    ];

    return { bench: 'failover', machine, rounds, sessionTimeoutMs, results };
  } finally {
    for (const line of await leftovers.end()) {
      console.error(`error: ${line}`);
      process.exitCode = 1;
    }
  }
}

/**
 * @param {number} count
 * @param {number} sessionTimeoutMs
 * @param {AbortSignal} signal
 */
async function loseHosts(count, sessionTimeoutMs, signal) {
  const agents = Array.from({ length: count }, () => startAgent());

  try {
    const ready = await Promise.all(agents.map((agent) => agent.ready(signal)));

    return await all(count, (i) => loseHost(ready[i]?.url ?? '', sessionTimeoutMs, signal));
  } finally {
    await stopAgents(agents);
  }
}

/**
 * Does something several times at once, and waits for all of them even if one fails.
 *
 * @template T
 * @param {number} count
 * @param {(index: number) => Promise<T>} use
 * @returns {Promise<T[]>}
 */
async function all(count, use) {
  const results = await Promise.allSettled(Array.from({ length: count }, (_, i) => use(i)));

  return results.map((result) => {
    if (result.status === 'rejected') {
      throw result.reason;
    }

    return result.value;
  });
}

/**
 * @param {string} what
 * @param {number[]} times
 * @param {[number, number]} boundsMs
 * @returns {Result}
 */
function summarize(what, times, boundsMs) {
  const [least, most] = boundsMs;

  return {
    what,
    medianMs: Math.round(median(times)),
    shortestMs: Math.round(Math.min(...times)),
    longestMs: Math.round(Math.max(...times)),
    allMs: times.map(Math.round),
    boundsMs,
    ok: times.every((ms) => ms >= least && ms < most),
  };
}

/**
 * @param {Awaited<ReturnType<typeof run>>} report
 * @returns {string}
 */
function toText({ rounds, results }) {
  const lines = results.map(({ what, medianMs, shortestMs, longestMs, boundsMs, ok }) => {
    const times = [medianMs, shortestMs, longestMs].map((ms) => String(ms).padStart(8)).join('');
    const bounds = boundsMs[0] ? `${boundsMs[0]} to ${boundsMs[1]} ms` : `< ${boundsMs[1]} ms`;

    return `${what.padEnd(TEXT_LENGTH)}${times}   ${ok ? 'ok' : 'NOT OK'}: ${bounds}`;
  });

  return [
    `Milliseconds, of ${rounds} rounds:`,
    `${''.padEnd(TEXT_LENGTH)}  median shortest longest`,
    ...lines,
  ].join('\n');
}

/** @param {string} text */
function progress(text) {
  console.error(`failover: ${text}`);
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
        rounds: { default: 5, min: 1, max: 20, integer: true },
        'session-timeout': { default: 30, min: 5, max: 3_600, integer: true },
      },
      flags: ['json'],
    },
    args,
  );
  const { rounds, 'session-timeout': seconds } = numbers;
  const signal = stopSignal();

  // All rounds wait with it.
  setMaxListeners(0, signal);
  const report = await run({ rounds, sessionTimeoutMs: seconds * 1_000 }, signal);

  console.log(toText(report));
  if (flags.json) {
    console.log(JSON.stringify(report));
  }

  return 0;
}

module.exports = { main };
