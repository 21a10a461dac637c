import type { Horizontal, types } from '../../index';

export * from '../../index';

/** The instance behind `createWorker`: one mock host, to which others can be added. */
export declare const horizontal: Horizontal;

/** What plays fate on `horizontal`. */
export declare const controls: MockControls;

/** What a listener of an event gets, and what `emit` takes. */
type Payload<Events, Name extends keyof Events> = Events[Name] extends unknown[]
  ? Events[Name]
  : never;

/** The events that a worker tells of, as opposed to those that follow from calls. */
type TransportEvent = 'sctpstatechange' | 'trace';
type WebRtcTransportEvent =
  | 'icestatechange'
  | 'iceselectedtuplechange'
  | 'dtlsstatechange'
  | TransportEvent;
type PlainTransportEvent = 'tuple' | 'rtcptuple' | TransportEvent;
type ProducerEvent = 'score' | 'videoorientationchange' | 'trace';
type ConsumerEvent = 'score' | 'layerschange' | 'trace' | 'rtp';
type DataConsumerEvent = 'message' | 'sctpsendbufferfull' | 'bufferedamountlow';

/**
 * Plays fate on the mock connections of a Horizontal.
 *
 * @example
 * ```ts
 * await controls.emit(consumer, 'score', { score: 3, producerScore: 4, producerScores: [4] });
 * controls.failNext('transport.produce', new Error('no more'));
 * afterEach(() => expect(controls.openObjects()).toEqual({}));
 * afterAll(() => controls.reset());
 * ```
 */
export declare class MockControls {
  /** @param horizontal One with MockConnections. Workers that it made before are not known here. */
  constructor(horizontal: Horizontal);

  /**
   * Lets an event happen on an object, with what its listeners get. Dumps and stats tell of it too
   * where they would. Resolves once the listeners had it.
   */
  emit<E extends WebRtcTransportEvent>(
    transport: types.WebRtcTransport,
    event: E,
    ...args: Payload<types.WebRtcTransportEvents, E>
  ): Promise<void>;
  emit<E extends PlainTransportEvent>(
    transport: types.PlainTransport,
    event: E,
    ...args: Payload<types.PlainTransportEvents, E>
  ): Promise<void>;
  emit<E extends TransportEvent>(
    transport: types.PipeTransport,
    event: E,
    ...args: Payload<types.PipeTransportEvents, E>
  ): Promise<void>;
  emit<E extends 'rtcp' | 'trace'>(
    transport: types.DirectTransport,
    event: E,
    ...args: Payload<types.DirectTransportEvents, E>
  ): Promise<void>;
  emit<E extends ProducerEvent>(
    producer: types.Producer,
    event: E,
    ...args: Payload<types.ProducerEvents, E>
  ): Promise<void>;
  emit<E extends ConsumerEvent>(
    consumer: types.Consumer,
    event: E,
    ...args: Payload<types.ConsumerEvents, E>
  ): Promise<void>;
  emit<E extends DataConsumerEvent>(
    dataConsumer: types.DataConsumer,
    event: E,
    ...args: Payload<types.DataConsumerEvents, E>
  ): Promise<void>;
  emit(
    observer: types.ActiveSpeakerObserver,
    event: 'dominantspeaker',
    ...args: Payload<types.ActiveSpeakerObserverEvents, 'dominantspeaker'>
  ): Promise<void>;
  emit<E extends 'volumes' | 'silence'>(
    observer: types.AudioLevelObserver,
    event: E,
    ...args: Payload<types.AudioLevelObserverEvents, E>
  ): Promise<void>;

  /**
   * Ends the mock worker that a Worker began with. Resolves once the Worker has emitted `died`, or
   * lives on with others.
   *
   * @param how Default: by SIGKILL.
   */
  kill(worker: types.Worker, how?: { code: number } | { signal: NodeJS.Signals }): Promise<void>;

  /**
   * Lets the next calls of a method fail.
   *
   * @param error What the app gets: a TypeError, a NotFoundError or an Error.
   */
  failNext(method: MockMethod, error?: Error, options?: FailOptions): FailingCall;

