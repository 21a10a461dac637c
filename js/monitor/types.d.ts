import type { ConnectionState, Difference, ObjectEvent } from '../../index';

/** What `horizontal.stats()` is to tell beside the rest. */
export interface StatsOptions {
  /** Name every object, not only how many there are. */
  objects?: boolean;
  /**
   * Ask the mediasoup-workers what goes through each pipe. Those that do not answer within half a
   * second are left out.
   */
  bitrates?: boolean;
}

/** What there is on the connections of a Horizontal. */
export interface HorizontalStats {
  connections: ConnectionStats[];
  workers: WorkerStats[];
  routers: RouterStats[];
  pipes: PipeStats[];
  /** With `{ objects: true }`. */
  objects?: ObjectEvent[];
  counters: HorizontalCounters;
}

export interface ConnectionStats {
  name: string;
  /** Whether its mediasoup-workers run on this host. */
  local: boolean;
  state: Exclude<ConnectionState, 'new'>;
  /** What keeps it from being used now, where that is known. */
  problem: string | null;
  /** mediasoup-workers that run there, everybody's. Null while nobody can tell. */
  workers: number | null;
  maxWorkers: number | null;
  cores: number;
  /** Cores that this app's mediasoup-workers use there, such as 1.25. */
  cpu: number;
  /** The same for each of them, by its process id there. */
  cpuByWorker: { [pid: number]: number };
  /** Cores that everybody else's mediasoup-workers use there. */
  cpuOfOthers: number;
  /** How old the measurements are; null where there are none. */
  measuredMsAgo: number | null;
  /** Whether it takes nothing new: its host means to leave, or this Horizontal leaves it. */
  draining: boolean;
  region: string | null;
  labels: { [label: string]: string };
  /** mediasoup versions of its mediasoup-workers, where it tells. */
  workerVersions: string[];
  /** The agent that let us in last. Null where there is none. */
  agent: AgentStats | null;
  /** The links to it, all that there ever were. Null where there is no agent. */
  link: LinkStats | null;
}

export interface AgentStats {
  /** The same after a restart: host name and port. */
  id: string;
  /** Another one after a restart. */
  instanceId: string;
  /** Of its package; null where it does not tell. */
  version: string | null;
  /** Version of the protocol between the two. */
  protocol: number;
  /** Tells sessions apart and opens none. */
  session: string;
}

export interface LinkStats {
  roundTripTimeMs: number | null;
  framesSent: number;
  framesReceived: number;
  /** Frames that were written again after a lost link. */
  framesReplayed: number;
  bytesSent: number;
  bytesReceived: number;
  /** Bytes that wait to be written, or for the agent's acknowledgement. */
  queuedBytes: number;
  /** Sessions that were opened. */
  sessions: number;
  /** Sessions that ended without the app wanting it: their Workers died. */
  sessionsLost: number;
  /** Links that went on with a session: reconnects that nobody noticed. */
  resumes: number;
  /** Attempts to reach the agent that failed. */
  dialFailures: number;
  /** mediasoup-workers that were asked for again of another session. */
  spawnRetries: number;
}

/** How many objects of the app there are. What the package adds for itself is not counted. */
export interface ObjectCounts {
  webRtcServers: number;
  routers: number;
  transports: number;
  rtpObservers: number;
  producers: number;
  consumers: number;
  dataProducers: number;
  dataConsumers: number;
}

export interface WorkerStats {
  /** As the app knows it. */
  pid: number;
  /** The connection that it was born on. */
  connection: string;
  /** Whether it told of itself in time. If not, what lives on it is missing here. */
  answered: boolean;
  /** The mediasoup-workers behind it. */
  parts: PartStats[];
  objects: ObjectCounts;
  /** Calls that wait for an answer, the package's own too. */
  callsUnderWay: number;
  /** Bytes that the app has yet to read. */
  queuedBytes: number;
}

/** Where something lives. */
export interface PlaceStats {
  /** Null while the mediasoup-worker is being started. */
  connection: string | null;
  /** Process id of the mediasoup-worker on its own host. */
  pid: number | null;
}

/** A mediasoup-worker behind a Worker, or a share of one. */
export interface PartStats extends PlaceStats {
  /** Whether Routers are born here. */
  home: boolean;
  /** False while the link to its host is down. */
  reachable: boolean;
  /** Cores that it uses; null while that is not measured. */
  cpu: number | null;
  /** Bytes that it has yet to take. */
  queuedBytes: number;
  /** What lives there. A Router is counted where it is at home. */
  objects: ObjectCounts;
}

export interface RouterStats {
  id: string;
  /** `pid` of its Worker, as the app knows it. */
  worker: number;
  /** Where it lives, its home first. */
  parts: PlaceStats[];
  objects: ObjectCounts;
}

/** A Producer or DataProducer on its way from one mediasoup-worker to another. */
export interface PipeStats {
  /** `pid` of its Worker, as the app knows it. */
  worker: number;
  router: string;
  /** Id of the Producer or DataProducer. */
  producer: string;
  /** Whether that is a DataProducer. */
  data: boolean;
  from: PlaceStats;
  to: PlaceStats;
  /** Whether another pipe brings the Producer to where this one begins. */
  relayed: boolean;
  /** False while it is being made. */
  ready: boolean;
  /** Consumers, observers and further pipes that it feeds. */
  users: number;
  /** Those of them that are not paused. */
  activeUsers: number;
  /** It rests, because nobody needs its media. */
  paused: boolean;
  /**
   * Bits per second when it was measured last; null where it never was, which is so without
   * `{ bitrates: true }` and for data.
   */
  bitrate: number | null;
}

/** Counted since the Horizontal began. */
export interface HorizontalCounters {
  /** Calls that mediasoup made, by method, such as `transport.produce`. */
  calls: { [method: string]: number };
  /** Those that ended with an error. */
  errors: number;
  workersStarted: number;
  workersEnded: number;
  /** Further parts that Workers grew. */
  partsOpened: number;
  /** Further parts that could not be had. */
  partsFailed: number;
  /** Parts that died while their Worker lived on. */
  partsLost: number;
  /** Events that were dropped because the app did not take them. */
  eventsMissed: number;
}

/** What `horizontal.changes()` tells. */
export type HorizontalChange =
  /** All there is. The first, and the next one after `missed`. */
  | { type: 'snapshot'; stats: HorizontalStats & { objects: ObjectEvent[] } }
  /** So many changes got lost. A snapshot follows. */
  | { type: 'missed'; count: number }
  | { type: 'add' | 'delete' | 'connected' | 'reconnected'; connection: string }
  | {
      type: 'disconnected' | 'refused' | 'unreachable' | 'full';
      connection: string;
      message: string;
    }
  | {
      type: 'incompatible';
      connection: string;
      message: string;
      differences: Difference[];
    }
  | { type: 'draining'; connection: string; draining: boolean }
  | ({ type: 'newobject' } & ObjectEvent)
  | ({
      type: 'closeobject';
      /**
       * `partlost`: the mediasoup-worker that it lived on is gone, while its Worker lives on.
       * `died`: its Worker died. Null: it was closed.
       */
      reason: 'partlost' | 'died' | null;
    } & ObjectEvent);
