'use strict';

const { once } = require('node:events');
const dgram = require('node:dgram');
const { IncomingStream } = require('./incoming-stream');
const { isRtcp } = require('./rtcp-packet');
const { parseRtp, wallClock } = require('./rtp-packet');

/** Receives RTP on a UDP port of this host and counts it by stream. */

class RtpReceiver {
  #socket;
  /** @type {Map<number, IncomingStream>} */
  #streams = new Map();
  /** @type {Error | undefined} */
  #error;
  #closed = false;

  /**
   * Use `RtpReceiver.open()`.
   *
   * @param {dgram.Socket} socket
   */
  constructor(socket) {
    this.#socket = socket;
    /** Packets of streams that nobody expects. */
    this.unexpected = 0;
    socket.on('message', (data) => this.#receive(data));
    socket.on('error', (error) => {
      this.#error ??= error;
    });
  }

  /**
   * @param {string} ip
   * @returns {Promise<RtpReceiver>}
   */
  static async open(ip) {
    const socket = dgram.createSocket(ip.includes(':') ? 'udp6' : 'udp4');

    socket.bind(0, ip);
    await once(socket, 'listening');

    return new RtpReceiver(socket);
  }

  /** The first error of the socket, if any. */
  get error() {
    return this.#error;
  }

  get ip() {
    return this.#socket.address().address;
  }

  get port() {
    return this.#socket.address().port;
  }

  /**
   * @param {import('mediasoup-upstream/types').RtpParameters} rtpParameters Of the Consumer.
   * @returns {IncomingStream}
   */
  expect(rtpParameters) {
    const stream = new IncomingStream(rtpParameters);

    this.#streams.set(stream.ssrc, stream);

    return stream;
  }

  close() {
    if (!this.#closed) {
      this.#closed = true;
      this.#socket.close();
    }
  }

  /** @param {Buffer} data */
  #receive(data) {
    const now = wallClock();
    const packet = isRtcp(data) ? undefined : parseRtp(data);

    if (packet) {
      const stream = this.#streams.get(packet.ssrc);

      if (stream) {
        stream.receive(packet, data.length, now);
      } else {
        this.unexpected += 1;
      }
    }
  }
}

/**
 * What this receiver understands: no retransmissions, and no bandwidth estimation, which
 * would make mediasoup send probes.
 *
 * @param {import('mediasoup-upstream/types').RtpCapabilities} capabilities Of the Router.
 * @returns {import('mediasoup-upstream/types').RtpCapabilities}
 */
function receiverCapabilities({ codecs, headerExtensions }) {
  return {
    codecs: codecs
      ?.filter(({ mimeType }) => !mimeType.toLowerCase().endsWith('/rtx'))
      .map((codec) => ({
        ...codec,
        rtcpFeedback: codec.rtcpFeedback?.filter(
          ({ type, parameter }) => parameter === 'pli' || (type === 'ccm' && parameter === 'fir'),
        ),
      })),
    headerExtensions: headerExtensions?.filter(({ uri }) => uri.endsWith('/abs-capture-time')),
  };
}

module.exports = { RtpReceiver, receiverCapabilities };
