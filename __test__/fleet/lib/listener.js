'use strict';

const { EventEmitter } = require('node:events');
const { within } = require('../../../examples/lib/deadline');
const { RtpReceiver, receiverCapabilities } = require('../../../examples/lib/rtp-receiver');
const { parseVp8Descriptor } = require('../../../examples/lib/vp8-payload');
const { eventUntil } = require('../../support/events');
const { LOOPBACK, openPipe } = require('./source');

/** @import { Consumer, ConsumerOptions, PipeTransport, PlainTransport, Producer, Router } from 'mediasoup-upstream/types' */
/** @import { IncomingStream } from '../../../examples/lib/incoming-stream' */
/** @import { CountedStream } from './counted-stream' */

const ARRIVAL_TIMEOUT = 20_000;

/**
 * Where media goes: a transport, and what receives from it.
 */
class Listener {
  #router;
  #receiver;

  /**
   * Use `Listener.open()`.
   *
   * @param {Router} router
   * @param {RtpReceiver} receiver
   * @param {PlainTransport | PipeTransport} transport
   */
  constructor(router, receiver, transport) {
    this.#router = router;
    this.#receiver = receiver;
    this.transport = transport;
  }

  /**
   * @param {Router} router
   * @param {object} [options]
   * @param {boolean} [options.overPipe] To a PipeTransport, whose loss its Worker survives.
   * @returns {Promise<Listener>}
   */
  static async open(router, { overPipe = false } = {}) {
    const receiver = await RtpReceiver.open('0.0.0.0');

    try {
      const transport = await (overPipe
        ? openPipe(router, receiver.port)
        : openPlain(router, receiver.port));

      return new Listener(router, receiver, transport);
    } catch (error) {
      receiver.close();
      throw error;
    }
  }

  /**
   * @param {Producer} producer
   * @param {Partial<ConsumerOptions>} [options]
   * @returns {Promise<Heard>}
   */
  async consume({ id: producerId }, options) {
    const consumer = await this.transport.consume({
      ...options,
      producerId,
      rtpCapabilities: receiverCapabilities(this.#router.rtpCapabilities),
    });

    return new Heard(consumer, this.#receiver.expect(consumer.rtpParameters));
  }

  /** Packets that no Consumer here explains. */
  get unexpected() {
    return this.#receiver.unexpected;
  }

  close() {
    this.#receiver.close();
  }
}

/**
 * A Consumer and what comes out of it.
 */
class Heard {
  #incoming;
  /** Told `packet`. */
  events = new EventEmitter();
  /** @type {Buffer[]} */
  payloads = [];
  /** When each was sent. @type {number[]} */
  sentTimes = [];
  /** @type {Set<number>} */
  payloadTypes = new Set();

  /**
   * @param {Consumer} consumer
   * @param {IncomingStream} incoming
   */
  constructor(consumer, incoming) {
    const { receive } = incoming;

    this.consumer = consumer;
    this.#incoming = incoming;
    incoming.receive = (packet, size, now) => {
      receive.call(incoming, packet, size, now);
      this.payloads.push(packet.payload);
      this.sentTimes.push(incoming.newestSentAt);
      this.payloadTypes.add(packet.payloadType);
      this.events.emit('packet', packet);
    };
  }

  /** Waits until it has got something, or more than it had. */
  async hears(before = 0) {
    await eventUntil(this.events, 'packet', () => this.payloads.length > before);
  }

  /**
   * Waits until what was sent last is here.
   *
   * @param {CountedStream} stream
   */
  async hearsEnd(stream) {
    const what = `the end of ${stream.track.kind} at Consumer ${this.consumer.id}`;

    await within(this.#incoming.reached(stream.lastSentAt ?? 0), { ms: ARRIVAL_TIMEOUT, what });
  }

  /** Whether each packet came once and in its place, by their numbers. */
  get order() {
    const { lost, duplicates, reordered } = this.#incoming;

    return { lost, duplicates, reordered };
  }

  /** @param {number} index */
  isKeyFrame(index) {
    return parseVp8Descriptor(this.payloads[index] ?? Buffer.alloc(0))?.keyFrame ?? false;
  }

  /**
   * All that was sent since the first packet that came is here, as it was, in order and once.
   *
   * @param {CountedStream} stream
   */
  expectIntact(stream) {
    const [first = Buffer.alloc(0)] = this.payloads;
    const start = stream.sent.findIndex((payload) => payload.equals(first));
    const expected = stream.sent.slice(start);

    expect(start).toBeGreaterThanOrEqual(0);
    expect(this.payloads).toHaveLength(expected.length);
    expect(Buffer.concat(this.payloads).equals(Buffer.concat(expected))).toBe(true);
    expect(this.order).toEqual({ lost: 0, duplicates: 0, reordered: 0 });
    expect([...this.payloadTypes]).toEqual([this.consumer.rtpParameters.codecs[0]?.payloadType]);
    expect(this.consumer.kind === 'audio' || this.isKeyFrame(0)).toBe(true);
  }
}

/**
 * @param {Router} router
 * @param {number} port Where it sends to.
 */
async function openPlain(router, port) {
  const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: LOOPBACK };
  const transport = await router.createPlainTransport({ listenInfo });

  await transport.connect({ ip: LOOPBACK, port });

  return transport;
}

module.exports = { Heard, Listener };
