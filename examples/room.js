'use strict';

/**
 * An ordinary mediasoup app: a room whose speaker is on one Worker and whose listeners are on the
 * others. It uses nothing but mediasoup's API, so it runs on `mediasoup` as on
 * `mediasoup-horizontal`, where each Worker may be on another host.
 *
 *   node examples/room.js            on mediasoup-horizontal, with this host's workers
 *   node examples/room.js --plain    on plain mediasoup, for comparison
 */

const { once } = require('node:events');
const { ClipSender } = require('./lib/clip-sender');
const { pause, within } = require('./lib/deadline');
const { RtpReceiver, receiverCapabilities } = require('./lib/rtp-receiver');

/**
 * @typedef {import('mediasoup-upstream/types').Consumer} Consumer
 * @typedef {import('mediasoup-upstream/types').Producer} Producer
 * @typedef {import('mediasoup-upstream/types').Router} Router
 * @typedef {import('mediasoup-upstream/types').Worker} Worker
 * @typedef {import('./lib/outgoing-stream').OutgoingStream} OutgoingStream
 * @typedef {import('./lib/incoming-stream').IncomingStream} IncomingStream
 * @typedef {import('./lib/report').RoomReport} RoomReport
 *
 * @typedef {object} Host A Worker, with its Router.
 * @property {Worker} worker
 * @property {Router} router
 * @property {string} agent Where the Worker is.
 *
 * @typedef {object} Sent A Producer and the stream that feeds it.
 * @property {Producer} producer
 * @property {OutgoingStream} stream
 *
 * @typedef {object} Heard A Consumer and what comes out of it.
 * @property {Host} host
 * @property {Consumer} consumer
 * @property {Sent} source
 * @property {IncomingStream} stream
 * @property {number} resumedAt Milliseconds since 1970.
 *
 * @typedef {object} RoomOptions
 * @property {Pick<import('mediasoup-upstream/types').Index, 'createWorker'>} mediasoup
 * @property {number} [seconds] How long to play.
 * @property {number} [workers]
 * @property {(text: string) => void} [log] Told each step.
 * @property {(worker: Worker) => string} [whereIs] Names the host of a Worker.
 * @property {AbortSignal} [signal] Ends the room early, as an error.
 */

const LOCAL_IP = '127.0.0.1';
const STEP_TIMEOUT = 15_000;
const CLOSE_TIMEOUT = 10_000;
const DRAIN_TIMEOUT = 2_000;

/** @type {import('mediasoup-upstream/types').RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];

/**
 * Plays the clip through a room and says what arrived.
 *
 * @param {RoomOptions} options
 * @returns {Promise<RoomReport>}
 */
async function runRoom(options) {
  const room = new Room(options);
  let report;

  try {
    report = await room.run();
  } catch (error) {
    // The first error says more than what closing after it may add.
    await room.close().catch((closeError) => options.log?.(`Closing: ${closeError.message}.`));

    throw error;
  }

  await room.close();

  return report;
}

class Room {
  #options;
  #log;
  /** Ends every wait once a Worker has died or the caller has had enough. */
  #trouble = new AbortController();
  #onAbort;
  /** @type {Host[]} */
  #hosts = [];
  /** @type {Worker[]} */
  #workers = [];
  /** @type {Set<{ close(): void }>} Closed in reverse order. */
  #opened = new Set();
  #closed = false;

