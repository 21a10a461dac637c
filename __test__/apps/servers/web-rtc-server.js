'use strict';

/**
 * A server with one WebRtcServer on each Worker, so that all browsers come in by few ports, a
 * Router for each room on the Worker that has the fewest, and observers of who speaks.
 */

const mediasoup = require('mediasoup');
const { listen } = require('./signalling');

const NUM_WORKERS = 2;
const FIRST_PORT = Number(process.env.FIRST_PORT);

/**
 * @typedef {object} Seat
 * @property {import('mediasoup').types.Worker} worker
 * @property {import('mediasoup').types.WebRtcServer} webRtcServer
 * @property {number} rooms
 */

class MediaServer {
  /** @type {Seat[]} */
  seats = [];
  /** @type {Map<string, Promise<MediaRoom>>} */
  rooms = new Map();

  async start() {
    for (let i = 0; i < NUM_WORKERS; i++) {
      const worker = await mediasoup.createWorker({
        logLevel: 'warn',
        dtlsCertificateFile: process.env.DTLS_CERT,
        dtlsPrivateKeyFile: process.env.DTLS_KEY,
      });
      const port = FIRST_PORT + i;
      const webRtcServer = await worker.createWebRtcServer({
        listenInfos: [
          { protocol: 'udp', ip: '127.0.0.1', port },
          { protocol: 'tcp', ip: '127.0.0.1', port },
        ],
      });

      worker.on('died', () => process.exit(1));
      this.seats.push({ worker, webRtcServer, rooms: 0 });
    }
  }

  /** @param {string} id */
  room(id) {
    let room = this.rooms.get(id);

    if (!room) {
      const [seat] = this.seats.toSorted((a, b) => a.rooms - b.rooms);

      room = MediaRoom.open(/** @type {Seat} */ (seat), () => this.rooms.delete(id));
      this.rooms.set(id, room);
    }

    return room;
  }
}

class MediaRoom {
  /** @type {Map<string, import('./signalling').Peer>} */
  peers = new Map();
  /** @type {Map<string, string>} Who each Producer is of. */
  speakers = new Map();

  /**
   * @param {Seat} seat
   * @param {import('mediasoup').types.Router} router
   * @param {import('mediasoup').types.AudioLevelObserver} levels
   * @param {import('mediasoup').types.ActiveSpeakerObserver} active
   * @param {() => void} onEmpty
   */
  constructor(seat, router, levels, active, onEmpty) {
    this.seat = seat;
    this.router = router;
    this.levels = levels;
    this.active = active;
    this.onEmpty = onEmpty;

    levels.on('volumes', (volumes) => {
      this.tell('volumes', {
        volumes: volumes.map(({ producer, volume }) => ({
          peerId: producer.appData.peerId,
          volume,
        })),
      });
    });
    levels.on('silence', () => this.tell('silence'));
    active.on('dominantspeaker', ({ producer }) => {
      this.tell('activeSpeaker', { peerId: producer.appData.peerId });
    });
  }

  /**
   * @param {Seat} seat
   * @param {() => void} onEmpty
   */
  static async open(seat, onEmpty) {
    seat.rooms += 1;
    const router = await seat.worker.createRouter({
      mediaCodecs: [
        { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
        { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
        {
          kind: 'video',
          mimeType: 'video/H264',
          clockRate: 90000,
          parameters: { 'packetization-mode': 1, 'profile-level-id': '42e01f' },
        },
      ],
    });
    const [levels, active] = await Promise.all([
      router.createAudioLevelObserver({ maxEntries: 2, threshold: -70, interval: 200 }),
      router.createActiveSpeakerObserver({ interval: 200 }),
    ]);

    return new MediaRoom(seat, router, levels, active, onEmpty);
  }

  /**
   * @param {string} method
   * @param {object} [data]
   */
  tell(method, data) {
    for (const peer of this.peers.values()) {
      peer.notify(method, data);
    }
  }

  /**
   * @param {string} peerId
   */
  leave(peerId) {
    this.peers.delete(peerId);
    if (this.peers.size === 0) {
      this.onEmpty();
      this.router.close();
      this.seat.rooms -= 1;
    } else {
      this.tell('left', { peerId });
    }
  }
}

const server = new MediaServer();

/** @param {import('./signalling').Peer} socket */
function onPeer(socket) {
  /** @type {MediaRoom} */
  let room;
  let peerId = '';
  /** @type {Map<string, import('mediasoup').types.Transport>} */
  const transports = new Map();
  /** @type {Map<string, import('mediasoup').types.Producer>} */
  const producers = new Map();
  const transportOf = (/** @type {string} */ id) =>
    /** @type {import('mediasoup').types.Transport} */ (transports.get(id));

  /**
   * @param {string} method
   * @param {any} data
   */
  async function handle(method, data) {
    switch (method) {
      case 'join': {
        room = await server.room(data.roomId);
        peerId = data.peerId;
        room.peers.set(peerId, socket);
        return { codecs: room.router.rtpCapabilities.codecs?.map(({ mimeType }) => mimeType) };
      }
      case 'createTransport': {
        const transport = await room.router.createWebRtcTransport({
          webRtcServer: room.seat.webRtcServer,
          appData: { peerId },
        });
        transports.set(transport.id, transport);
        return {
          id: transport.id,
          iceParameters: transport.iceParameters,
          iceCandidates: transport.iceCandidates,
          dtlsParameters: transport.dtlsParameters,
        };
      }
      case 'connectTransport':
        await transportOf(data.id).connect({ dtlsParameters: data.dtlsParameters });
        return {};
      case 'createIngest': {
        const transport = await room.router.createPlainTransport({
          listenIp: '127.0.0.1',
          comedia: true,
          rtcpMux: true,
        });
        transports.set(transport.id, transport);
        return { id: transport.id, tuple: transport.tuple };
      }
      case 'produce': {
        const producer = await transportOf(data.transportId).produce({
          kind: data.kind,
          rtpParameters: data.rtpParameters,
          appData: { peerId },
        });
        producers.set(producer.id, producer);
        if (producer.kind === 'audio') {
          await room.levels.addProducer({ producerId: producer.id });
          await room.active.addProducer({ producerId: producer.id });
        }
        return { id: producer.id };
      }
      case 'consume': {
        const consumer = await transportOf(data.transportId).consume({
          producerId: data.producerId,
          rtpCapabilities: room.router.rtpCapabilities,
        });
        return {
          id: consumer.id,
          kind: consumer.kind,
          codecs: consumer.rtpParameters.codecs.map(({ mimeType }) => mimeType),
        };
      }
      case 'mute':
        await room.levels.removeProducer({ producerId: data.producerId });
        await room.active.removeProducer({ producerId: data.producerId });
        await producers.get(data.producerId)?.pause();
        return {};
      case 'webRtcServer': {
        const dump = await room.seat.webRtcServer.dump();
        return {
          transports: dump.webRtcTransportIds.length,
          udpSockets: dump.udpSockets.length,
          tcpServers: dump.tcpServers.length,
        };
      }
      case 'observers': {
        const dump = await room.router.dump();
        return dump.mapProducerIdObserverIds.map(({ key, values }) => ({
          key,
          observers: values.length,
        }));
      }
      default:
        throw new Error(`unknown method ${method}`);
    }
  }

  socket.on('request', ({ method, data }, accept, reject) => {
    handle(method, data).then(accept, reject);
  });
  socket.on('close', () => {
    for (const transport of transports.values()) {
      transport.close();
    }
    room?.leave(peerId);
  });
}

server.start().then(
  () => listen(onPeer),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
