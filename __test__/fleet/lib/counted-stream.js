'use strict';

const { OutgoingStream } = require('../../../examples/lib/outgoing-stream');
const { packetiseVp8, parseVp8Descriptor } = require('../../../examples/lib/vp8-payload');
const { parseRtp } = require('../../../examples/lib/rtp-packet');

/** @import { Frame, Track } from '../../../examples/lib/clip' */
/** @import { EventEmitter } from 'node:events' */

const CODECS = {
  audio: { mimeType: 'audio/opus', clockRate: 48_000, channels: 2 },
  video: { mimeType: 'video/VP8', clockRate: 90_000 },
};
const PAYLOAD_TYPES = { audio: 97, video: 96 };
/** Frames of the loop: without being asked, video has a key frame only so seldom. */
const LOOP = 4096;
/** Where a frame holds its mark, and behind it its number. */
const MARK = 1;
const NUMBER = 2;

/**
 * @typedef {object} CountedOptions
 * @property {'audio' | 'video'} kind
 * @property {EventEmitter} events Told `sent` and `keyframerequest`.
 * @property {number} [rate] Frames a second.
 * @property {number} [size] Bytes of a frame.
 * @property {string} [cname] Default: one of its own.
 * @property {number} [mark] What tells its frames from those of others.
 */

/**
 * A stream of small frames, at a rate that many of them leave a busy machine its breath. Each
 * frame is one packet, and no two are the same.
 */
class CountedStream extends OutgoingStream {
  /** Payloads, as sent. @type {Buffer[]} */
  sent = [];
  /** When each was sent. @type {number[]} */
  sentTimes = [];
  #events;

  /** @param {CountedOptions} options */
  constructor({ kind, events, rate = 20, size = 60, mark = 0, cname = `counted-${mark}` }) {
    super(countedTrack({ kind, rate, size, mark }), {
      payloadType: PAYLOAD_TYPES[kind],
      cname,
    });
    this.#events = events;
  }

  /**
   * @override
   * @param {number} now
   */
  nextFrame(now) {
    const frame = super.nextFrame(now);

    for (const packet of frame.packets) {
      this.sent.push(parseRtp(packet)?.payload ?? Buffer.alloc(0));
      this.sentTimes.push(now);
    }
    this.#events.emit('sent');

    return frame;
  }

  /** @override */
  requestKeyFrame() {
    super.requestKeyFrame();
    this.#events.emit('keyframerequest');
  }
}

/**
 * @param {object} options
 * @param {'audio' | 'video'} options.kind
 * @param {number} options.rate
 * @param {number} options.size
 * @param {number} options.mark
 * @returns {Track}
 */
function countedTrack({ kind, rate, size, mark }) {
  const { clockRate } = CODECS[kind];
  const ticks = Math.round(clockRate / rate);
  const frames = Array.from({ length: LOOP }, (_, i) => {
    const keyFrame = kind === 'video' && i === 0;
    const data = Buffer.alloc(size, mark);

    // The lowest bit of a VP8 frame is 0 in key frames.
    data[0] = keyFrame ? 0 : 1;
    data[MARK] = mark;

    return { data, ticks, keyFrame };
  });

  return {
    kind,
    ...CODECS[kind],
    frames,
    packetise: (frame, count, maxPayload) => {
      const data = numbered(frame, count);

      return kind === 'video' ? packetiseVp8(data, count, maxPayload) : [data];
    },
  };
}

/**
 * @param {Frame} frame
 * @param {number} count
 * @returns {Buffer}
 */
function numbered({ data }, count) {
  const copy = Buffer.from(data);

  copy.writeUInt32BE(count, NUMBER);

  return copy;
}

/**
 * @param {Buffer} payload Of VP8.
 * @returns {number | undefined} The mark of the stream that it is of.
 */
function markOf(payload) {
  const { length = 0 } = parseVp8Descriptor(payload) ?? {};

  return payload[length + MARK];
}

module.exports = { CountedStream, markOf };
