'use strict';

const { ClipSender } = require('../../examples/lib/clip-sender');
const { pause } = require('../../examples/lib/deadline');
const { listDescendants } = require('../../examples/lib/process-tree');
const { wallClock } = require('../../examples/lib/rtp-packet');
const { RtpReceiver, receiverCapabilities } = require('../../examples/lib/rtp-receiver');
const { cpuOfProcess } = require('./cpu');
const { Sink } = require('./sink');
const { quantile } = require('./statistics');

/** @import { Producer, Router, Worker } from 'mediasoup-upstream/types' */
/** @import { IncomingStream } from '../../examples/lib/incoming-stream' */
/** @import { OutgoingStream } from '../../examples/lib/outgoing-stream' */
/** @import { CpuClock } from './cpu' */

const LOCAL_IP = '127.0.0.1';
/** @type {import('mediasoup-upstream/types').TransportListenInfo} */
const LISTEN = { protocol: 'udp', ip: LOCAL_IP };
const SPEAKERS = 4;
/** One listener of so many is received. What is sent to the others nobody reads. */
const SAMPLE = 10;
/** How long the last packets may take. */
const DRAIN_MS = 500;

/** @type {import('mediasoup-upstream/types').RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];

/**
 * @typedef {object} Sample A Consumer that is received, and whom it hears.
 * @property {OutgoingStream} source
 * @property {number} from Of the window, in milliseconds since 1970.
 * @property {number} to
 * @property {number} packets Of those that were sent in the window.
 * @property {number[]} delays
 */

/**
 * @typedef {object} CrowdMeasure
 * @property {number} consumers
 * @property {number} loss Share of the packets sent that did not come, in percent.
 * @property {number} delayP95Ms From sender to receiver.
 * @property {number[]} cpuPercent Of a core, of each mediasoup-worker.
 */

/** @typedef {{ producers: Producer[], streams: OutgoingStream[] }} Speaker */

/**
 * One Router with some who speak and many who listen.
 */
class Crowd {
  #worker;
  #router;
  /** @type {ClipSender[]} */
  #senders = [];
  /** @type {Speaker[]} */
  #speakers = [];
  /** @type {RtpReceiver[]} */
  #receivers = [];
  /** @type {Sample[]} */
  #samples = [];
  /** @type {Sink | undefined} */
  #sink;
  #listeners = 0;

  /**
   * Use `Crowd.open()`.
   *
   * @param {Worker} worker
   * @param {Router} router
   */
  constructor(worker, router) {
    this.#worker = worker;
    this.#router = router;
  }

  /**
   * @param {Worker} worker
   * @returns {Promise<Crowd>}
   */
  static async open(worker) {
    const crowd = new Crowd(worker, await worker.createRouter({ mediaCodecs: MEDIA_CODECS }));

    try {
      crowd.#sink = await Sink.open(LOCAL_IP);
      for (let i = 0; i < SPEAKERS; i++) {
        await crowd.#addSpeaker();
      }
    } catch (error) {
      await crowd.close();
      throw error;
    }

    return crowd;
  }

  get consumers() {
    return this.#listeners * 2;
  }

  async #addSpeaker() {
    const transport = await this.#router.createPlainTransport({
      listenInfo: LISTEN,
      comedia: true,
    });
    const { localAddress: ip, localPort: port } = transport.tuple;
    const sender = await ClipSender.open({ ip, port });
    const producers = [];

    this.#senders.push(sender);
    for (const { track, rtpParameters } of sender.streams) {
      producers.push(await transport.produce({ kind: track.kind, rtpParameters }));
    }
    this.#speakers.push({ producers, streams: sender.streams });
    sender.start();
  }

  /** @param {number} count How many listeners more, each of one speaker's audio and video. */
  async grow(count) {
    for (let i = 0; i < count; i++) {
      await this.#addListener();
    }
  }

  async #addListener() {
    const index = this.#listeners++;
    const { producers, streams } = /** @type {Speaker} */ (this.#speakers[index % SPEAKERS]);
    const receiver = index % SAMPLE === 0 ? await RtpReceiver.open(LOCAL_IP) : undefined;
    const transport = await this.#router.createPlainTransport({ listenInfo: LISTEN });

    if (receiver) {
      this.#receivers.push(receiver);
    }
    await transport.connect({
      ip: LOCAL_IP,
      port: receiver?.port ?? /** @type {Sink} */ (this.#sink).port,
    });

    const rtpCapabilities = receiverCapabilities(this.#router.rtpCapabilities);
    const consumers = await Promise.all(
      producers.map(({ id: producerId }) => transport.consume({ producerId, rtpCapabilities })),
    );

    if (receiver) {
      this.#samples.push(
        ...consumers.map(({ rtpParameters }, i) =>
          sampleOf(receiver.expect(rtpParameters), /** @type {OutgoingStream} */ (streams[i])),
        ),
      );
    }
  }

  /**
   * @param {number} ms
   * @param {AbortSignal} signal
   * @returns {Promise<CrowdMeasure>}
   */
  async measure(ms, signal) {
    const clocks = workerClocks();
    const from = wallClock();
    const before = clocks.map((clock) => clock() ?? NaN);

    for (const sample of this.#samples) {
      Object.assign(sample, { from, to: Infinity, packets: 0, delays: [] });
    }
    await pause(ms, signal);

    const to = wallClock();
    const cpuPercent = clocks.map((clock, i) =>
      Math.round(((clock() ?? NaN) - (before[i] ?? NaN)) / (to - from) / 10),
    );
    const sent = this.#samples.map(({ source }) => source.countSince(from));

    for (const sample of this.#samples) {
      sample.to = to;
    }
    await pause(DRAIN_MS, signal);

    const expected = sum(sent);
    const received = sum(this.#samples.map(({ packets }) => packets));
    const delays = this.#samples.flatMap((sample) => sample.delays);

    for (const sender of this.#senders) {
      if (sender.error) {
        throw sender.error;
      }
    }

    return {
      consumers: this.consumers,
      loss: Math.max(0, Number((100 * (1 - received / expected)).toFixed(2))),
      delayP95Ms: Number(quantile(delays, 0.95).toFixed(1)),
      cpuPercent,
    };
  }

  async close() {
    for (const sender of this.#senders) {
      sender.close();
    }
    for (const receiver of this.#receivers) {
      receiver.close();
    }
    this.#worker.close();
    await this.#sink?.close();
  }
}

/**
 * @param {IncomingStream} incoming
 * @param {OutgoingStream} source
 * @returns {Sample} Kept as packets come.
 */
function sampleOf(incoming, source) {
  const { receive } = incoming;
  /** @type {Sample} */
  const sample = { source, from: 0, to: 0, packets: 0, delays: [] };

  incoming.receive = (packet, size, now) => {
    receive.call(incoming, packet, size, now);

    const sentAt = incoming.newestSentAt;

    // A time loses less than a microsecond on its way through the packet.
    if (sentAt >= sample.from - 0.001 && sentAt <= sample.to) {
      sample.packets += 1;
      sample.delays.push(now - sentAt);
    }
  };

  return sample;
}

/** @returns {CpuClock[]} Of each mediasoup-worker below this process. */
function workerClocks() {
  return listDescendants(process.pid)
    .filter(({ name }) => name.startsWith('mediasoup-worke'))
    .map(({ pid }) => cpuOfProcess(pid));
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

module.exports = { Crowd };
