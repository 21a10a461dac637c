'use strict';

/**
 * An app with a Worker, a Router and a WebRtcTransport on each agent, until it is killed.
 *
 *   node app.js CERTIFICATE PRIVATE_KEY
 */

const mediasoup = require('../../..');
const { MEDIA_CODECS, TRANSPORT_OPTIONS } = require('../options');

async function main() {
  const [dtlsCertificateFile, dtlsPrivateKeyFile] = process.argv.slice(2);
  const agents = process.env.MEDIASOUP_HORIZONTAL_AGENTS?.split(',') ?? [];
  const ports = [];

  for (let i = 0; i < agents.length; i++) {
    const worker = await mediasoup.createWorker({ dtlsCertificateFile, dtlsPrivateKeyFile });
    const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
    const transport = await router.createWebRtcTransport(TRANSPORT_OPTIONS);

    ports.push(transport.iceCandidates[0]?.port);
  }
  console.log(JSON.stringify({ ports }));
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
