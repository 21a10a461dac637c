import type { Readable, Writable } from 'node:stream';
import type * as mediasoup from 'mediasoup-upstream';
import type { EnhancedEventEmitter } from 'mediasoup-upstream/extras';
import type { HorizontalChange, HorizontalStats, StatsOptions } from './js/monitor/types';

export * from 'mediasoup-upstream';
export type * from './js/monitor/types';

/** How a connection stands. */
export type ConnectionState =
  /** In no Horizontal so far. */
  | 'new'
  | 'connecting'
  | 'connected'
  /**
   * Away for longer than the silent window; its Workers live on until the session timeout.
   */
  | 'disconnected'
  /** It does not let us in, or does not fit. */
  | 'refused'
  /** Not in a Horizontal any more. */
  | 'closed';

declare class BaseConnection {
  /** What it is called in errors and events: the URL of an agent, `local`, `mock`. */
  get name(): string;
  /** How it stands in the Horizontal that it was added to last. */
  get state(): ConnectionState;
  private readonly settings;
}

/** Workers of this host. */
export declare class LocalConnection extends BaseConnection {
  constructor(options?: LocalConnectionOptions);
}

export interface LocalConnectionOptions {
  /** Default `local`. */
  name?: string;
  /** Path of a mediasoup-worker. Default: the one that set-up found or built. */
  workerBin?: string;
  /**
   * Its mediasoup version. Default: what the manifest.json beside it tells, else the library's own.
   */
  version?: string;
  /**
   * Whether the process that mediasoup spawns becomes the worker itself, which then is the only one
   * of its Worker. Default: where a Worker has only one anyway.
   */
  execInPlace?: boolean;
}

/** Workers of another host, through its agent. */
export declare class RemoteConnection extends BaseConnection {
  constructor(options: RemoteConnectionOptions);
}

export interface RemoteConnectionOptions {
  /**
   * `ws://host:port` or `wss://host:port`; for the constructor of `Horizontal` also
   * `dns+wss://name:port`, which stands for one agent at each address of the name, with these
   * options.
   */
  url: string;
  /** What the agent asks for. Never part of the URL. */
  token?: string;
  /**
   * Path of a file with it, read again at each dial; its first line counts. Lines that begin with #
   * are comments.
   */
  tokenFile?: string;
  /**
   * Path of a PEM file with the authorities of the agent's certificate, and no others are trusted.
   * Default: the system's. All files for TLS are read again at each dial.
   */
  ca?: string;
  /** Path of a PEM file with the certificate to show to an agent that asks for one. */
  cert?: string;
  /** Path of a PEM file with its private key, for its owner only. */
  key?: string;
  /** The name that the agent's certificate must have. Default: the URL's host. */
  serverName?: string;
  /** How long Workers outlive a lost link. Default 30000. */
  sessionTimeoutMs?: number | 'infinite';
  /** How long a lost link is nobody's business. Default 3000. */
  silentWindowMs?: number;
  /** How often the agent is asked for a sign of life. Default 1000. */
  heartbeatMs?: number;
  /** How long an agent may say nothing. Default 4000. */
  silenceMs?: number;
  /**
   * Whether an agent whose own address refuses connections after a loss counts as dead at once.
   * Default true.
   */
  fastDeath?: boolean;
}

/** Workers without media, ports or processes, for tests. */
export declare class MockConnection extends BaseConnection {
  constructor(options?: MockConnectionOptions);
}

export interface MockConnectionOptions {
  /** Default `mock`. */
  name?: string;
  /** How many workers it has room for. Default 1024 on 8 cores. */
  cores?: number;
  /** Where it says that it is. */
  region?: string;
  /** Cores that each of its workers says it takes. Default 0. */
  cpu?: number;
}

/** What a mediasoup-worker is started with. */
export interface WorkerRequest {
  /** The mediasoup version, for the worker's `MEDIASOUP_VERSION`. */
  version: string;
  /** The fingerprint of the channel schema. */
  schema: string;
  /** Its arguments, such as `--logLevel=warn`. */
  args: string[];
  /** The PEM text of `dtlsCertificateFile`, if there is one. */
  dtlsCertificate: string | null;
  /** The PEM text of `dtlsPrivateKeyFile`, if there is one. */
  dtlsPrivateKey: string | null;
}

