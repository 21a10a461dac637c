'use strict';

/**
 * A conference server as many begin: a pool of Workers made at the start, a Router of each room on
 * every one of them, people sent to them in turn, Producers piped to the others. It ends when a
 * Worker dies.
 */

const mediasoup = require('mediasoup');
const { listen } = require('./signalling');

const config = {
  numWorkers: 2,
  workerSettings: {
    logLevel: /** @type {const} */ ('warn'),
    logTags: /** @type {('info' | 'ice' | 'dtls' | 'rtp' | 'srtp' | 'rtcp')[]} */ ([
      'info',
      'ice',
      'dtls',
      'rtp',
      'srtp',
      'rtcp',
    ]),
  },
  /** @type {import('mediasoup').types.RouterRtpCodecCapability[]} */
  mediaCodecs: [
    { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
    {
      kind: 'video',
      mimeType: 'video/VP8',
      clockRate: 90000,
      parameters: { 'x-google-start-bitrate': 1000 },
    },
  ],
  webRtcTransportOptions: {
    listenIps: [{ ip: '127.0.0.1' }],
    initialAvailableOutgoingBitrate: 1000000,
    enableUdp: true,
    enableTcp: true,
    preferUdp: true,
  },
  maxIncomingBitrate: 1500000,
  plainTransportOptions: { listenIp: { ip: '127.0.0.1' }, rtcpMux: true },
};

/** @type {import('mediasoup').types.Worker[]} */
const workers = [];
/** @type {Map<string, Promise<Room>>} */
const rooms = new Map();

async function runMediasoupWorkers() {
  for (let i = 0; i < config.numWorkers; i++) {
    const worker = await mediasoup.createWorker(config.workerSettings);

    worker.on('died', () => {
      console.error(`mediasoup Worker died, exiting in 2 seconds... [pid:${worker.pid}]`);
      setTimeout(() => process.exit(1), 2000);
    });
    workers.push(worker);
  }
}

class Room {
  /**
   * @param {string} id
   * @param {import('mediasoup').types.Router[]} routers
   */
  constructor(id, routers) {
    this.id = id;
    this.routers = routers;
    this.nextRouterIdx = 0;
    /** @type {Map<string, Participant>} */
    this.peers = new Map();
  }

  /** @param {string} id */
  static async create(id) {
    const { mediaCodecs } = config;
    const routers = [];

    for (const worker of workers) {
      routers.push(await worker.createRouter({ mediaCodecs, appData: { roomId: id } }));
    }

    return new Room(id, routers);
  }

  getRouter() {
    const router = this.routers[this.nextRouterIdx];

    if (++this.nextRouterIdx === this.routers.length) {
      this.nextRouterIdx = 0;
    }

    return /** @type {import('mediasoup').types.Router} */ (router);
  }

  /**
   * @param {string} except
   * @param {string} method
   * @param {object} data
   */
  broadcast(except, method, data) {
    for (const peer of this.peers.values()) {
      if (peer.id !== except) {
        peer.socket.notify(method, data);
      }
    }
  }

  close() {
    rooms.delete(this.id);
    for (const router of this.routers) {
      router.close();
    }
  }
}

class Participant {
  /**
   * @param {string} id
   * @param {Room} room
   * @param {import('./signalling').Peer} socket
   */
  constructor(id, room, socket) {
    this.id = id;
    this.room = room;
    this.socket = socket;
    this.router = room.getRouter();
    /** @type {Map<string, import('mediasoup').types.WebRtcTransport | import('mediasoup').types.PlainTransport>} */
    this.transports = new Map();
    /** @type {Map<string, import('mediasoup').types.Producer>} */
    this.producers = new Map();
    /** @type {Map<string, import('mediasoup').types.Consumer>} */
    this.consumers = new Map();
  }

  /** @param {string} id */
  transport(id) {
    const transport = this.transports.get(id);

    if (!transport) {
      throw new Error(`transport with id "${id}" not found`);
    }

    return transport;
  }

  /** @param {string} id */
  producer(id) {
    const producer = this.producers.get(id);

    if (!producer) {
      throw new Error(`producer with id "${id}" not found`);
    }

    return producer;
  }

  /** @param {string} id */
  consumer(id) {
    const consumer = this.consumers.get(id);

    if (!consumer) {
      throw new Error(`consumer with id "${id}" not found`);
    }

    return consumer;
  }
}

/** @type {Record<string, (peer: Participant, data: any) => unknown>} */
const handlers = {
  getRouterRtpCapabilities: ({ router }) => router.rtpCapabilities,

  async createWebRtcTransport(peer) {
    const { maxIncomingBitrate, webRtcTransportOptions } = config;
    const transport = await peer.router.createWebRtcTransport({
      ...webRtcTransportOptions,
      appData: { peerId: peer.id },
    });

    peer.transports.set(transport.id, transport);
    await transport.setMaxIncomingBitrate(maxIncomingBitrate);
    transport.on('dtlsstatechange', (dtlsState) => {
      if (dtlsState === 'failed' || dtlsState === 'closed') {
        transport.close();
      }
    });

    return {
      id: transport.id,
      iceParameters: transport.iceParameters,
      iceCandidates: transport.iceCandidates,
      dtlsParameters: transport.dtlsParameters,
    };
  },

  async connectWebRtcTransport(peer, { transportId, dtlsParameters }) {
    await peer.transport(transportId).connect({ dtlsParameters });
  },

  restartIce(peer, { transportId }) {
    const transport = peer.transport(transportId);

    return /** @type {import('mediasoup').types.WebRtcTransport} */ (transport).restartIce();
  },

  async createPlainTransport(peer, { comedia }) {
    const transport = await peer.router.createPlainTransport({
      ...config.plainTransportOptions,
      comedia,
    });

    peer.transports.set(transport.id, transport);

    return {
      id: transport.id,
      ip: transport.tuple.localAddress,
      port: transport.tuple.localPort,
    };
  },

  async connectPlainTransport(peer, { transportId, ip, port }) {
    const transport = peer.transport(transportId);

    await /** @type {import('mediasoup').types.PlainTransport} */ (transport).connect({ ip, port });
  },

  async produce(peer, { transportId, kind, rtpParameters }) {
    const producer = await peer.transport(transportId).produce({
      kind,
      rtpParameters,
      appData: { peerId: peer.id },
    });

    peer.producers.set(producer.id, producer);
    producer.on('score', (score) => {
      peer.socket.notify('producerScore', { producerId: producer.id, score });
    });

    for (const router of peer.room.routers) {
      if (router !== peer.router) {
        await peer.router.pipeToRouter({ producerId: producer.id, router });
      }
    }
    peer.room.broadcast(peer.id, 'newProducer', { peerId: peer.id, producerId: producer.id, kind });

    return { id: producer.id };
  },

  async consume(peer, { transportId, producerId, rtpCapabilities }) {
    if (!peer.router.canConsume({ producerId, rtpCapabilities })) {
      throw new Error(`cannot consume producer "${producerId}"`);
    }

    const consumer = await peer
      .transport(transportId)
      .consume({ producerId, rtpCapabilities, paused: true });

    peer.consumers.set(consumer.id, consumer);
    consumer.on('transportclose', () => peer.consumers.delete(consumer.id));
    consumer.on('producerclose', () => {
      peer.consumers.delete(consumer.id);
      peer.socket.notify('consumerClosed', { consumerId: consumer.id });
    });
    consumer.on('producerpause', () => {
      peer.socket.notify('consumerPaused', { consumerId: consumer.id });
    });
    consumer.on('producerresume', () => {
      peer.socket.notify('consumerResumed', { consumerId: consumer.id });
    });
    consumer.on('score', (score) => {
      peer.socket.notify('consumerScore', { consumerId: consumer.id, score });
    });

    return {
      id: consumer.id,
      producerId,
      kind: consumer.kind,
      type: consumer.type,
      producerPaused: consumer.producerPaused,
      rtpParameters: consumer.rtpParameters,
    };
  },

  async resumeConsumer(peer, { consumerId }) {
    await peer.consumer(consumerId).resume();
  },

  async pauseConsumer(peer, { consumerId }) {
    await peer.consumer(consumerId).pause();
  },

  async requestConsumerKeyFrame(peer, { consumerId }) {
    await peer.consumer(consumerId).requestKeyFrame();
  },

  async pauseProducer(peer, { producerId }) {
    await peer.producer(producerId).pause();
  },

  async resumeProducer(peer, { producerId }) {
    await peer.producer(producerId).resume();
  },

  closeProducer(peer, { producerId }) {
    peer.producer(producerId).close();
    peer.producers.delete(producerId);
  },

  async getConsumerStats(peer, { consumerId }) {
    const stats = await peer.consumer(consumerId).getStats();

    return stats.map(({ type, kind, mimeType }) => ({ type, kind, mimeType }));
  },

  async getRoomDump({ room }) {
    const dumps = [];

    for (const router of room.routers) {
      const dump = await router.dump();

      dumps.push({ id: dump.id, transports: dump.transportIds.length });
    }

    return dumps;
  },
};

/** @param {import('./signalling').Peer} socket */
function onPeer(socket) {
  /** @type {Participant | undefined} */
  let participant;

  socket.on('request', async ({ method, data }, accept, reject) => {
    try {
      if (method === 'join') {
        let room = rooms.get(data.roomId);

        if (!room) {
          room = Room.create(data.roomId);
          rooms.set(data.roomId, room);
        }
        participant = new Participant(data.peerId, await room, socket);
        participant.room.peers.set(participant.id, participant);
        participant.room.broadcast(participant.id, 'newPeer', { peerId: participant.id });
        accept({ peers: [...participant.room.peers.keys()] });
      } else if (!participant || !handlers[method]) {
        throw new Error(`unknown request.method "${method}"`);
      } else {
        accept(await handlers[method](participant, data));
      }
    } catch (error) {
      reject(error);
    }
  });

  socket.on('close', () => {
    if (participant) {
      const { id, room, transports } = participant;

      for (const transport of transports.values()) {
        transport.close();
      }
      room.peers.delete(id);
      room.broadcast(id, 'peerClosed', { peerId: id });
      if (room.peers.size === 0) {
        room.close();
      }
    }
  });
}

runMediasoupWorkers().then(
  () => listen(onPeer),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
