'use strict';

/**
 * Judges and prints what a room reports.
 *
 * @typedef {object} ProducerReport
 * @property {string} agent
 * @property {string} kind
 * @property {number} packets Sent.
 * @property {number} bytes Sent, RTP headers included.
 * @property {number} keyFrames
 * @property {number} keyFrameRequests
 *
 * @typedef {object} ConsumerReport
 * @property {string} agent
 * @property {string} producerAgent
 * @property {string} kind
 * @property {number} packets Received.
 * @property {number} lost By sequence number.
 * @property {number} duplicates
 * @property {number} bytes Received, RTP headers included.
 * @property {number} keyFrames
 * @property {number} sent What the producer sent since this Consumer was resumed.
 * @property {{ p50: number | null, p95: number | null }} delayMs From sender to receiver.
 *
 * @typedef {{ producers: ProducerReport[], consumers: ConsumerReport[] }} RoomReport
 */

/** Part of what was sent since a Consumer was resumed that has to arrive. */
const MIN_RATIO = 0.9;

/**
 * @param {RoomReport} report
 * @returns {string[]} What is wrong, in sentences. Empty if all is well.
 */
function findProblems({ producers, consumers }) {
  const problems = [];

  if (producers.length === 0 || producers.some(({ packets }) => packets === 0)) {
    problems.push('A Producer was sent no packets.');
  }

  if (consumers.length === 0) {
    problems.push('There is no Consumer.');
  }

  for (const consumer of consumers) {
    problems.push(...findConsumerProblems(consumer));
  }

  return problems;
}

/**
 * @param {ConsumerReport} consumer
 * @returns {string[]}
 */
function findConsumerProblems({ agent, kind, packets, lost, duplicates, keyFrames, sent }) {
  const name = `The ${kind} Consumer on ${agent}`;

  if (packets === 0) {
    return [`${name} got no packets.`];
  }

  const problems = [];

  if (lost > 0) {
    problems.push(`${name} lost ${lost} packets.`);
  }

  if (duplicates > 0) {
    problems.push(`${name} got ${duplicates} packets twice.`);
  }

  if (kind === 'video' && keyFrames === 0) {
    problems.push(`${name} got no key frame.`);
  }

  if (packets < sent * MIN_RATIO) {
    problems.push(`${name} got ${packets} packets of the ${sent} sent since it was resumed.`);
  }

  return problems;
}

/**
 * @param {RoomReport} report
 * @param {string[]} problems
 * @param {(text: string) => void} log
 */
function printReport({ producers, consumers }, problems, log) {
  log('');
  log(
    formatTable([
      ['Producer', 'on', 'packets', 'bytes', 'key frames'],
      ...producers.map((producer) => [
        producer.kind,
        producer.agent,
        `${producer.packets}`,
        `${producer.bytes}`,
        producer.kind === 'video' ? `${producer.keyFrames}` : '',
      ]),
    ]),
  );
  log('');
  log(
    formatTable([
      ['Consumer', 'on', 'packets', 'bytes', 'key frames', 'sent', 'lost', 'delay p50', 'p95'],
      ...consumers.map((consumer) => [
        consumer.kind,
        consumer.agent,
        `${consumer.packets}`,
        `${consumer.bytes}`,
        consumer.kind === 'video' ? `${consumer.keyFrames}` : '',
        `${consumer.sent}`,
        `${consumer.lost}`,
        formatDelay(consumer.delayMs.p50),
        formatDelay(consumer.delayMs.p95),
      ]),
    ]),
  );
  log('');

  for (const problem of problems) {
    log(`Problem: ${problem}`);
  }

  log(problems.length === 0 ? 'All that was sent has arrived.' : 'Not all is well.');
}

/**
 * @param {number | null} delay
 * @returns {string}
 */
function formatDelay(delay) {
  return delay === null ? '-' : `${delay.toFixed(2)} ms`;
}

/**
 * @param {string[][]} rows The first one is the heading.
 * @returns {string}
 */
function formatTable(rows) {
  const widths = (rows[0] ?? []).map((_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? '').length)),
  );
  const lines = rows.map((row) =>
    row
      // Names are read from the left, figures from the right.
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );

  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));

  return lines.map((line) => `  ${line}`).join('\n');
}

module.exports = { findProblems, formatTable, printReport };