/** A mediasoup-worker that runs. */
export interface WorkerChannel {
  /** Its process id, on its own host. */
  pid: number;
  /** What it reads on fd 3. */
  input: Writable;
  /** What it writes to fd 4. */
  output: Readable;
  kill(signal: NodeJS.Signals): void;
  /** How it ended; neither where nobody can tell. */
  exited: PromiseLike<{
    code?: number | null;
    signal?: NodeJS.Signals | number | null;
  }>;
}

/**
 * A source of workers of your own, over any transport: anything that starts a mediasoup-worker and
 * moves the bytes of its channel.
 */
export interface UserConnection {
  /** What it is called in errors and events. */
  readonly name: string;
  /** The mediasoup version of its workers. Default: the library's. */
  readonly version?: string;
  /** The fingerprint of their channel schema. */
  readonly schema?: string;
  /** How many workers it takes. Default 1024. */
  readonly capacity?: number;
  /** How many cores they may use. Default: the capacity. */
  readonly cores?: number;
  readonly region?: string;
  /** Where its workers bind. Default: they are on this host, and nothing is rewritten. */
  readonly addresses?: {
    /** IP addresses for clients. */
    bind: string[];
    /** The IP address that other media hosts send to. */
    pipe?: string;
    /** Addresses or names that clients reach the host under. */
    announced?: string[];
    behindNat?: boolean;
  };
  /** Starts a worker. What it throws is told by createWorker. */
  spawn(request: WorkerRequest): WorkerChannel | PromiseLike<WorkerChannel>;
  /**
   * Asked once a second: the cores that each worker takes by its pid, and that others take there.
   */
  load?(): { cpu?: Record<number, number>; others?: number[] };
  /** It left the Horizontal, and its workers are gone. */
  close?(): unknown;
}

/** What is in a Horizontal. */
export type Connection = LocalConnection | RemoteConnection | MockConnection | UserConnection;

/**
 * What may be given as a connection. A string is the URL of an agent; a mediasoup module stands for
 * the workers of this host by the binary that it brought.
 */
export type ConnectionLike = string | Connection | MediasoupModule;

/** A mediasoup package, as `require('mediasoup')`. */
export interface MediasoupModule {
  readonly version: string;
  readonly workerBin: string;
  readonly createWorker: (...args: never[]) => unknown;
}

/** One thing that keeps a connection from running an app's Workers. */
export interface Difference {
  what: 'protocol' | 'features' | 'workers' | 'mediasoup version' | 'channel schema' | 'pipes';
  ours: string;
  theirs: string;
  /** Why it matters. */
  why: string;
}

/** The workers of a connection are nothing for this app. The message lists every difference. */
export declare class IncompatibleConnectionError extends Error {
  constructor(message: string, differences: Difference[]);
  readonly differences: Difference[];
}

export interface HorizontalOptions {
  /** How long `createWorker` looks for a worker. Default 10000. */
  connectTimeoutMs?: number;
  /**
   * How long a call may wait for the answer of a mediasoup-worker that can be reached. Default: 10 s
   * more than the session timeout, 40000.
   */
  callTimeoutMs?: number | 'infinite';
  /** Further addresses and names of the app's own host. */
  selfAddresses?: string[];
  /**
   * Whether announced addresses that are not the app's own are replaced by the agent's (`auto`,
   * the default) or kept (`identity`).
   */
  announcedMode?: 'auto' | 'identity';
  /**
   * Where Workers, and the transports of a Router whose mediasoup-worker is busy, go. Default
   * `pack`.
   */
  placement?: PlacementPolicy | PlacementFunction;
  /** The share of a core below which a mediasoup-worker takes more. Default 0.6. */
  watermark?: number;
  /**
   * On how many mediasoup-workers the objects of one Worker may live. Default 32, with `scatter` 3.
   */
  maxParts?: number;
  /**
   * What becomes of a Worker that loses one of several mediasoup-workers: it lives on without what
   * was there (`continue`), or it dies (`died`). Default: it lives on, unless a PlainTransport or
   * DirectTransport was there, which have no event to tell.
   */
  onPartLost?: 'continue' | 'died';
  /**
   * How many mediasoup-workers one of them feeds with the same Producer before others pass it on.
   * Default 8.
   */
  maxFanOut?: number;
  /** Where the app is, for `region` and for placement functions. */
  region?: string;
  /**
   * How many mediasoup-workers an app may have on one host; further Workers share them. Default:
   * what the host says, which is its number of cores.
   */
  workersPerHost?: number;
  /**
   * How much the workers of a connection may differ from the library's own. `strict`, the default:
   * its very version. `pipes`: also another one with the same channel schema and the same pipes.
   * `schema`: also one with other pipes, for Routers that never span two hosts.
   */
  compatibility?: 'strict' | 'pipes' | 'schema';
}