  /** @param {RoomOptions} options */
  constructor(options) {
    const { signal } = options;

    this.#options = options;
    this.#log = options.log ?? (() => {});
    this.#onAbort = () => this.#trouble.abort(signal?.reason);
    signal?.addEventListener('abort', this.#onAbort);

    if (signal?.aborted) {
      this.#onAbort();
    }
  }

  /** @returns {Promise<RoomReport>} */
  async run() {
    const { seconds = 8, workers = 2 } = this.#options;

    for (let i = 0; i < workers; i++) {
      const host = await this.#step(`Worker ${i + 1} of ${workers}`, this.#openHost());

      this.#hosts.push(host);
      this.#log(`Worker ${i + 1} of ${workers} with its Router is on ${host.agent}.`);
    }

    const [origin, ...others] = /** @type {[Host, ...Host[]]} */ (this.#hosts);
    const { sender, sent } = await this.#step('producing', this.#produce(origin));

    for (const host of others) {
      await this.#step(`piping to ${host.agent}`, this.#pipe(origin, host, sent));
    }

    /** @type {Heard[]} */
    const heard = [];

    for (const host of others.length > 0 ? others : [origin]) {
      heard.push(...(await this.#step(`consuming on ${host.agent}`, this.#consume(host, sent))));
    }

    this.#log(`Playing for ${seconds} s.`);
    await this.#play(seconds, sender, heard);

    return this.#report(origin, sent, heard);
  }

  /** Closes all that is open, the last opened first, and waits for the workers to be gone. */
  async close() {
    this.#closed = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);

    for (const each of [...this.#opened].reverse()) {
      each.close();
    }

    await Promise.all(this.#workers.map((worker) => closeWorker(worker)));
    this.#log('Closed all Workers.');
  }

  /** @returns {Promise<Host>} */
  async #openHost() {
    const { mediasoup, whereIs = (worker) => `pid ${worker.pid}` } = this.#options;
    const worker = await mediasoup.createWorker({ logLevel: 'warn' });

    // Nobody waits any more for a Worker that comes too late.
    if (this.#closed) {
      worker.close();

      throw new Error('the room is closed');
    }

    this.#workers.push(worker);
    worker.on('died', (error) => this.#trouble.abort(error));

    const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });

    this.#opened.add(router);

    return { worker, router, agent: whereIs(worker) };
  }

  /**
   * Sends the clip to a PlainTransport and makes Producers of it.
   *
   * @param {Host} host
   * @returns {Promise<{ sender: ClipSender, sent: Sent[] }>}
   */
  async #produce({ router, agent }) {
    const transport = await router.createPlainTransport({
      listenInfo: { protocol: 'udp', ip: LOCAL_IP },
      rtcpMux: true,
      // The transport learns where RTCP goes from the first packet that comes.
      comedia: true,
    });

    this.#opened.add(transport);

    const { localAddress: ip, localPort: port } = transport.tuple;
    const sender = await ClipSender.open({ ip, port });
    /** @type {Sent[]} */
    const sent = [];

    this.#opened.add(sender);

    for (const stream of sender.streams) {
      const { kind } = stream.track;
      const producer = await transport.produce({ kind, rtpParameters: stream.rtpParameters });

      this.#opened.add(producer);
      sent.push({ producer, stream });
    }

    sender.start();
    this.#log(`Producing video (VP8) and audio (Opus) on ${agent}, RTP to ${ip}:${port}.`);

    return { sender, sent };
  }

  /**
   * @param {Host} origin
   * @param {Host} host
   * @param {Sent[]} sent
   */
  async #pipe(origin, host, sent) {
    for (const { producer } of sent) {
      await origin.router.pipeToRouter({ producerId: producer.id, router: host.router });
    }

    this.#log(`Piped both from ${origin.agent} to ${host.agent}.`);
  }

  /**
   * @param {Host} host
   * @param {Sent[]} sent
   * @returns {Promise<Heard[]>}
   */
  async #consume(host, sent) {
    const receiver = await RtpReceiver.open(LOCAL_IP);

    this.#opened.add(receiver);

    const transport = await host.router.createPlainTransport({
      listenInfo: { protocol: 'udp', ip: LOCAL_IP },
      rtcpMux: true,
      comedia: false,
    });

    this.#opened.add(transport);
    await transport.connect({ ip: receiver.ip, port: receiver.port });

    const rtpCapabilities = receiverCapabilities(host.router.rtpCapabilities);
    /** @type {Heard[]} */
    const heard = [];

    for (const source of sent) {
      const producerId = source.producer.id;
      const consumer = await transport.consume({ producerId, rtpCapabilities, paused: true });

      this.#opened.add(consumer);

      const stream = receiver.expect(consumer.rtpParameters);

      await consumer.resume();

      const resumedAt = performance.timeOrigin + performance.now();

      heard.push({ host, consumer, source, stream, resumedAt });
    }

    this.#log(`Consuming both on ${host.agent}, RTP to ${receiver.ip}:${receiver.port}.`);

    return heard;
  }

  /**
   * @param {number} seconds
   * @param {ClipSender} sender
   * @param {Heard[]} heard
   */
  async #play(seconds, sender, heard) {
    const end = performance.now() + seconds * 1000;

    // A timer may ring a little early: what is left then is not worth a turn.
    for (let left = seconds * 1000; left > 5; left = end - performance.now()) {
      await pause(Math.min(1000, left), this.#trouble.signal);
      this.#log(progress(seconds - Math.max(0, end - performance.now()) / 1000, heard));
    }

    sender.stop();

    if (sender.error) {
      throw new Error(`sending the clip failed: ${sender.error.message}`, { cause: sender.error });
    }

    await Promise.all(heard.map((each) => this.#drain(each)));
  }

  /**
   * Waits for what is still on its way. If it never comes, the counts tell.
   *
   * @param {Heard} heard
   */
  async #drain({ source, stream }) {
    const last = stream.reached(source.stream.lastSentAt ?? 0);

    await within(last, {
      ms: DRAIN_TIMEOUT,
      what: 'the last packets',
      signal: this.#trouble.signal,
    }).catch((error) => {
      this.#trouble.signal.throwIfAborted();
      this.#log(`A ${source.producer.kind} Consumer did not get the end: ${error.message}.`);
    });
  }

  /**
   * @param {Host} origin
   * @param {Sent[]} sent
   * @param {Heard[]} heard
   * @returns {RoomReport}
   */
  #report(origin, sent, heard) {
    return {
      producers: sent.map(({ producer, stream }) => ({
        agent: origin.agent,
        kind: producer.kind,
        packets: stream.packets,
        bytes: stream.bytes,
        keyFrames: stream.keyFrames,
        keyFrameRequests: stream.keyFrameRequests,
      })),
      consumers: heard.map(({ host, consumer, source, stream, resumedAt }) => ({
        agent: host.agent,
        producerAgent: origin.agent,
        kind: consumer.kind,
        packets: stream.packets,
        lost: stream.lost,
        duplicates: stream.duplicates,
        bytes: stream.bytes,
        keyFrames: stream.keyFrames,
        sent: source.stream.countSince(resumedAt),
        delayMs: stream.delay(),
      })),
    };
  }

  /**
   * @template T
   * @param {string} what
   * @param {Promise<T>} promise
   * @returns {Promise<T>}
   */
  #step(what, promise) {
    return within(promise, { ms: STEP_TIMEOUT, what, signal: this.#trouble.signal });
  }
}

/**
 * @param {number} seconds
 * @param {Heard[]} heard
 * @returns {string}
 */
function progress(seconds, heard) {
  const counts = ['video', 'audio'].map((kind) => {
    const streams = heard.filter(({ consumer }) => consumer.kind === kind);
    const packets = streams.reduce((sum, { stream }) => sum + stream.packets, 0);
    const lost = streams.reduce((sum, { stream }) => sum + stream.lost, 0);

    return `${kind} ${packets}${lost ? ` (${lost} lost)` : ''}`;
  });

  return `Received after ${seconds.toFixed(0)} s, in packets: ${counts.join(', ')}.`;
}

/** @param {Worker} worker */
async function closeWorker(worker) {
  if (worker.subprocessClosed) {
    return;
  }

  const gone = once(worker, 'subprocessclose');

  worker.close();
  await within(gone, { ms: CLOSE_TIMEOUT, what: `the end of worker ${worker.pid}` });
}

if (require.main === module) {
  require('./lib/room-command').main(runRoom);
}

module.exports = { runRoom };
