/** An ESM app written for mediasoup. */

import * as mediasoup from 'mediasoup';
import { UnsupportedError } from 'mediasoup/errors';

const worker = await mediasoup.createWorker({ logLevel: 'warn' });
const router = await worker.createRouter({
  mediaCodecs: [{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 }],
});
const transport = await router.createWebRtcTransport({
  listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }],
});
const sameErrors = UnsupportedError === mediasoup.errors.UnsupportedError;

console.log(mediasoup.version, transport.iceCandidates.length > 0, sameErrors);
worker.close();