  /** Holds the next call of a method until it is released. */
  holdNext(method: MockMethod, options?: RuleOptions): HeldCall;

  /** How often each method was called since the last reset. */
  calls(): { [method in MockMethod]?: number };

  /** The names of all methods that can fail or be held. */
  methods(): MockMethod[];

  /** How many objects of each kind are open. Kinds of which there are none are left out. */
  openObjects(): OpenObjects;

  /**
   * Closes all Workers, lets go what is held, forgets all rules and counts. Resolves once the
   * Workers' processes are gone.
   */
  reset(): Promise<void>;
}

export interface RuleOptions {
  /** The object whose calls are meant. Default: any. */
  on?: { id: string };
}

export interface FailOptions extends RuleOptions {
  /** How many calls fail. Default 1; `Infinity` for all. */
  times?: number;
}

/** Calls that are to fail. */
export interface FailingCall {
  /**
   * Lets no further call fail.
   *
   * @returns Whether one still would have.
   */
  cancel(): boolean;
}

/** A call that is held once it comes. */
export interface HeldCall {
  /** Resolves once the call has come and waits. */
  readonly arrived: Promise<void>;

  /**
   * Lets the call go on. One that has not come yet is no longer held.
   *
   * @returns Whether it was held, or would have been.
   */
  release(): boolean;

  /**
   * Lets the call fail.
   *
   * @returns Whether it was held, or would have been.
   */
  fail(error?: Error): boolean;
}

/** How many objects are open, by kind. */
export interface OpenObjects {
  workers?: number;
  webRtcServers?: number;
  routers?: number;
  transports?: number;
  producers?: number;
  consumers?: number;
  dataProducers?: number;
  dataConsumers?: number;
  rtpObservers?: number;
}

/**
 * A call that mock workers get, as mediasoup's workers name it in their errors. `createWorker` is
 * their start.
 */
export type MockMethod =
  | 'createWorker'
  | `worker.${
      | 'dump'
      | 'getResourceUsage'
      | 'updateSettings'
      | 'createWebRtcServer'
      | 'createRouter'
      | 'closeWebRtcServer'
      | 'closeRouter'}`
  | 'webRtcServer.dump'
  | `router.${
      | 'dump'
      | 'createWebRtcTransport'
      | 'createWebRtcTransportWithServer'
      | 'createPlainTransport'
      | 'createPipeTransport'
      | 'createDirectTransport'
      | 'closeTransport'
      | 'createActiveSpeakerObserver'
      | 'createAudioLevelObserver'
      | 'closeRtpObserver'}`
  | `transport.${
      | 'dump'
      | 'getStats'
      | 'connect'
      | 'setMaxIncomingBitrate'
      | 'setMaxOutgoingBitrate'
      | 'setMinOutgoingBitrate'
      | 'restartIce'
      | 'produce'
      | 'produceData'
      | 'consume'
      | 'consumeData'
      | 'enableTraceEvent'
      | 'closeProducer'
      | 'closeConsumer'
      | 'closeDataProducer'
      | 'closeDataConsumer'}`
  | `${'plainTransport' | 'pipeTransport' | 'webRtcTransport'}.connect`
  | `producer.${'dump' | 'getStats' | 'pause' | 'resume' | 'enableTraceEvent'}`
  | `consumer.${
      | 'dump'
      | 'getStats'
      | 'pause'
      | 'resume'
      | 'setPreferredLayers'
      | 'setPriority'
      | 'requestKeyFrame'
      | 'enableTraceEvent'}`
  | `dataProducer.${'dump' | 'getStats' | 'pause' | 'resume'}`
  | `dataConsumer.${
      | 'dump'
      | 'getStats'
      | 'pause'
      | 'resume'
      | 'getBufferedAmount'
      | 'setBufferedAmountLowThreshold'
      | 'send'
      | 'setSubchannels'
      | 'addSubchannel'
      | 'removeSubchannel'}`
  | `rtpObserver.${'pause' | 'resume' | 'addProducer' | 'removeProducer'}`;
