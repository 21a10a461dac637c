'use strict';

const path = require('node:path');
const { AgentProcess } = require('../../../examples/lib/agent-process');
const { listDescendants } = require('../../../examples/lib/process-tree');

const CLI = path.join(__dirname, '..', '..', '..', 'js', 'cli.js');

/**
 * @param {ConstructorParameters<typeof AgentProcess>[1]} [options]
 * @returns {AgentProcess} Started, but perhaps not ready yet.
 */
function startAgent(options) {
  return new AgentProcess(CLI, options);
}

/**
 * The agent itself. The command runs it as its child.
 *
 * @param {AgentProcess} agent
 * @returns {number}
 */
function nativePid(agent) {
  const [native] = listDescendants(agent.pid ?? 0);

  if (!native) {
    throw new Error(`there is no agent below process ${agent.pid}`);
  }

  return native.pid;
}

/** @param {AgentProcess[]} agents */
async function stopAgents(agents) {
  await Promise.all(agents.map((agent) => agent.stop()));
}

module.exports = { nativePid, startAgent, stopAgents };
