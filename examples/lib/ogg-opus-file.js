'use strict';

/**
 * Reads Opus out of Ogg (RFC 7845), the container in which `examples/media` keeps its audio.
 *
 * @typedef {object} OggOpusFile
 * @property {number} channels
 * @property {{ samples: number, data: Buffer }[]} packets Samples at 48 kHz.
 */

const PAGE_HEADER_LENGTH = 27;

/**
 * @param {Buffer} file
 * @returns {OggOpusFile}
 */
function readOggOpus(file) {
  const [head, tags, ...packets] = readOggPackets(file);

  if (head?.toString('latin1', 0, 8) !== 'OpusHead' || head.length < 19) {
    throw new Error('the Ogg file does not hold Opus: no OpusHead');
  }

  if (tags?.toString('latin1', 0, 8) !== 'OpusTags') {
    throw new Error('the Ogg file does not hold Opus: no OpusTags');
  }

  return {
    channels: head.readUInt8(9),
    packets: packets.map((data) => ({ samples: countOpusSamples(data), data })),
  };
}

/**
 * @param {Buffer} file
 * @returns {Buffer[]}
 */
function readOggPackets(file) {
  /** @type {Buffer[]} */
  const packets = [];
  /** @type {Buffer[]} */
  let pieces = [];

  for (let offset = 0; offset < file.length; ) {
    if (file.toString('latin1', offset, offset + 4) !== 'OggS') {
      throw new Error(`no Ogg page at byte ${offset}`);
    }

    const segments = file.readUInt8(offset + 26);
    let body = offset + PAGE_HEADER_LENGTH + segments;

    for (let i = 0; i < segments; i++) {
      const length = file.readUInt8(offset + PAGE_HEADER_LENGTH + i);

      if (body + length > file.length) {
        throw new Error(`the Ogg file is cut in the middle of packet ${packets.length}`);
      }

      pieces.push(file.subarray(body, body + length));
      body += length;

      // A segment of 255 bytes says that the packet goes on, maybe on the next page.
      if (length < 255) {
        packets.push(Buffer.concat(pieces));
        pieces = [];
      }
    }

    offset = body;
  }

  return packets;
}

/**
 * The duration of an Opus packet, from its TOC byte (RFC 6716 section 3.1).
 *
 * @param {Buffer} packet
 * @returns {number} Samples at 48 kHz.
 */
function countOpusSamples(packet) {
  const toc = packet.readUInt8(0);
  const config = toc >> 3;
  let frameSamples;

  if (config < 12) {
    frameSamples = [480, 960, 1920, 2880][config & 3];
  } else if (config < 16) {
    frameSamples = [480, 960][config & 1];
  } else {
    frameSamples = [120, 240, 480, 960][config & 3];
  }

  const code = toc & 3;
  const frames = code === 3 ? packet.readUInt8(1) & 0x3f : Math.min(code + 1, 2);

  return /** @type {number} */ (frameSamples) * frames;
}

module.exports = { readOggOpus, countOpusSamples };
