'use strict';

const { once } = require('node:events');
const dgram = require('node:dgram');
const { loadClip } = require('./clip');
const { OutgoingStream } = require('./outgoing-stream');
const { isRtcp, parseKeyFrameRequests } = require('./rtcp-packet');
const { wallClock } = require('./rtp-packet');

/**
 * Sends the clip as RTP in real time, both tracks from one UDP port, with RTCP on the same port:
 * a sender report each second out, key frame requests in.
 */

const REPORT_INTERVAL = 1000;
/** Later than this, packets are not caught up with: a burst would overflow buffers on the way. */
const MAX_LATENESS = 500;

class ClipSender {
  #socket;
  #reportDueAt = 0;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  /** @type {Error | undefined} */
  #error;
  #closed = false;

  /**
   * Use `ClipSender.open()`.
   *
   * @param {dgram.Socket} socket
   */
  constructor(socket) {
    const clip = loadClip();

    this.#socket = socket;
    this.video = new OutgoingStream(clip.video, { payloadType: 96, cname: 'clip' });
    this.audio = new OutgoingStream(clip.audio, { payloadType: 97, cname: 'clip' });
    socket.on('message', (data) => this.#receive(data));
    socket.on('error', (error) => {
      this.#error ??= error;
    });
  }

  /**
   * @param {object} to
   * @param {string} to.ip
   * @param {number} to.port
   * @returns {Promise<ClipSender>}
   */
  static async open({ ip, port }) {
    const socket = dgram.createSocket(ip.includes(':') ? 'udp6' : 'udp4');

    socket.connect(port, ip);
    await once(socket, 'connect').catch((error) => {
      socket.close();
      throw error;
    });

    return new ClipSender(socket);
  }

  get streams() {
    return [this.video, this.audio];
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

module.exports = { ClipSender };
