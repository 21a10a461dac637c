'use strict';

const { once } = require('node:events');
const dgram = require('node:dgram');
const { isRtcp, parseKeyFrameRequests } = require('./rtcp-packet');
const { wallClock } = require('./rtp-packet');

/**
 * Sends RTP streams in real time from one UDP port, with RTCP on the same port: a sender report
 * each second out, key frame requests in.
 *
 * @typedef {import('./outgoing-stream').OutgoingStream} OutgoingStream
 */

const REPORT_INTERVAL = 1000;
/** Later than this, packets are not caught up with: a burst would overflow buffers on the way. */
const MAX_LATENESS = 500;

class RtpSender {
  #socket;
  #streams;
  #reportDueAt = 0;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  /** @type {Error | undefined} */
  #error;
  #closed = false;

  /**
   * Use `RtpSender.bind()`.
   *
   * @param {dgram.Socket} socket
   * @param {OutgoingStream[]} streams
   */
  constructor(socket, streams) {
    this.#socket = socket;
    this.#streams = streams;
    socket.on('message', (data) => this.#receive(data));
    socket.on('error', (error) => {
      this.#error ??= error;
    });
  }

  /**
   * @param {OutgoingStream[]} streams
   * @param {string} ip
   * @returns {Promise<RtpSender>} With a port, and nobody to send to yet.
   */
  static async bind(streams, ip) {
    return new RtpSender(await bindSocket(ip), streams);
  }

  /**
   * Says whom to send to.
   *
   * @param {object} to
   * @param {string} to.ip
   * @param {number} to.port
   */
  async connect({ ip, port }) {
    this.#socket.connect(port, ip);
    await once(this.#socket, 'connect').catch((error) => {
      this.close();
      throw error;
    });
  }

  get streams() {
    return this.#streams;
  }

  get port() {
    return this.#socket.address().port;
  }

  /** The first error of the socket, if any: a refused port, an unreachable network. */
  get error() {
    return this.#error;
  }

  start() {
    const now = performance.now();

    this.#reportDueAt = now;

    for (const stream of this.streams) {
      stream.dueAt = now;
    }

    this.#tick();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  close() {
    if (!this.#closed) {
      this.#closed = true;
      this.stop();
      this.#socket.close();
    }
  }

  /** Sends all that is due, then sleeps until the next frame. Dates are absolute: no drift. */
  #tick() {
    const now = performance.now();

    for (const stream of this.streams) {
      this.#sendDueFrames(stream, now);
    }

    if (now >= this.#reportDueAt) {
      this.#reportDueAt = Math.max(this.#reportDueAt + REPORT_INTERVAL, now);
      this.#sendReports();
    }

    const next = Math.min(...this.streams.map(({ dueAt }) => dueAt ?? Infinity));

    this.#timer = setTimeout(() => this.#tick(), Math.max(0, next - performance.now()));
  }

  /**
   * @param {OutgoingStream} stream
   * @param {number} now
   */
  #sendDueFrames(stream, now) {
    if (stream.dueAt !== undefined && now - stream.dueAt > MAX_LATENESS) {
      stream.dueAt = now;
    }

    while (stream.dueAt !== undefined && stream.dueAt <= now) {
      const { packets, duration } = stream.nextFrame(wallClock());

      for (const packet of packets) {
        this.#send(packet);
      }

      stream.dueAt += duration;
    }
  }

  #sendReports() {
    for (const stream of this.streams) {
      const untilDue = (stream.dueAt ?? 0) - performance.now();

      this.#send(stream.senderReport(wallClock(), untilDue));
    }
  }

  /** @param {Buffer} data */
  #send(data) {
    this.#socket.send(data, (error) => {
      // Closing the socket fails what was still in its queue.
      if (error && !this.#closed) {
        this.#error ??= error;
      }
    });
  }

  /** @param {Buffer} data */
  #receive(data) {
    const requested = isRtcp(data) ? parseKeyFrameRequests(data) : [];

    for (const stream of this.streams) {
      if (requested.includes(stream.ssrc)) {
        stream.requestKeyFrame();
      }
    }
  }
}

/**
 * @param {string} ip
 * @returns {Promise<dgram.Socket>}
 */
async function bindSocket(ip) {
  const socket = dgram.createSocket(ip.includes(':') ? 'udp6' : 'udp4');

  socket.bind(0, ip);
  await once(socket, 'listening');

  return socket;
}

module.exports = { RtpSender, bindSocket };
