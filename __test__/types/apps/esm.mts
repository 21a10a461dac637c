/** An ESM app, typed against mediasoup: every way to import it. */

import * as mediasoup from 'mediasoup';
import mediasoupDefault, {
  createWorker,
  errors,
  extras,
  getSupportedRtpCapabilities,
  observer,
  ortc,
  parseScalabilityMode,
  setLogEventListeners,
  type types,
  version,
  workerBin,
} from 'mediasoup';
import { NotFoundError, type UnsupportedError, WorkerClosedError } from 'mediasoup/errors';
import { EnhancedEventEmitter, enhancedOnce } from 'mediasoup/extras';
import type { getProducerRtpParametersMapping } from 'mediasoup/ortc';
import type * as allTypes from 'mediasoup/types';
import type { Index, Router, Worker, WorkerSettings } from 'mediasoup/types';

type RoomData = { room: string };

const settings: WorkerSettings<RoomData> = { logLevel: 'warn', appData: { room: 'one' } };
const made: Promise<types.Worker<RoomData>> = createWorker<RoomData>(settings);
const alsoMade: Promise<Worker<RoomData>> = mediasoupDefault.createWorker<RoomData>(settings);

mediasoup satisfies Index;
mediasoupDefault satisfies Index;
mediasoup.createWorker satisfies typeof createWorker;

async function use(worker: mediasoup.types.Worker<RoomData>): Promise<allTypes.Router> {
  worker.on('died', (error: Error) => console.error(worker.appData.room, error));
  const router: Router = await worker.createRouter({
    mediaCodecs: [{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 }],
  });
  const transport = await router.createWebRtcTransport({ listenIps: ['127.0.0.1'] });
  const producer = await transport.produce({
    kind: 'audio',
    rtpParameters: { codecs: [] },
    appData: { own: true },
  });
  producer.appData.own satisfies boolean;
  await enhancedOnce<types.WorkerEvents>(worker, 'subprocessclose');

  return router;
}

class Room extends EnhancedEventEmitter<{ open: [string] }> {}

new Room().emit('open', version);
observer.on('newworker', (worker) => console.log(worker.pid, workerBin));
setLogEventListeners({ onwarn: (namespace, log) => console.warn(namespace, log) });
getSupportedRtpCapabilities().codecs?.length satisfies number | undefined;
parseScalabilityMode('L1T3').temporalLayers satisfies number;
ortc.getProducerRtpParametersMapping satisfies typeof getProducerRtpParametersMapping;
extras.enhancedOnce satisfies typeof enhancedOnce;
new errors.UnsupportedError('no') satisfies UnsupportedError;
new WorkerClosedError('closed') satisfies Error;
void made.then(use).catch((error: unknown) => error instanceof NotFoundError);
void alsoMade;

// @ts-expect-error There is no such level.
void createWorker({ logLevel: 'loud' });
