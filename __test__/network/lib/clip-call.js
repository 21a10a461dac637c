'use strict';

const { EventEmitter } = require('node:events');
const { ClipSender } = require('../../../examples/lib/clip-sender');
const { within } = require('../../../examples/lib/deadline');
const { parseRtp, wallClock } = require('../../../examples/lib/rtp-packet');
const { RtpReceiver, receiverCapabilities } = require('../../../examples/lib/rtp-receiver');
const { eventUntil } = require('../../support/events');

/** @import { IncomingStream } from '../../../examples/lib/incoming-stream' */
/** @import { OutgoingStream } from '../../../examples/lib/outgoing-stream' */
/** @import * as mediasoup from 'mediasoup-upstream/types' */

/** What an app on one host with its workers would say. */
const LOOPBACK = '127.0.0.1';
const PLAY_TIME = 1500;
const PLAY_TIMEOUT = 15_000;

/** @type {mediasoup.RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];

/**
 * @typedef {object} Leg One track on its way.
 * @property {OutgoingStream} out
 * @property {Buffer[]} sent Payloads.
 * @property {mediasoup.Producer} producer
 * @property {mediasoup.Consumer} pipeConsumer
 * @property {mediasoup.Producer} pipeProducer
 * @property {mediasoup.Consumer} consumer
 * @property {IncomingStream} incoming
 * @property {Buffer[]} received
 */

/**
 * The clip from this host into one Router, by the app's own `pipeToRouter` into another one, and
 * back to this host.
 */
class ClipCall {
  #sender;
  #receiver;
  #events = new EventEmitter();
  /** @type {Leg[]} */
  legs = [];

  /**
   * Use `ClipCall.open()`.
   *
   * @param {ClipSender} sender
   * @param {RtpReceiver} receiver
   */
  constructor(sender, receiver) {
    this.#sender = sender;
    this.#receiver = receiver;
  }

  /**
   * @param {object} options
   * @param {mediasoup.Router} options.from
   * @param {mediasoup.Router} options.to
   * @param {Partial<mediasoup.PipeToRouterOptions>} [options.pipe]
   * @returns {Promise<ClipCall>}
   */
  static async open({ from, to, pipe }) {
    /** @type {mediasoup.TransportListenInfo} */
    const listenInfo = { protocol: 'udp', ip: LOOPBACK };
    const ingest = await from.createPlainTransport({ listenInfo, comedia: true });
    const egress = await to.createPlainTransport({ listenInfo });
    const { localAddress: ip, localPort: port } = ingest.tuple;
    const sender = await ClipSender.open({ ip, port });
    const receiver = await RtpReceiver.open('0.0.0.0');
    const call = new ClipCall(sender, receiver);

    try {
      await egress.connect({ ip: LOOPBACK, port: receiver.port });

      for (const out of call.#sender.streams) {
        call.legs.push(await call.#lay(out, { from, to, pipe, ingest, egress }));
      }
    } catch (error) {
      // Open sockets would keep the process alive.
      call.close();
      throw error;
    }

    return call;
  }

  /**
   * @param {OutgoingStream} out
   * @param {object} way
   * @param {mediasoup.Router} way.from
   * @param {mediasoup.Router} way.to
   * @param {Partial<mediasoup.PipeToRouterOptions>} [way.pipe]
   * @param {mediasoup.PlainTransport} way.ingest
   * @param {mediasoup.PlainTransport} way.egress
   * @returns {Promise<Leg>}
   */
  async #lay(out, { from, to, pipe, ingest, egress }) {
    const sent = recordSent(out);
    const { kind } = out.track;
    const producer = await ingest.produce({ kind, rtpParameters: out.rtpParameters });
    const { pipeConsumer, pipeProducer } = await from.pipeToRouter({
      ...pipe,
      producerId: producer.id,
      router: to,
    });

    if (!pipeConsumer || !pipeProducer) {
      throw new Error('pipeToRouter() gave no Consumer and Producer');
    }

    const consumer = await egress.consume({
      producerId: producer.id,
      rtpCapabilities: receiverCapabilities(to.rtpCapabilities),
    });
    const incoming = this.#receiver.expect(consumer.rtpParameters);
    const received = recordReceived(incoming);
    const { requestKeyFrame } = out;

    out.requestKeyFrame = () => {
      requestKeyFrame.call(out);
      this.#events.emit('keyframerequest');
    };

    return { out, sent, producer, pipeConsumer, pipeProducer, consumer, incoming, received };
  }

