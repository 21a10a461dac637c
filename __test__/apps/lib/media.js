'use strict';

const { EventEmitter } = require('node:events');
const { within } = require('../../../examples/lib/deadline');
const { RtpReceiver } = require('../../../examples/lib/rtp-receiver');
const { wallClock } = require('../../../examples/lib/rtp-packet');
const { RtpSender } = require('../../../examples/lib/rtp-sender');
const { CountedStream } = require('../../fleet/lib/counted-stream');
const { LoudStream } = require('../../fleet/lib/loud-stream');

const MEDIA_TIMEOUT = 15_000;
/** mediasoup takes nobody for a speaker who was not heard for a while. */
const RATE = 50;

/**
 * What the clients of one app send and receive, over UDP.
 */
class Media {
  /** @type {{ close(): void }[]} */
  #open = [];

  /**
   * A microphone or a camera.
   *
   * @param {'audio' | 'video'} kind
   * @returns {Promise<{ stream: CountedStream, sendTo(port: number): Promise<void>, stop(): void }>}
   */
  async source(kind) {
    const Stream = kind === 'audio' ? LoudStream : CountedStream;
    // The same cname each time: it is part of what the apps answer.
    const stream = new Stream({ kind, events: new EventEmitter(), rate: RATE, cname: kind });
    const sender = await RtpSender.bind([stream], '127.0.0.1');

    this.#open.push(sender);

    return {
      stream,
      async sendTo(port) {
        await sender.connect({ ip: '127.0.0.1', port });
        sender.start();
      },
      stop: () => sender.stop(),
    };
  }

  /**
   * A speaker or a screen.
   *
   * @returns {Promise<RtpReceiver>}
   */
  async sink() {
    const receiver = await RtpReceiver.open('127.0.0.1');

    this.#open.push(receiver);

    return receiver;
  }

  close() {
    for (const one of this.#open) {
      one.close();
    }
  }
}

/**
 * Waits for media that is sent from now on.
 *
 * @param {import('../../../examples/lib/incoming-stream').IncomingStream} stream
 */
function flows(stream) {
  return within(stream.reached(wallClock()), {
    ms: MEDIA_TIMEOUT,
    what: `media of SSRC ${stream.ssrc}, after ${stream.packets} packets`,
  });
}

module.exports = { Media, flows };
