'use strict';

const { IDLE_MS, IN_FLIGHT } = require('./phases');
const { MODES } = require('./modes');
const { CALLS } = require('./subject');

/** @import { Goal, Result } from './calls-summary' */
/** @import { describeMachine } from './machine' */

/**
 * @typedef {object} CallsReport
 * @property {'calls'} bench
 * @property {ReturnType<typeof describeMachine>} machine
 * @property {number} rounds
 * @property {number} seconds
 * @property {number} phaseMs
 * @property {Result[]} results
 * @property {Goal[]} goals
 */

/** @type {[title: string, width: number, value: (result: Result) => string][]} */
const COLUMNS = [
  ['p50', 8, ({ p50us }) => p50us.toFixed(1)],
  ['diff', 8, ({ diffP50us }) => signed(diffP50us, 1)],
  ['ratio', 7, ({ ratioP50 }) => `x${ratioP50.toFixed(2)}`],
  ['p99', 9, ({ p99us }) => p99us.toFixed(1)],
  ['idle p50', 10, ({ idleP50us }) => idleP50us.toFixed(1)],
  ['diff', 8, ({ diffIdleP50us }) => signed(diffIdleP50us, 1)],
  ['ratio', 7, ({ ratioIdleP50 }) => `x${ratioIdleP50.toFixed(2)}`],
  [`/s x${IN_FLIGHT}`, 9, ({ perSecond64 }) => String(perSecond64)],
  ['ratio', 7, ({ ratioPerSecond64 }) => `x${ratioPerSecond64.toFixed(2)}`],
  ['CPU app', 9, ({ cpuPerMessage }) => cpuPerMessage.appUs.toFixed(2)],
  ['diff', 7, ({ cpuPerMessage }) => signed(cpuPerMessage.appDiffUs, 2)],
  ['thread', 8, ({ cpuPerMessage }) => cpuPerMessage.coreThreadUs?.toFixed(2) ?? '-'],
  ['other', 7, ({ cpuPerMessage }) => cpuPerMessage.otherUs?.toFixed(2) ?? '-'],
];

/**
 * @param {CallsReport} report
 * @returns {string}
 */
function toText({ machine, rounds, phaseMs, results, goals }) {
  const { cores, cpu, node, platform, kernel, load1, nativeBuild } = machine;
  const modes = Object.entries(MODES).filter(([name]) => results.some(({ mode }) => mode === name));

  return [
    `${cores} cores (${cpu}), load ${load1} at the start, ${platform} ${kernel}, Node.js ${node}, ` +
      `native parts: ${nativeBuild} build.`,
    `Medians of ${rounds} rounds, ${Math.round(phaseMs)} ms a phase. diff and ratio: to plain in ` +
      'the same round.',
    `p50, p99: back to back; idle p50: after ${IDLE_MS} ms of rest; all in us. /s x${IN_FLIGHT}: ` +
      `calls a second with ${IN_FLIGHT} in flight.`,
    "CPU: us a message then, user and system. app: the app's process; thread: of it, the core's " +
      "thread; other: the agent's or the rival's process.",
    '',
    ...modes.map(([name, { text }]) => `  ${name.padEnd(7)}${text}`),
    ...CALLS.flatMap((call) => [
      '',
      `${call}()`,
      row(
        '',
        COLUMNS.map(([title]) => title),
      ),
      ...results
        .filter((result) => result.call === call)
        .map((result) =>
          row(
            result.mode,
            COLUMNS.map(([, , value]) => value(result)),
          ),
        ),
    ]),
    '',
    'Goals',
    ...goals.map(toLine),
  ].join('\n');
}

/**
 * @param {string} name
 * @param {string[]} cells
 * @returns {string}
 */
function row(name, cells) {
  return `  ${name.padEnd(6)}${cells.map((cell, i) => cell.padStart(COLUMNS[i]?.[1] ?? 0)).join('')}`;
}

/** @param {Goal} goal */
function toLine({ name, unit, measured, goal, ok }) {
  const value = measured === null ? 'not measured' : `${measured} ${unit}`;

  return `  ${ok ? 'ok    ' : 'missed'}  ${name}: ${value}, goal ${goal} ${unit}`;
}

/**
 * @param {number} value
 * @param {number} digits
 */
function signed(value, digits) {
  return `${value > 0 ? '+' : ''}${value.toFixed(digits)}`;
}

module.exports = { toText };