  /** Sends, asks for a key frame on the way, and waits until the last packet is here. */
  async play() {
    const end = wallClock() + PLAY_TIME;

    this.#sender.start();
    await this.#reached(() => end);

    for (const { out, consumer } of this.legs.filter(({ consumer }) => consumer.kind === 'video')) {
      const before = out.keyFrameRequests;

      await consumer.requestKeyFrame();
      await eventUntil(this.#events, 'keyframerequest', () => out.keyFrameRequests > before);
    }

    const later = wallClock();

    await this.#reached(() => later);
    this.#sender.stop();
    await this.#reached(({ out }) => out.lastSentAt ?? 0);
  }

  /** All that was sent came, as it was, in order and once. */
  expectIntact() {
    const [video, audio] = this.legs;

    expect(this.#sender.error ?? this.#receiver.error).toBeUndefined();
    expect(this.#receiver.unexpected).toBe(0);

    for (const { sent, received, incoming } of this.legs) {
      expect(sent.length).toBeGreaterThan(20);
      expect(received.map(({ length }) => length)).toEqual(sent.map(({ length }) => length));
      expect(Buffer.concat(received).equals(Buffer.concat(sent))).toBe(true);
      expect(incoming).toMatchObject({ lost: 0, duplicates: 0, reordered: 0 });
    }

    expect(video?.incoming.keyFrames).toBe(video?.out.keyFrames);
    // The first one, the one asked for, and what the clip has each second.
    expect(video?.incoming.keyFrames).toBeGreaterThanOrEqual(2);
    expect(audio?.consumer.kind).toBe('audio');
  }

  close() {
    this.#sender.close();
    this.#receiver.close();
  }

  /** @param {(leg: Leg) => number} sentAt */
  async #reached(sentAt) {
    for (const leg of this.legs) {
      const what = `${leg.consumer.kind} from ${leg.producer.id}`;

      await within(leg.incoming.reached(sentAt(leg)), { ms: PLAY_TIMEOUT, what });
    }
  }
}

/**
 * @param {OutgoingStream} stream
 * @returns {Buffer[]} Filled as payloads are sent.
 */
function recordSent(stream) {
  /** @type {Buffer[]} */
  const sent = [];
  const { nextFrame } = stream;

  stream.nextFrame = (now) => {
    const frame = nextFrame.call(stream, now);

    sent.push(...frame.packets.map(payloadOf));

    return frame;
  };

  return sent;
}

/**
 * @param {IncomingStream} stream
 * @returns {Buffer[]} Filled as payloads come.
 */
function recordReceived(stream) {
  /** @type {Buffer[]} */
  const received = [];
  const { receive } = stream;

  stream.receive = (packet, size, now) => {
    received.push(packet.payload);
    receive.call(stream, packet, size, now);
  };

  return received;
}

/** @param {Buffer} packet */
function payloadOf(packet) {
  return /** @type {import('../../../examples/lib/rtp-packet').RtpPacket} */ (parseRtp(packet))
    .payload;
}

/**
 * The PipeTransports that a Router gets from now on.
 *
 * @param {mediasoup.Router} router
 * @returns {mediasoup.PipeTransport[]}
 */
function watchPipes(router) {
  /** @type {mediasoup.PipeTransport[]} */
  const pipes = [];

  router.observer.on('newtransport', (transport) => {
    if (transport.type === 'pipe') {
      pipes.push(/** @type {mediasoup.PipeTransport} */ (transport));
    }
  });

  return pipes;
}

module.exports = { ClipCall, MEDIA_CODECS, watchPipes };