/**
 * - `home`: a Router stays on one mediasoup-worker, as with mediasoup.
 * - `pack`: below the watermark too; above it its new transports fill the busiest mediasoup-worker
 *   that still has room, then a further one.
 * - `leastLoaded`: the one with the most room.
 * - `roundRobin`: the next one that has room.
 * - `region`: the app's region first, then as `pack`.
 * - `scatter`: every transport on the next one, room or not; for tests.
 */
export type PlacementPolicy = 'home' | 'pack' | 'leastLoaded' | 'roundRobin' | 'region' | 'scatter';

/**
 * The app's own rule for where a mediasoup-worker starts. It must answer at once; after a second,
 * or for an answer that is of no use, `pack` decides.
 *
 * @returns The name or the position of a candidate; null or undefined leaves it to `pack`.
 */
export type PlacementFunction = (
  request: PlacementRequest,
  candidates: PlacementCandidate[],
) => string | number | null | undefined;

/** What a mediasoup-worker is wanted for. */
export interface PlacementRequest {
  /** `pid` of the Worker, also of one that is being created. */
  worker: number;
  /** Id of the Router that has outgrown its mediasoup-workers; null for a new Worker. */
  router: string | null;
  /** The kind of the transport that does not fit any more; null for a new Worker. */
  transport: 'webrtc' | 'plain' | 'pipe' | null;
}

/** A connection that could give a mediasoup-worker. */
export interface PlacementCandidate {
  name: string;
  reachable: boolean;
  /** Whether its host means to leave. A function that returns it all the same is passed over. */
  draining: boolean;
  /** Whether it is in the app's region. */
  near: boolean;
  cores: number;
  /** Cores that all mediasoup-workers there take now, such as 1.25. */
  cpu: number;
  /** mediasoup-workers there, everyone's. */
  workers: number;
  maxWorkers: number;
  /** Those of this Horizontal. */
  ownWorkers: number;
  /** Those of the Worker in question. */
  parts: number;
}

/** What is told of an object of the app. */
export interface ObjectEvent {
  kind:
    | 'worker'
    | 'webRtcServer'
    | 'router'
    | 'webRtcTransport'
    | 'plainTransport'
    | 'pipeTransport'
    | 'directTransport'
    | 'rtpObserver'
    | 'producer'
    | 'consumer'
    | 'dataProducer'
    | 'dataConsumer';
  id: string;
  /** Name of the connection that it lives on. */
  connection: string;
  /** `pid` of its Worker. */
  worker: number;
  /** Id of its Router, where it is in one. */
  router: string | null;
}

/** Events of a Horizontal. */
export type HorizontalEvents = {
  /** A connection is in the set. */
  add: [Connection];
  /** A connection left the set. */
  delete: [Connection];
  /** It can be reached for the first time. */
  connected: [Connection];
  /** It is away for longer than the silent window. */
  disconnected: [Connection, Error];
  /** It is back. */
  reconnected: [Connection];
  /** It does not fit, or not any more. */
  incompatible: [Connection, IncompatibleConnectionError];
  /** It does not let us in. */
  refused: [Connection, Error];
  /** It could not be reached so far. Dialing goes on. */
  unreachable: [Connection, Error];
  /** It refused a mediasoup-worker, because it has no room. */
  full: [Connection, Error];
  /** Its host means to leave (true), or stays after all (false). */
  draining: [Connection, boolean];
  /** An object of the app was created. */
  newobject: [ObjectEvent];
  /**
   * An object of the app is gone. `partlost`: with the mediasoup-worker that it lived on, while its
   * Worker lives on. `died`: with its Worker.
   */
  closeobject: [ObjectEvent & { reason: 'partlost' | 'died' | null }];
  /** So many events got lost here, because the app did not take them in time. */
  missed: [{ count: number }];
};

