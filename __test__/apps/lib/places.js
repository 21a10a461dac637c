'use strict';

const { randomBytes } = require('node:crypto');
const mediasoup = require('mediasoup-upstream');
const { installedWorker } = require('../../../js/worker-binary/paths');
const { TestAgent } = require('../../support/agent');

/**
 * Where an app's media is.
 *
 * @typedef {object} Place
 * @property {'mediasoup' | 'mediasoup-horizontal'} package What is installed as `mediasoup`.
 * @property {NodeJS.ProcessEnv} env
 * @property {TestAgent[]} agents
 */

/** A real worker, as set-up found or built it. */
const WORKER_BIN =
  process.env.MEDIASOUP_HORIZONTAL_WORKER_BIN ?? installedWorker(mediasoup.version);

/** @returns {Promise<Place>} */
async function plain() {
  return { package: 'mediasoup', env: { MEDIASOUP_WORKER_BIN: WORKER_BIN }, agents: [] };
}

/** @returns {Promise<Place>} */
async function thisHost() {
  return { package: 'mediasoup-horizontal', env: {}, agents: [] };
}

/**
 * @param {number} count
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<Place>}
 */
async function onAgents(count, env = {}) {
  const token = randomBytes(24).toString('hex');
  const args = ['--max-workers', '16'];
  const agents = await Promise.all(
    Array.from({ length: count }, () => TestAgent.start({ token, args })),
  );

  return {
    package: 'mediasoup-horizontal',
    env: {
      MEDIASOUP_HORIZONTAL_AGENTS: agents.map(({ url }) => url).join(','),
      MEDIASOUP_HORIZONTAL_TOKEN: token,
      ...env,
    },
    agents,
  };
}

/** All but plain mediasoup. @type {[string, () => Promise<Place>][]} */
const OURS = [
  ['this host', thisHost],
  ['one agent', () => onAgents(1)],
  ['a fleet of three agents', () => onAgents(3)],
  [
    'a fleet over which each Router is scattered',
    () => onAgents(3, { MEDIASOUP_HORIZONTAL_PLACEMENT: 'scatter' }),
  ],
];

module.exports = { OURS, onAgents, plain };
