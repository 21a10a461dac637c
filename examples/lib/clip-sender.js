'use strict';

const { loadClip } = require('./clip');
const { OutgoingStream } = require('./outgoing-stream');
const { RtpSender, bindSocket } = require('./rtp-sender');

/**
 * Sends the clip as RTP in real time, both tracks from one UDP port.
 */
class ClipSender extends RtpSender {
  /**
   * Use `ClipSender.open()`.
   *
   * @param {import('node:dgram').Socket} socket
   */
  constructor(socket) {
    const [video, audio] = clipStreams();

    super(socket, [video, audio]);
    this.video = video;
    this.audio = audio;
  }

  /**
   * @param {object} to
   * @param {string} to.ip
   * @param {number} to.port
   * @returns {Promise<ClipSender>}
   */
  static async open({ ip, port }) {
    const sender = new ClipSender(await bindSocket(ip.includes(':') ? '::' : '0.0.0.0'));

    await sender.connect({ ip, port });

    return sender;
  }
}

/** @returns {[OutgoingStream, OutgoingStream]} */
function clipStreams() {
  const clip = loadClip();

  return [
    new OutgoingStream(clip.video, { payloadType: 96, cname: 'clip' }),
    new OutgoingStream(clip.audio, { payloadType: 97, cname: 'clip' }),
  ];
}

module.exports = { ClipSender };
