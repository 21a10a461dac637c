'use strict';

const { formatTable } = require('./report');

/**
 * Shows and judges what a conference says of itself.
 *
 * @typedef {import('../conference').ConferenceState} ConferenceState
 */

/** On a busy machine a packet may get lost. A stream that does not come is something else. */
const MAX_LOSS = 0.01;

/** Where tables go: on a terminal, each one over the one before. */
class Screen {
  #stream;
  #lines = 0;

  /** @param {import('node:tty').WriteStream} stream */
  constructor(stream) {
    this.#stream = stream;
  }

  /**
   * @param {ConferenceState} state
   * @param {(text: string) => void} log
   */
  show(state, log) {
    const text = formatState(state);

    if (this.#stream.isTTY && this.#lines > 0) {
      this.#stream.moveCursor(0, -this.#lines);
      this.#stream.clearScreenDown();
    }
    log(text);
    this.#lines = text.split('\n').length;
  }
}

/**
 * @param {ConferenceState} state
 * @returns {string}
 */
function formatState({ seconds, peers, pipes, transports }) {
  const agents = [...new Set(peers.map(({ agent }) => agent))].sort();
  const rows = agents.map((agent) => {
    const here = peers.filter((peer) => peer.agent === agent);
    /** @param {'producers' | 'consumers' | 'packets' | 'lost'} name */
    const sum = (name) => `${here.reduce((total, peer) => total + peer[name], 0)}`;
    const names = here.map(({ name }) => name).join(' ');

    return [
      agent,
      names,
      `${here.length}`,
      sum('producers'),
      sum('consumers'),
      sum('packets'),
      sum('lost'),
    ];
  });

  return [
    `After ${seconds.toFixed(0)} s, in one Router with ${transports} transports:`,
    '',
    formatTable([
      ['Agent', 'Peers', 'transports', 'Producers', 'Consumers', 'packets', 'lost'],
      ...rows,
    ]),
    '',
    formatTable([
      ['Pipe from', 'to', 'streams', 'kb/s'],
      ...pipes.map(({ from, to, streams, kbps }) => [from, to, `${streams}`, `${kbps}`]),
    ]),
    '',
  ].join('\n');
}

/**
 * @param {ConferenceState} state
 * @param {string[]} agents
 * @returns {string[]} What is wrong, in sentences. Empty if all is well.
 */
function findConferenceProblems({ peers, pipes, transports, silent }, agents) {
  const problems = [];
  const packets = peers.reduce((sum, peer) => sum + peer.packets, 0);
  const lost = peers.reduce((sum, peer) => sum + peer.lost, 0);
  const used = new Set(peers.map(({ agent }) => agent));

  if (silent > 0) {
    problems.push(`${silent} Consumers got nothing.`);
  }
  if (lost > (packets + lost) * MAX_LOSS) {
    problems.push(`${lost} of ${packets + lost} packets are lost.`);
  }
  if (transports !== peers.length) {
    problems.push(`The Router has ${transports} transports, not the ${peers.length} of the app.`);
  }

  const idle = agents.filter((agent) => !used.has(agent)).slice(0, peers.length);

  problems.push(...idle.map((agent) => `Nobody is on ${agent}.`));
  if (agents.length > 1 && pipes.every(({ kbps }) => kbps === 0)) {
    problems.push('Nothing goes from agent to agent.');
  }

  return problems;
}

module.exports = { Screen, findConferenceProblems, formatState };
