/**
 * A server with a Worker for each room, as an ES module. A Worker that dies is replaced, and the
 * people of its room join again.
 */

import { EventEmitter } from 'node:events';
import * as mediasoup from 'mediasoup';
import signalling from './signalling.js';

/** @type {Map<string, Room>} */
const rooms = new Map();

class Room extends EventEmitter {
  /** @type {import('mediasoup').types.Worker | undefined} */
  #worker;
  /** @type {import('mediasoup').types.Router | undefined} */
  #router;
  /** @type {Map<string, import('mediasoup').types.DataProducer>} */
  dataProducers = new Map();
  closed = false;

  /** @param {string} id */
  constructor(id) {
    super();
    this.id = id;
    this.ready = this.#start();
  }

  async #start() {
    const worker = await mediasoup.createWorker({ logLevel: 'error', appData: { room: this.id } });

    if (this.closed) {
      worker.close();
      return;
    }
    this.#worker = worker;
    worker.once('died', () => this.#restart());
    this.#router = await worker.createRouter({
      mediaCodecs: [
        { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
        { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
      ],
    });
  }

  #restart() {
    this.dataProducers.clear();
    this.emit('lost');
    this.ready = this.#start();
    this.ready.then(() => this.emit('restarted'), console.error);
  }

  get router() {
    if (!this.#router || this.#router.closed) {
      throw new Error(`room ${this.id} has no router`);
    }
    return this.#router;
  }

  get worker() {
    return /** @type {import('mediasoup').types.Worker} */ (this.#worker);
  }

  close() {
    this.closed = true;
    this.#worker?.close();
    rooms.delete(this.id);
  }
}

/**
 * What one connection may ask for.
 *
 * @param {import('./signalling.js').Peer} peer
 */
function serve(peer) {
  /** @type {Room | undefined} */
  let room;
  /** @type {import('mediasoup').types.DirectTransport | undefined} */
  let bot;
  /** @type {Map<string, import('mediasoup').types.PlainTransport | import('mediasoup').types.WebRtcTransport>} */
  const transports = new Map();
  /** @type {Map<string, import('mediasoup').types.Consumer>} */
  const consumers = new Map();
  const lost = () => {
    transports.clear();
    consumers.clear();
    bot = undefined;
    peer.notify('roomLost');
  };
  const restarted = () => peer.notify('roomRestarted');
  const leave = () => {
    room?.off('lost', lost).off('restarted', restarted);
    if (room && room.listenerCount('lost') === 0) {
      room.close();
    }
  };
  /** @returns {Room} */
  const current = () => {
    if (!room) {
      throw new TypeError('join a room first');
    }
    return room;
  };

  /** @type {Record<string, (data: any) => Promise<unknown>>} */
  const api = {
    async join({ roomId }) {
      room = rooms.get(roomId) ?? new Room(roomId);
      rooms.set(roomId, room);
      room.on('lost', lost).on('restarted', restarted);
      await room.ready;
      return { rtpCapabilities: room.router.rtpCapabilities };
    },

    async workerPid() {
      return { pid: current().worker.pid };
    },

    async send() {
      const transport = await current().router.createPlainTransport({
        listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
        comedia: true,
        rtcpMux: true,
      });

      transports.set(transport.id, transport);
      return { id: transport.id, tuple: transport.tuple };
    },

    async receive({ ip, port }) {
      const transport = await current().router.createPlainTransport({
        listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
        rtcpMux: true,
      });

      await transport.connect({ ip, port });
      transports.set(transport.id, transport);
      return { id: transport.id };
    },

    async browser() {
      const transport = await current().router.createWebRtcTransport({
        listenInfos: [
          { protocol: 'udp', ip: '127.0.0.1' },
          { protocol: 'tcp', ip: '127.0.0.1' },
        ],
        enableSctp: true,
      });

      transports.set(transport.id, transport);
      return {
        id: transport.id,
        iceParameters: transport.iceParameters,
        iceCandidates: transport.iceCandidates,
        dtlsParameters: transport.dtlsParameters,
        sctpParameters: transport.sctpParameters,
      };
    },

    async produce({ transportId, kind, rtpParameters }) {
      const producer = await transports.get(transportId)?.produce({ kind, rtpParameters });

      return { id: producer?.id, type: producer?.type };
    },

    async consume({ transportId, producerId }) {
      const { rtpCapabilities } = current().router;
      const consumer = await transports.get(transportId)?.consume({ producerId, rtpCapabilities });

      if (!consumer) {
        throw new TypeError(`no transport ${transportId}`);
      }
      consumers.set(consumer.id, consumer);
      consumer.once('producerclose', () => peer.notify('producerGone', { id: consumer.id }));
      return { id: consumer.id, type: consumer.type, rtpParameters: consumer.rtpParameters };
    },

    /** A bot in the app itself, over a DirectTransport. */
    async startBot() {
      bot = await current().router.createDirectTransport();
      const dataProducer = await bot.produceData({ label: 'chat', protocol: 'text' });

      current().dataProducers.set('chat', dataProducer);
      return { dataProducerId: dataProducer.id, type: dataProducer.type };
    },

    async listenToBot() {
      const chat = current().dataProducers.get('chat');
      const transport = await current().router.createDirectTransport();
      const consumer = await transport.consumeData({ dataProducerId: chat?.id ?? '' });

      consumer.on('message', (message, ppid) => {
        peer.notify('chat', { text: message.toString('utf8'), ppid });
      });
      return { label: consumer.label, protocol: consumer.protocol, type: consumer.type };
    },

    async say({ text }) {
      current().dataProducers.get('chat')?.send(text);
      return {};
    },

    async leaveTransport({ transportId }) {
      transports.get(transportId)?.close();
      return {};
    },

    async usage() {
      const usage = await current().worker.getResourceUsage();

      return Object.fromEntries(Object.entries(usage).map(([key, value]) => [key, typeof value]));
    },

    async dump() {
      const { routerIds, webRtcServerIds } = await current().worker.dump();

      return { routerIds, webRtcServerIds };
    },
  };

  peer.on('request', (request, accept, reject) => {
    const method = api[request.method];

    Promise.resolve()
      .then(() => method?.(request.data))
      .then(accept, reject);
  });
  peer.on('close', leave);
}

signalling.listen(serve);
