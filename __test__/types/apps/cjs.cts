/** A CommonJS app, typed against mediasoup. */

import mediasoup = require('mediasoup');
import errors = require('mediasoup/errors');
import extras = require('mediasoup/extras');
import ortc = require('mediasoup/ortc');

import type types = require('mediasoup/types');

mediasoup satisfies types.Index;
errors satisfies typeof mediasoup.errors;
extras satisfies typeof mediasoup.extras;
ortc satisfies typeof mediasoup.ortc;

async function open(): Promise<types.WebRtcServer<{ port: number }>> {
  const worker: mediasoup.types.Worker = await mediasoup.createWorker();

  return worker.createWebRtcServer({
    listenInfos: [{ protocol: 'udp', ip: '0.0.0.0', portRange: { min: 1, max: 2 } }],
    appData: { port: 1 },
  });
}

void open();
