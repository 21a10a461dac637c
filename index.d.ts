import type * as mediasoup from 'mediasoup-upstream';
import type { HorizontalChange, HorizontalStats, StatsOptions } from './js/monitor/types';

export * from 'mediasoup-upstream';
export type * from './js/monitor/types';

/** Workers of this host. */
export declare class LocalConnection {
  constructor(options?: LocalConnectionOptions);
  private readonly settings;
}

export interface LocalConnectionOptions {
  /** Path of a mediasoup-worker. Default: the one that set-up found or built. */
  workerBin?: string;
  /**
   * Whether the process that mediasoup spawns becomes the worker itself, which then is the only one
   * of its Worker. Default: where a Worker has only one anyway.
   */
  execInPlace?: boolean;
}

/** Workers of another host, through its agent. */
export declare class RemoteConnection {
  constructor(options: RemoteConnectionOptions);
  private readonly settings;
}

export interface RemoteConnectionOptions {
  /** `ws://host:port` or `wss://host:port`. */
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
export declare class MockConnection {
  constructor(options?: MockConnectionOptions);
  private readonly settings;
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

/** What may be given as a connection. A string is the URL of an agent. */
export type ConnectionLike = string | LocalConnection | RemoteConnection | MockConnection;

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
  /** Whether its host means to leave. */
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

/**
 * The connections whose workers carry an app's media.
 *
 * @example
 * ```ts
 * const horizontal = new Horizontal(['wss://media1.example.com:4480', new LocalConnection()]);
 * const worker = await horizontal.mediasoup.createWorker();
 * ```
 */
export declare class Horizontal {
  /**
   * @param connections Default: what the environment names (`MEDIASOUP_HORIZONTAL_AGENTS`), else
   * this host.
   */
  constructor(connections?: Iterable<ConnectionLike>, options?: HorizontalOptions);

  /** mediasoup itself, with a `createWorker` whose Workers live on these connections. */
  get mediasoup(): typeof mediasoup;

  /** Whether `close()` was called. */
  get closed(): boolean;

  /**
   * Adds a connection.
   *
   * @returns Its name.
   */
  add(connection: ConnectionLike): string;

  /**
   * Removes a connection and ends its Workers.
   *
   * @returns Whether it was there.
   */
  delete(name: string): boolean;

  /** The names of all connections. */
  names(): string[];

  /**
   * Whether the other side of a connection can be reached: `disconnected` is one that was lost for
   * longer than the silent window; its Workers live on until the session timeout.
   *
   * @returns Undefined where there is no connection of that name.
   */
  state(name: string): 'connecting' | 'connected' | 'disconnected' | 'closed' | undefined;

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
