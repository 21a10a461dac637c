'use strict';

const { EventEmitter } = require('node:events');
const { RtpSender } = require('../../../examples/lib/rtp-sender');
const { eventUntil } = require('../../support/events');
const { CountedStream } = require('./counted-stream');

/** @import { PipeTransport, PlainTransport, Producer, Router, RtpParameters } from 'mediasoup-upstream/types' */
/** @import { CountedOptions } from './counted-stream' */

const LOOPBACK = '127.0.0.1';

/**
 * Where media comes from: a transport, what sends to it, and a Producer of each stream.
 */
class Source {
  #sender;
  /** @type {Producer[]} */
  #producers = [];

  /**
   * Use `Source.open()`.
   *
   * @param {EventEmitter} events
   * @param {CountedStream[]} streams
   * @param {RtpSender} sender
   * @param {PlainTransport | PipeTransport} transport
   */
  constructor(events, streams, sender, transport) {
    this.events = events;
    this.streams = streams;
    this.#sender = sender;
    this.transport = transport;
  }

  /**
   * @param {Router} router
   * @param {Omit<CountedOptions, 'events'>[]} streams
   * @param {object} [options]
   * @param {typeof CountedStream} [options.Stream]
   * @param {boolean} [options.overPipe] From a PipeTransport, whose loss its Worker survives.
   * @param {(streams: CountedStream[]) => RtpParameters[]} [options.parameters] Of the Producers.
   * Default: one of each stream.
   * @returns {Promise<Source>}
   */
  static async open(router, streams, options = {}) {
    const { Stream = CountedStream, overPipe = false, parameters = ownParameters } = options;
    const events = new EventEmitter();
    const counted = streams.map((one) => new Stream({ ...one, events }));
    const sender = await RtpSender.bind(counted, '0.0.0.0');

    try {
      const transport = await (overPipe ? openPipe(router, sender.port) : openPlain(router));
      const source = new Source(events, counted, sender, transport);
      const { localAddress: ip, localPort: port } = transport.tuple;

      await sender.connect({ ip, port });

      for (const rtpParameters of parameters(counted)) {
        const kind = rtpParameters.codecs[0]?.mimeType.startsWith('audio') ? 'audio' : 'video';

        source.#producers.push(await transport.produce({ kind, rtpParameters }));
      }

      return source;
    } catch (error) {
      sender.close();
      throw error;
    }
  }

  get producers() {
    return this.#producers;
  }

  /** The first one, which often is the only one. */
  get producer() {
    return /** @type {Producer} */ (this.#producers[0]);
  }

  /** The first one, which often is the only one. */
  get stream() {
    return /** @type {CountedStream} */ (this.streams[0]);
  }

  start() {
    this.#sender.start();
  }

  /**
   * Waits until each stream has sent that many more frames.
   *
   * @param {number} count
   */
  async frames(count) {
    const goals = this.streams.map(({ sent }) => sent.length + count);

    await eventUntil(this.events, 'sent', () =>
      this.streams.every(({ sent }, i) => sent.length >= (goals[i] ?? 0)),
    );
  }

  /**
   * Waits until it has been asked for more key frames than before.
   *
   * @param {number} before
   */
  async keyFrameAsked(before) {
    await eventUntil(this.events, 'keyframerequest', () => this.stream.keyFrameRequests > before);
  }

  stop() {
    this.#sender.stop();

    if (this.#sender.error) {
      throw this.#sender.error;
    }
  }

  close() {
    this.#sender.close();
  }
}

/** @param {CountedStream[]} streams */
function ownParameters(streams) {
  return streams.map(({ rtpParameters }) => rtpParameters);
}

/** @param {Router} router */
function openPlain(router) {
  return router.createPlainTransport({
    listenInfo: { protocol: 'udp', ip: LOOPBACK },
    comedia: true,
  });
}

/**
 * @param {Router} router
 * @param {number} port Where its other end is.
 */
async function openPipe(router, port) {
  const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: LOOPBACK };
  const transport = await router.createPipeTransport({ listenInfo });

  await transport.connect({ ip: LOOPBACK, port });

  return transport;
}

module.exports = { LOOPBACK, Source, openPipe };
