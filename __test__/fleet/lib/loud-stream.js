'use strict';

const { CountedStream } = require('./counted-stream');

/** What mediasoup knows it as. @type {'urn:ietf:params:rtp-hdrext:ssrc-audio-level'} */
const LEVEL_URI = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level';
const LEVEL_ID = 2;
/** Where the one header extension of a packet ends: three bytes of padding follow. */
const EXTENSIONS_END = 25;

/**
 * An audio stream whose packets say how loud they are.
 */
class LoudStream extends CountedStream {
  /** In -dBov: 0 is as loud as can be, 127 is silence. */
  level = 127;

  /** @override */
  get rtpParameters() {
    const parameters = super.rtpParameters;

    return {
      ...parameters,
      headerExtensions: [...(parameters.headerExtensions ?? []), { uri: LEVEL_URI, id: LEVEL_ID }],
    };
  }

  /**
   * @override
   * @param {number} now
   */
  nextFrame(now) {
    const frame = super.nextFrame(now);

    for (const packet of frame.packets) {
      packet[EXTENSIONS_END] = LEVEL_ID << 4;
      packet[EXTENSIONS_END + 1] = this.level;
    }

    return frame;
  }
}

module.exports = { LoudStream };
