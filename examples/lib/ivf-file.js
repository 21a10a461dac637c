'use strict';

/**
 * Reads IVF, the simple container in which `examples/media` keeps its VP8 video.
 *
 * @typedef {object} IvfFile
 * @property {number} width
 * @property {number} height
 * @property {number} ticksPerSecond Ticks of `pts` in one second.
 * @property {{ pts: number, data: Buffer }[]} frames
 */

const FILE_HEADER_LENGTH = 32;
const FRAME_HEADER_LENGTH = 12;

/**
 * @param {Buffer} file
 * @returns {IvfFile}
 */
function readIvf(file) {
  if (file.length < FILE_HEADER_LENGTH || file.toString('latin1', 0, 4) !== 'DKIF') {
    throw new Error('not an IVF file: it does not begin with DKIF');
  }

  const codec = file.toString('latin1', 8, 12);

  if (codec !== 'VP80') {
    throw new Error(`the IVF file holds ${codec}, not VP8`);
  }

  /** @type {IvfFile} */
  const ivf = {
    width: file.readUInt16LE(12),
    height: file.readUInt16LE(14),
    ticksPerSecond: file.readUInt32LE(16) / file.readUInt32LE(20),
    frames: [],
  };

  for (let offset = file.readUInt16LE(6); offset < file.length; ) {
    const start = offset + FRAME_HEADER_LENGTH;
    const end = start <= file.length ? start + file.readUInt32LE(offset) : Infinity;

    if (end > file.length) {
      throw new Error(`the IVF file is cut in the middle of frame ${ivf.frames.length}`);
    }

    ivf.frames.push({
      pts: Number(file.readBigUInt64LE(offset + 4)),
      data: file.subarray(start, end),
    });
    offset = end;
  }

  return ivf;
}

module.exports = { readIvf };
