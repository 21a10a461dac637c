'use strict';

const { CountedStream } = require('./counted-stream');

/** @import { Frame, Track } from '../../../examples/lib/clip' */
/** @import { CountedOptions } from './counted-stream' */

const SPATIAL_LAYERS = 3;
/** Of the VP9 payload descriptor: a picture id, inter-picture prediction, layers, begin, end. */
const [I, P, L, B, E] = [0x80, 0x40, 0x20, 0x08, 0x04];
const DEPENDS = 0x01;
/** Where the spatial layer stands, behind the picture id. */
const LAYER = 3;

/**
 * VP9 with three spatial layers in one stream: a packet of each in every picture.
 */
class SvcStream extends CountedStream {
  /** @param {CountedOptions} options */
  constructor(options) {
    super(options);

    const { packetise } = this.track;

    /** @type {Track} */
    this.track = {
      ...this.track,
      mimeType: 'video/VP9',
      packetise: (frame, count, maxPayload) =>
        packetise(frame, count, maxPayload).flatMap((payload) => pictureOf(payload, frame, count)),
    };
  }

  /** @override */
  get rtpParameters() {
    const { encodings = [], ...rest } = super.rtpParameters;
    const scalabilityMode = `L${SPATIAL_LAYERS}T1`;

    return { ...rest, encodings: encodings.map((one) => ({ ...one, scalabilityMode })) };
  }
}

/**
 * @param {Buffer} content
 * @param {Frame} frame
 * @param {number} count
 * @returns {Buffer[]}
 */
function pictureOf(content, { keyFrame }, count) {
  return Array.from({ length: SPATIAL_LAYERS }, (_, layer) => {
    const descriptor = Buffer.alloc(5);

    descriptor[0] = I | (keyFrame ? 0 : P) | L | B | E;
    descriptor.writeUInt16BE(0x8000 | (count & 0x7fff), 1);
    descriptor[LAYER] = (layer << 1) | (layer > 0 ? DEPENDS : 0);
    descriptor[4] = count & 0xff; // TL0PICIDX.

    return Buffer.concat([descriptor, content]);
  });
}

/** @param {Buffer} payload */
function layerOf(payload) {
  return ((payload[LAYER] ?? 0) >> 1) & 0x07;
}

module.exports = { SvcStream, layerOf };
