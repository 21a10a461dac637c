'use strict';

/**
 * An ordinary mediasoup app: a room in one Router, where everybody sends audio and video and gets
 * those of some others. It uses nothing but mediasoup's API. On `mediasoup-horizontal` the people
 * of one Router may be on many hosts; `horizontal.stats()` tells where they are.
 */

const { once } = require('node:events');
const { ClipSender } = require('./lib/clip-sender');
const { pause, within } = require('./lib/deadline');
const { RtpReceiver, receiverCapabilities } = require('./lib/rtp-receiver');
const { bindSocket } = require('./lib/rtp-sender');

/**
 * @typedef {import('mediasoup-upstream/types').Consumer} Consumer
 * @typedef {import('mediasoup-upstream/types').PlainTransport} PlainTransport
 * @typedef {import('mediasoup-upstream/types').Producer} Producer
 * @typedef {import('mediasoup-upstream/types').Router} Router
 * @typedef {import('mediasoup-upstream/types').Worker} Worker
 * @typedef {import('..').HorizontalStats} HorizontalStats
 * @typedef {import('./lib/incoming-stream').IncomingStream} IncomingStream
 *
 * @typedef {object} Peer Somebody in the room.
 * @property {string} name
 * @property {string} agent Where the transport is.
 * @property {PlainTransport} transport
 * @property {ClipSender} sender
 * @property {RtpReceiver} receiver
 * @property {Producer[]} producers
 * @property {{ consumer: Consumer, from: Peer, stream: IncomingStream }[]} heard
 *
 * @typedef {object} PeerState
 * @property {string} name
 * @property {string} agent
 * @property {number} producers
 * @property {number} consumers
 * @property {number} packets Received.
 * @property {number} lost By sequence number.
 *
 * @typedef {object} PipeState What goes from one agent to another one.
 * @property {string} from
 * @property {string} to
 * @property {number} streams
 * @property {number} kbps As sent there.
 *
 * @typedef {object} ConferenceState
 * @property {number} seconds
 * @property {PeerState[]} peers
 * @property {PipeState[]} pipes
 * @property {number} transports Of the Router, as its dump tells.
 * @property {number} silent Consumers that got nothing yet.
 *
 * @typedef {object} ConferenceOptions
 * @property {Pick<import('mediasoup-upstream/types').Index, 'createWorker'>} mediasoup
 * @property {number} peers
 * @property {number} seconds
 * @property {number} refreshMs
 * @property {(text: string) => void} log Told each step.
 * @property {(state: ConferenceState) => void} show
 * @property {() => Promise<HorizontalStats>} stats With every object, and what goes through pipes.
 * @property {AbortSignal} signal Ends the room early, as an error.
 */

const LOCAL_IP = '127.0.0.1';
const STEP_TIMEOUT = 15_000;
/** Whom each one hears: so many who came after. */
const HEARD = 2;
/** Time for what is on its way. */
const DRAIN_MS = 500;
const UNKNOWN = 'somewhere';

/** @type {import('mediasoup-upstream/types').RouterRtpCodecCapability[]} */
const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];

/**
 * @param {ConferenceOptions} options
 * @returns {Promise<ConferenceState>} How it was at the end.
 */
async function runConference(options) {
  const conference = new Conference(options);

  try {
    return await conference.run();
  } finally {
    await conference.close();
  }
}

class Conference {
  #options;
  /** @type {Worker | undefined} */
  #worker;
  /** @type {Peer[]} */
  #peers = [];
  #trouble = new AbortController();

