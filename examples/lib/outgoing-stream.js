'use strict';

const { randomInt } = require('node:crypto');
const { buildSenderReport } = require('./rtcp-packet');
const { ABS_CAPTURE_TIME_URI, HEADER_LENGTH, buildRtp } = require('./rtp-packet');

/**
 * One track of the clip as an RTP stream that goes on for ever: the clip is looped, while sequence
 * numbers, timestamps and picture ids run on.
 *
 * @typedef {import('./clip').Track} Track
 */

/** A size that fits every path, with room for what SRTP and tunnels add. */
const MAX_PACKET = 1200;
const CAPTURE_TIME_ID = 1;

class OutgoingStream {
  #ssrc = randomInt(1, 2 ** 32);
  #payloadType;
  #cname;
  #sequenceNumber = randomInt(2 ** 15);
  #timestamp = randomInt(2 ** 32);
  /** Index in the clip of the next frame. */
  #position = 0;
  #frames = 0;
  #payloadBytes = 0;
  /** @type {number[]} */
  #sentAt = [];

  /**
   * @param {Track} track
   * @param {object} options
   * @param {number} options.payloadType
   * @param {string} options.cname
   */
  constructor(track, { payloadType, cname }) {
    this.track = track;
    this.#payloadType = payloadType;
    this.#cname = cname;
    this.packets = 0;
    this.bytes = 0;
    this.keyFrames = 0;
    this.keyFrameRequests = 0;
    /** When the next frame is due, on the clock of the sender. Undefined before the first. */
    this.dueAt = /** @type {number | undefined} */ (undefined);
  }

  get ssrc() {
    return this.#ssrc;
  }

  /** When the last packet was sent, in milliseconds since 1970. */
  get lastSentAt() {
    return this.#sentAt.at(-1);
  }

  /**
   * What to give to `transport.produce()`.
   *
   * @returns {import('mediasoup-upstream/types').RtpParameters}
   */
  get rtpParameters() {
    const { kind, mimeType, clockRate, channels } = this.track;

    return {
      codecs: [
        {
          mimeType: /** @type {`${'audio' | 'video'}/${string}`} */ (mimeType),
          payloadType: this.#payloadType,
          clockRate,
          ...(channels === undefined ? {} : { channels }),
          rtcpFeedback:
            kind === 'video'
              ? [
                  { type: 'nack', parameter: 'pli' },
                  { type: 'ccm', parameter: 'fir' },
                ]
              : [],
        },
      ],
      headerExtensions: [{ uri: ABS_CAPTURE_TIME_URI, id: CAPTURE_TIME_ID }],
      encodings: [{ ssrc: this.#ssrc }],
      rtcp: { cname: this.#cname },
    };
  }

  /**
   * How many packets were sent at or after a time.
   *
   * @param {number} time Milliseconds since 1970.
   * @returns {number}
   */
  countSince(time) {
    return this.#sentAt.length - this.#sentAt.findLastIndex((sentAt) => sentAt < time) - 1;
  }

  /**
   * The packets of the next frame. Moves on to the one after it.
   *
   * @param {number} now Milliseconds since 1970.
   * @returns {{ packets: Buffer[], duration: number }} Duration of the frame in milliseconds.
   */
  nextFrame(now) {
    const { frames, packetise, clockRate } = this.track;
    const frame = /** @type {import('./clip').Frame} */ (frames[this.#position]);
    const payloads = packetise(frame, this.#frames, MAX_PACKET - HEADER_LENGTH);
    const packets = payloads.map((payload, i) =>
      buildRtp({
        payloadType: this.#payloadType,
        // In audio the marker means the first packet after silence, which the clip has not.
        marker: this.track.kind === 'video' && i === payloads.length - 1,
        sequenceNumber: this.#sequenceNumber++,
        timestamp: this.#timestamp,
        ssrc: this.#ssrc,
        captureTimeId: CAPTURE_TIME_ID,
        captureTime: now,
        payload,
      }),
    );

    for (const [i, packet] of packets.entries()) {
      this.#sentAt.push(now);
      this.#payloadBytes += payloads[i]?.length ?? 0;
      this.bytes += packet.length;
    }

    this.packets += packets.length;
    this.keyFrames += frame.keyFrame ? 1 : 0;
    this.#frames += 1;
    this.#position = (this.#position + 1) % frames.length;
    this.#timestamp += frame.ticks;

    return { packets, duration: (frame.ticks / clockRate) * 1000 };
  }

  /** Makes a key frame the next one, by a jump in the clip. */
  requestKeyFrame() {
    const { frames } = this.track;

    this.keyFrameRequests += 1;

    for (let i = 0; i < frames.length; i++) {
      const position = (this.#position + i) % frames.length;

      if (frames[position]?.keyFrame) {
        this.#position = position;

        return;
      }
    }
  }

  /**
   * @param {number} now Milliseconds since 1970.
   * @param {number} untilDue Milliseconds until the next frame is due.
   * @returns {Buffer}
   */
  senderReport(now, untilDue) {
    return buildSenderReport({
      ssrc: this.#ssrc,
      time: now,
      timestamp: this.#timestamp - Math.round((untilDue / 1000) * this.track.clockRate),
      packets: this.packets,
      payloadBytes: this.#payloadBytes,
      cname: this.#cname,
    });
  }
}

module.exports = { OutgoingStream };
