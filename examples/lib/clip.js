'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { readIvf } = require('./ivf-file');
const { readOggOpus } = require('./ogg-opus-file');
const { isVp8KeyFrame, packetiseVp8 } = require('./vp8-payload');

/**
 * The clip of `examples/media`, ready to be sent.
 *
 * @typedef {object} Frame
 * @property {Buffer} data
 * @property {number} ticks Duration in ticks of the RTP clock.
 * @property {boolean} keyFrame
 *
 * @typedef {object} Track
 * @property {'audio' | 'video'} kind
 * @property {string} mimeType
 * @property {number} clockRate
 * @property {number} [channels]
 * @property {Frame[]} frames
 * @property {(frame: Frame, count: number, maxPayload: number) => Buffer[]} packetise
 *   RTP payloads of a frame, which is the `count`th that is sent.
 */

const MEDIA = path.join(__dirname, '..', 'media');
const VIDEO_CLOCK_RATE = 90_000;

/**
 * @param {string} [folder]
 * @returns {{ video: Track, audio: Track }}
 */
function loadClip(folder = MEDIA) {
  return {
    video: loadVideo(path.join(folder, 'clip.ivf')),
    audio: loadAudio(path.join(folder, 'clip.ogg')),
  };
}

/**
 * @param {string} file
 * @returns {Track}
 */
function loadVideo(file) {
  const { frames, ticksPerSecond } = readIvf(fs.readFileSync(file));
  const scale = VIDEO_CLOCK_RATE / ticksPerSecond;
  /** @type {Track} */
  const track = {
    kind: 'video',
    mimeType: 'video/VP8',
    clockRate: VIDEO_CLOCK_RATE,
    frames: frames.map(({ pts, data }, i) => {
      const next = frames[i + 1]?.pts;
      const previous = frames[i - 1]?.pts ?? pts - 1;
      // The last frame lasts as long as the one before it.
      const duration = next === undefined ? pts - previous : next - pts;

      return { data, ticks: Math.round(duration * scale), keyFrame: isVp8KeyFrame(data[0] ?? 1) };
    }),
    packetise: (frame, count, maxPayload) => packetiseVp8(frame.data, count, maxPayload),
  };

  if (!track.frames[0]?.keyFrame) {
    throw new Error(`${file} does not begin with a key frame`);
  }

  return track;
}

/**
 * @param {string} file
 * @returns {Track}
 */
function loadAudio(file) {
  const { packets } = readOggOpus(fs.readFileSync(file));

  if (packets.length === 0) {
    throw new Error(`${file} holds no audio`);
  }

  return {
    kind: 'audio',
    mimeType: 'audio/opus',
    clockRate: 48_000,
    // RFC 7587: Opus is always announced with two channels, whatever it holds.
    channels: 2,
    frames: packets.map(({ samples, data }) => ({ data, ticks: samples, keyFrame: false })),
    packetise: (frame) => [frame.data],
  };
}

module.exports = { loadClip };
