'use strict';

/** A user's code: a room on mediasoup, with nothing in it that knows of tests. */

const { EventEmitter } = require('node:events');
const mediasoup = require('mediasoup');

/** @import { types } from 'mediasoup' */

/** @type {types.RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90_000 },
];

/** Below that, listeners are told that somebody is hard to hear. */
const BAD_SCORE = 5;

/**
 * @typedef {object} Peer
 * @property {types.WebRtcTransport} transport
 * @property {Map<string, types.Producer>} producers
 * @property {types.RtpCapabilities} rtpCapabilities
 */

/**
 * Emits `speaker` (name of a peer), `poor` (name of the peer whose media arrives badly, and of the
 * one who gets it), `left` (name) and `closed` (why).
 */
class Room extends EventEmitter {
  /** @type {types.Router} */
  #router;
  /** @type {Map<string, Peer>} */
  #peers = new Map();

  /**
   * @param {types.Worker} worker
   * @param {types.Router} router
   * @param {types.ActiveSpeakerObserver} speakers
   */
  constructor(worker, router, speakers) {
    super();
    this.worker = worker;
    this.speakers = speakers;
    this.#router = router;
    worker.on('died', (error) => this.emit('closed', error.message));
    speakers.on('dominantspeaker', ({ producer }) => {
      this.emit('speaker', producer.appData.peer);
    });
  }

  static async open() {
    const worker = await mediasoup.createWorker();

    try {
      const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });

      return new Room(worker, router, await router.createActiveSpeakerObserver());
    } catch (error) {
      worker.close();
      throw error;
    }
  }

  /**
   * @param {string} name
   * @param {types.RtpCapabilities} rtpCapabilities
   */
  async join(name, rtpCapabilities) {
    const transport = await this.#router.createWebRtcTransport({
      listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }],
    });

    transport.on('dtlsstatechange', (state) => {
      if (state === 'failed' || state === 'closed') {
        this.leave(name);
      }
    });
    this.#peers.set(name, { transport, producers: new Map(), rtpCapabilities });

    return transport;
  }

  /**
   * Takes what a peer sends, and gives it to everybody else.
   *
   * @param {string} name
   * @param {types.ProducerOptions} options
   */
  async publish(name, options) {
    const { transport, producers } = this.#peer(name);
    const producer = await transport.produce({ ...options, appData: { peer: name } });

    producers.set(producer.id, producer);
    if (producer.kind === 'audio') {
      await this.speakers.addProducer({ producerId: producer.id });
    }
    const others = [...this.#peers].filter(([other]) => other !== name);
    const consumers = await Promise.all(
      others.map(([other, peer]) => this.#subscribe(name, producer, other, peer)),
    );

    return { producer, consumers };
  }

  /**
   * @param {string} name
   */
  leave(name) {
    const peer = this.#peers.get(name);

    if (this.#peers.delete(name)) {
      peer?.transport.close();
      this.emit('left', name);
    }
  }

  close() {
    this.worker.close();
    this.emit('closed', 'by the app');
  }

  /**
   * @param {string} from
   * @param {types.Producer} producer
   * @param {string} to
   * @param {Peer} peer
   */
  async #subscribe(from, producer, to, { transport, rtpCapabilities }) {
    const consumer = await transport.consume({ producerId: producer.id, rtpCapabilities });

    consumer.on('score', ({ score }) => {
      if (score < BAD_SCORE) {
        this.emit('poor', from, to);
      }
    });

    return consumer;
  }

  /**
   * @param {string} name
   * @returns {Peer}
   */
  #peer(name) {
    const peer = this.#peers.get(name);

    if (peer === undefined) {
      throw new Error(`${name} is not in the room`);
    }

    return peer;
  }
}

module.exports = { Room };
