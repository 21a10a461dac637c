'use strict';

const { ABS_CAPTURE_TIME_URI, readNtp } = require('./rtp-packet');
const { parseVp8Descriptor } = require('./vp8-payload');

/**
 * Counts what arrives of one RTP stream.
 *
 * @typedef {import('mediasoup-upstream/types').RtpParameters} RtpParameters
 * @typedef {import('./rtp-packet').RtpPacket} RtpPacket
 */

/** How far back, in packets, a late packet is told from a repeated one. */
const WINDOW = 4096;

class IncomingStream {
  #captureTimeId;
  #isVp8;
  /** @type {number | undefined} */
  #first;
  #highest = -1;
  /** The extended sequence number last seen at each place of the window. */
  #seen = new Float64Array(WINDOW).fill(-1);
  /** @type {number[]} */
  #delays = [];
  /** @type {{ sentAt: number, resolve: () => void }[]} */
  #waiting = [];

  /** @param {RtpParameters} rtpParameters Those of the Consumer. */
  constructor(rtpParameters) {
    const ssrc = rtpParameters.encodings?.[0]?.ssrc;

    if (ssrc === undefined) {
      throw new Error('the Consumer has no SSRC');
    }

    this.ssrc = ssrc;
    this.packets = 0;
    this.bytes = 0;
    this.duplicates = 0;
    this.reordered = 0;
    this.keyFrames = 0;
    /** When the newest packet was sent, in milliseconds since 1970. */
    this.newestSentAt = 0;
    this.#isVp8 = rtpParameters.codecs[0]?.mimeType.toLowerCase() === 'video/vp8';
    this.#captureTimeId = rtpParameters.headerExtensions?.find(
      ({ uri }) => uri === ABS_CAPTURE_TIME_URI,
    )?.id;
  }

  /** Packets that are missing between the first and the last one that came. */
  get lost() {
    return this.#first === undefined ? 0 : this.#highest - this.#first + 1 - this.packets;
  }

  /**
   * @param {RtpPacket} packet
   * @param {number} size Bytes of the whole packet.
   * @param {number} now Milliseconds since 1970.
   */
  receive(packet, size, now) {
    const sequenceNumber = this.#extend(packet.sequenceNumber);
    const place = sequenceNumber % WINDOW;

    // Older than the window: already counted as lost, or a duplicate. It cannot be told.
    if (sequenceNumber <= this.#highest - WINDOW || this.#seen[place] === sequenceNumber) {
      this.duplicates += 1;

      return;
    }

    this.#seen[place] = sequenceNumber;
    this.reordered += sequenceNumber < this.#highest ? 1 : 0;
    this.#first = Math.min(this.#first ?? sequenceNumber, sequenceNumber);
    this.#highest = Math.max(this.#highest, sequenceNumber);
    this.packets += 1;
    this.bytes += size;

    if (this.#isVp8 && parseVp8Descriptor(packet.payload)?.keyFrame) {
      this.keyFrames += 1;
    }

    this.#readCaptureTime(packet, now);
  }

  /**
   * Waits for a packet that was sent at or after a time.
   *
   * @param {number} sentAt Milliseconds since 1970.
   * @returns {Promise<void>}
   */
  async reached(sentAt) {
    if (!isReached(this.newestSentAt, sentAt)) {
      await new Promise((resolve) => {
        this.#waiting.push({ sentAt, resolve: () => resolve(undefined) });
      });
    }
  }

  /**
   * The delay from sender to receiver.
   *
   * @returns {{ p50: number | null, p95: number | null }} Milliseconds.
   */
  delay() {
    const sorted = this.#delays.toSorted((a, b) => a - b);

    return { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95) };
  }

  /**
   * @param {RtpPacket} packet
   * @param {number} now
   */
  #readCaptureTime(packet, now) {
    const value = packet.extensions.get(this.#captureTimeId ?? -1);

    if (value === undefined || value.length < 8) {
      return;
    }

    const sentAt = readNtp(value, 0);

    this.#delays.push(now - sentAt);
    this.newestSentAt = Math.max(this.newestSentAt, sentAt);
    this.#waiting = this.#waiting.filter((waiting) => {
      const reached = isReached(this.newestSentAt, waiting.sentAt);

      if (reached) {
        waiting.resolve();
      }

      return !reached;
    });
  }

  /**
   * @param {number} sequenceNumber Of 16 bits.
   * @returns {number} The same without wrapping.
   */
  #extend(sequenceNumber) {
    if (this.#first === undefined) {
      // One round up, so that packets from before the first one stay positive.
      return sequenceNumber + 0x1_0000;
    }

    const distance = (sequenceNumber - this.#highest) & 0xffff;

    return this.#highest + (distance < 0x8000 ? distance : distance - 0x1_0000);
  }
}

/**
 * @param {number} newest
 * @param {number} wanted
 * @returns {boolean}
 */
function isReached(newest, wanted) {
  // A time loses less than a microsecond on its way through the format of NTP.
  return newest >= wanted - 0.001;
}

/**
 * @param {number[]} sorted
 * @param {number} q
 * @returns {number | null} Null if there is none.
 */
function quantile(sorted, q) {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

  return value === undefined ? null : Math.round(value * 1000) / 1000;
}

module.exports = { IncomingStream };
