/** An app written for mediasoup, with nothing changed but the names of the modules. */

import * as mediasoup from 'mediasoup-horizontal';
import { NotFoundError } from 'mediasoup-horizontal/errors';
import { enhancedOnce } from 'mediasoup-horizontal/extras';
import type {
  AppData,
  Consumer,
  Producer,
  Router,
  RouterRtpCodecCapability,
  WebRtcTransport,
  Worker,
  WorkerEvents,
} from 'mediasoup-horizontal/types';

type RoomData = { room: string };

const mediaCodecs: RouterRtpCodecCapability[] = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
];

export class Room<Data extends AppData = AppData> {
  readonly producers = new Map<string, Producer<Data>>();
  readonly #worker: Worker<RoomData>;
  readonly #router: Router;

  private constructor(worker: Worker<RoomData>, router: Router) {
    this.#worker = worker;
    this.#router = router;
  }

  static async create(name: string): Promise<Room> {
    const worker = await mediasoup.createWorker<RoomData>({
      logLevel: 'warn',
      logTags: ['rtp', 'srtp'],
      appData: { room: name },
    });
    worker.on('died', (error: Error) => console.error(`${worker.appData.room}: ${error.message}`));

    return new Room(worker, await worker.createRouter({ mediaCodecs }));
  }

  async join(): Promise<WebRtcTransport> {
    const transport = await this.#router.createWebRtcTransport({
      listenInfos: [{ protocol: 'udp', ip: '0.0.0.0', announcedAddress: 'media.example.com' }],
    });
    transport.observer.once('close', () => transport.removeAllListeners());

    return transport;
  }

  async consume(transport: WebRtcTransport, producerId: string): Promise<Consumer | undefined> {
    try {
      return await transport.consume({
        producerId,
        rtpCapabilities: mediasoup.getSupportedRtpCapabilities() as mediasoup.types.RtpCapabilities,
      });
    } catch (error) {
      if (error instanceof NotFoundError) {
        return undefined;
      }
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#worker.close();
    await enhancedOnce<WorkerEvents>(this.#worker, 'subprocessclose');
  }
}

mediasoup.observer.on('newworker', (worker) => console.log(worker.pid));
mediasoup.setLogEventListeners({ onwarn: (namespace, log) => console.warn(namespace, log) });