/** Events of the observer of a Horizontal. */
export type HorizontalObserverEvents = {
  newworker: [mediasoup.types.Worker];
};

export interface DeleteOptions {
  /**
   * Whether to wait until nothing of this Horizontal lives there; meanwhile nothing new goes there.
   * Default: its Workers end at once.
   */
  drain?: boolean;
  /** How long to wait at most; then its Workers end. Default: for ever. */
  timeoutMs?: number;
}

/**
 * The connections whose workers carry an app's media, as a Set of them.
 *
 * @example
 * ```ts
 * const horizontal = new Horizontal(['wss://media1.example.com:4480', new LocalConnection()]);
 * const worker = await horizontal.mediasoup.createWorker();
 *
 * await horizontal.add('wss://media2.example.com:4480');
 * await horizontal.delete('wss://media1.example.com:4480', { drain: true });
 * ```
 */
export declare class Horizontal extends EnhancedEventEmitter<HorizontalEvents> {
  /**
   * @param connections Default: what the environment names (`MEDIASOUP_HORIZONTAL_AGENTS`), else
   * this host. They are in the set at once; `createWorker` waits for them, and events tell what
   * becomes of them.
   * @throws TypeError Naming the option or the connection that is none.
   */
  constructor(connections?: Iterable<ConnectionLike> | null, options?: HorizontalOptions);

  /** mediasoup itself, with a `createWorker` whose Workers live on these connections. */
  get mediasoup(): typeof mediasoup;

  /** As mediasoup's `observer`, for the Workers of these connections only. */
  get observer(): EnhancedEventEmitter<HorizontalObserverEvents>;

  /** Whether `close()` was called. */
  get closed(): boolean;

  /** How many connections there are. */
  get size(): number;

  /**
   * Adds a connection. One that is there already stays as it is, and is taken back if it was about
   * to leave.
   *
   * @returns The object that stands for it, once it is connected and checked.
   * @throws IncompatibleConnectionError If its workers are nothing for this app.
   * @throws Error If it could not be reached within the connect timeout, or does not let us in.
   */
  add(connection: ConnectionLike): Promise<Connection>;

  /**
   * Removes a connection.
   *
   * @param connection Also its name.
   * @returns Whether it was there, and is not any more: one that was added again while it drained
   * stays.
   */
  delete(connection: ConnectionLike, options?: DeleteOptions): Promise<boolean>;

  /** Removes every connection. */
  clear(options?: DeleteOptions): Promise<void>;

  /** @param connection Also its name. */
  has(connection: ConnectionLike): boolean;

  forEach(
    callback: (value: Connection, key: Connection, set: this) => void,
    thisArg?: unknown,
  ): void;
  keys(): IterableIterator<Connection>;
  /** In the order in which they came. */
  values(): IterableIterator<Connection>;
  entries(): IterableIterator<[Connection, Connection]>;
  [Symbol.iterator](): IterableIterator<Connection>;

  /**
   * Where a Worker lives.
   *
   * @returns Undefined once the Worker is gone.
   */
  whereIs(worker: { pid: number }): { connection: string } | undefined;

  /**
   * What there is now on all connections. A Worker that does not answer within a second is told
   * without what lives on it.
   */
  stats(options?: StatsOptions): Promise<HorizontalStats>;

  /** The same in the text format of Prometheus (OpenMetrics). */
  metrics(): Promise<string>;

  /**
   * What there is now, with every object, and then what changes, for as long as it is iterated. It
   * keeps no process alive. Whoever takes too long misses changes, hears of it, and gets another
   * snapshot.
   *
   * @example
   * ```ts
   * for await (const change of horizontal.changes()) {
   *   if (change.type === 'closeobject' && change.reason === 'partlost') {
   *     console.log(`${change.kind} ${change.id} is lost with ${change.connection}`);
   *   }
   * }
   * ```
   */
  changes(): AsyncIterableIterator<HorizontalChange>;

  /** Ends every Worker and connection. */
  close(): void;
}

/** The instance behind the exports of this module, configured by the environment. */
export declare const horizontal: Horizontal;
