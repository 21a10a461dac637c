'use strict';

const { version } = require('mediasoup-upstream');
const { AgentProcess } = require('./agent-process');
const { RawWebSocket } = require('./raw-websocket');

/**
 * What a true agent says to a hello, for those that pretend to be one.
 *
 * @returns {Promise<{ welcome: Record<string, any>, schema: string }>} With the fingerprint of the
 * library's channel schema.
 */
async function trueWelcome() {
  const agent = await AgentProcess.start();
  const { url, fingerprint: schema } = await agent.ready();
  const socket = await RawWebSocket.connect(url);

  if (!(socket instanceof RawWebSocket)) {
    throw new Error(`not let in: ${JSON.stringify(socket)}`);
  }
  socket.sendText(
    JSON.stringify({
      type: 'hello',
      protocol: { min: 1, max: 1 },
      mediasoup: version,
      schema,
      session: null,
      lastSeen: null,
      bootId: null,
      netns: null,
      controller: 'a test',
    }),
  );
  const welcome = JSON.parse((await socket.next()).payload.toString());

  socket.close();
  await agent.stop();

  return { welcome, schema };
}

module.exports = { trueWelcome };