  /** @param {ConferenceOptions} options */
  constructor(options) {
    const { signal } = options;

    this.#options = options;
    signal.addEventListener('abort', () => this.#trouble.abort(signal.reason));
    if (signal.aborted) {
      this.#trouble.abort(signal.reason);
    }
  }

  /** @returns {Promise<ConferenceState>} */
  async run() {
    const { mediasoup, peers, seconds, refreshMs, log, show } = this.#options;
    const worker = await this.#step('a Worker', mediasoup.createWorker({ logLevel: 'warn' }));

    this.#worker = worker;
    worker.on('died', (error) => this.#trouble.abort(error));

    const router = await this.#step('a Router', worker.createRouter({ mediaCodecs: MEDIA_CODECS }));

    for (let i = 0; i < peers; i++) {
      await this.#step(`peer ${i + 1}`, this.#join(router, `${i + 1}`));
    }
    await this.#step('who is where', this.#findAgents());
    log(`${peers} people are in one Router, each with audio and video.`);

    for (const [i, peer] of this.#peers.entries()) {
      await this.#step(`what peer ${peer.name} hears`, this.#hear(router, peer, i));
    }
    log(`Each hears ${Math.min(HEARD, peers - 1)} others. Playing for ${seconds} s.`);

    const start = performance.now();
    const end = start + seconds * 1000;

    for (let left = seconds * 1000; left > 5; left = end - performance.now()) {
      await pause(Math.min(refreshMs, left), this.#trouble.signal);
      show(await this.#step('the state', this.#state(router, performance.now() - start)));
    }
    for (const { sender } of this.#peers) {
      sender.stop();
      if (sender.error) {
        throw sender.error;
      }
    }
    await pause(DRAIN_MS, this.#trouble.signal);

    return this.#step('the last state', this.#state(router, performance.now() - start));
  }

  /** Closes all that is open and waits for the worker to be gone. */
  async close() {
    for (const { sender } of this.#peers) {
      sender.close();
    }

    if (this.#worker && !this.#worker.subprocessClosed) {
      const gone = once(this.#worker, 'subprocessclose');

      this.#worker.close();
      await within(gone, { ms: STEP_TIMEOUT, what: 'the end of the Worker' });
    }
  }

  /**
   * @param {Router} router
   * @param {string} name
   */
  async #join(router, name) {
    const transport = await router.createPlainTransport({
      listenInfo: { protocol: 'udp', ip: LOCAL_IP },
      // It learns where its peer is from the first packet.
      comedia: true,
    });
    const socket = await bindSocket(LOCAL_IP);
    const sender = new ClipSender(socket);
    const receiver = new RtpReceiver(socket);
    const { localAddress: ip, localPort: port } = transport.tuple;
    /** @type {Peer} */
    const peer = {
      name,
      agent: UNKNOWN,
      transport,
      sender,
      receiver,
      producers: [],
      heard: [],
    };

    this.#peers.push(peer);
    await sender.connect({ ip, port });
    for (const { track, rtpParameters } of sender.streams) {
      peer.producers.push(await transport.produce({ kind: track.kind, rtpParameters }));
    }
    sender.start();
  }

  /**
   * @param {Router} router
   * @param {Peer} peer
   * @param {number} index
   */
  async #hear(router, peer, index) {
    const others = Math.min(HEARD, this.#peers.length - 1);
    const rtpCapabilities = receiverCapabilities(router.rtpCapabilities);

    for (let i = 1; i <= others; i++) {
      const from = /** @type {Peer} */ (this.#peers[(index + i) % this.#peers.length]);

      for (const { id: producerId } of from.producers) {
        const consumer = await peer.transport.consume({ producerId, rtpCapabilities });

        peer.heard.push({ consumer, from, stream: peer.receiver.expect(consumer.rtpParameters) });
      }
    }
  }

  async #findAgents() {
    const { objects = [] } = await this.#options.stats();
    const places = new Map(objects.map(({ id, connection }) => [id, connection]));

    for (const peer of this.#peers) {
      peer.agent = places.get(peer.transport.id) ?? UNKNOWN;
    }
  }

  /**
   * @param {Router} router
   * @param {number} ms
   * @returns {Promise<ConferenceState>}
   */
  async #state(router, ms) {
    const { transportIds } = await router.dump();
    const streams = this.#peers.flatMap(({ heard }) => heard.map(({ stream }) => stream));

    return {
      seconds: Number((ms / 1000).toFixed(1)),
      peers: this.#peers.map(({ name, agent, producers, heard }) => ({
        name,
        agent,
        producers: producers.length,
        consumers: heard.length,
        packets: heard.reduce((sum, { stream }) => sum + stream.packets, 0),
        lost: heard.reduce((sum, { stream }) => sum + stream.lost, 0),
      })),
      pipes: await this.#pipes(),
      transports: transportIds.length,
      silent: streams.filter(({ packets }) => packets === 0).length,
    };
  }

  /**
   * What goes from agent to agent: each Producer once to each agent with Consumers of it, however
   * many these are.
   *
   * @returns {Promise<PipeState[]>}
   */
  async #pipes() {
    const stats = await this.#options.stats();
    /** @type {Map<string, PipeState>} */
    const pipes = new Map();

    for (const { from, to, bitrate } of stats.pipes) {
      const ends = { from: from.connection ?? UNKNOWN, to: to.connection ?? UNKNOWN };
      const key = `${ends.from} ${ends.to}`;
      const pipe = pipes.get(key) ?? { ...ends, streams: 0, kbps: 0 };

      pipe.streams += 1;
      pipe.kbps += Math.round((bitrate ?? 0) / 1000);
      pipes.set(key, pipe);
    }

    return [...pipes.keys()].sort().map((key) => /** @type {PipeState} */ (pipes.get(key)));
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

module.exports = { runConference };
