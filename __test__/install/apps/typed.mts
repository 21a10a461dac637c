/** A TypeScript app written for mediasoup. */

import * as mediasoup from 'mediasoup';
import { UnsupportedError } from 'mediasoup/errors';
import type { Router, RouterRtpCodecCapability, WebRtcTransport, Worker } from 'mediasoup/types';

const mediaCodecs: RouterRtpCodecCapability[] = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
];
const worker: Worker<{ name: string }> = await mediasoup.createWorker({
  logLevel: 'warn',
  appData: { name: 'typed' },
});
const router: Router = await worker.createRouter({ mediaCodecs });
const transport: WebRtcTransport = await router.createWebRtcTransport({
  listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }],
});
const sameErrors = UnsupportedError === mediasoup.errors.UnsupportedError;

console.log(mediasoup.version, transport.iceCandidates.length > 0, sameErrors);
worker.close();
