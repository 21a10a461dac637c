'use strict';

const { ClipSender } = require('../../../examples/lib/clip-sender');
const { within } = require('../../../examples/lib/deadline');
const { RtpReceiver, receiverCapabilities } = require('../../../examples/lib/rtp-receiver');

/** @import { Router, TransportListenInfo } from 'mediasoup-upstream/types' */
/** @import { IncomingStream } from '../../../examples/lib/incoming-stream' */

const IP = '127.0.0.1';
/** Agents on other hosts send to this one's address there. */
const ANY = '0.0.0.0';
/** @type {TransportListenInfo} */
const LISTEN = { protocol: 'udp', ip: IP };
/** How long the first and the last packets may take. */
const PACKET_MS = 10_000;

/** Audio and video from this process through a Router and back. */
class MediaFlow {
  #sender;
  #receiver;
  /** @type {IncomingStream[]} */
  #incoming = [];
  #stopped = false;

  /**
   * Use `MediaFlow.open()`.
   *
   * @param {ClipSender} sender
   * @param {RtpReceiver} receiver
   */
  constructor(sender, receiver) {
    this.#sender = sender;
    this.#receiver = receiver;
  }

  /**
   * @param {Router} router
   * @returns {Promise<MediaFlow>} Whose packets arrive.
   */
  static async open(router) {
    const source = await router.createPlainTransport({ listenInfo: LISTEN, comedia: true });
    const sink = await router.createPlainTransport({ listenInfo: LISTEN });
    const { localAddress: ip, localPort: port } = source.tuple;
    const flow = new MediaFlow(await ClipSender.open({ ip, port }), await RtpReceiver.open(ANY));

    try {
      await sink.connect({ ip: IP, port: flow.#receiver.port });
      for (const { track, rtpParameters } of flow.#sender.streams) {
        const { id: producerId } = await source.produce({ kind: track.kind, rtpParameters });
        const rtpCapabilities = receiverCapabilities(router.rtpCapabilities);
        const consumer = await sink.consume({ producerId, rtpCapabilities });

        flow.#incoming.push(flow.#receiver.expect(consumer.rtpParameters));
      }
      flow.#sender.start();
      await flow.#reached(0.001, 'the first packets');
    } catch (error) {
      flow.close();
      throw error;
    }

    return flow;
  }

  /** Sends no more, and waits for the last packets. */
  async stop() {
    this.#sender.stop();
    // A lost one never comes, and is counted.
    await this.#reached(undefined, 'the last packets').catch((error) => {
      console.error(`soak: ${error.message}`);
    });
    this.#stopped = true;
  }

  /** What went wrong with the sockets here, such as a port that nobody has any more. */
  get errors() {
    return [this.#sender.error, this.#receiver.error].flatMap((error) => error?.message ?? []);
  }

  /** What came so far. Sequence numbers begin with the first packet that did. */
  get counts() {
    return this.#incoming.map((stream, i) => ({
      packets: stream.packets,
      // Until the end, what has not come may be under way.
      lost: stream.lost + (this.#stopped ? this.#tail(i) : 0),
      doubled: stream.duplicates,
      reordered: stream.reordered,
    }));
  }

  close() {
    this.#sender.close();
    this.#receiver.close();
  }

  /**
   * Packets that were sent after the last one that came.
   *
   * @param {number} index
   */
  #tail(index) {
    const newest = this.#incoming[index]?.newestSentAt ?? 0;

    // A time loses less than a microsecond on its way through the packet.
    return this.#sender.streams[index]?.countSince(newest + 0.001) ?? 0;
  }

  /**
   * @param {number | undefined} sentAt Default: when the last one was sent.
   * @param {string} what
   */
  async #reached(sentAt, what) {
    const all = this.#incoming.map((stream, i) => {
      return stream.reached(sentAt ?? this.#sender.streams[i]?.lastSentAt ?? 0);
    });

    await within(Promise.all(all), { ms: PACKET_MS, what });
  }
}

module.exports = { MediaFlow };
