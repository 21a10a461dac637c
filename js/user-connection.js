'use strict';

const net = require('node:net');
const os = require('node:os');
const { inspect } = require('node:util');

/** @import { NativeCore } from './native' */
/** @import { Readable, Writable } from 'node:stream' */

/**
 * What a mediasoup-worker is started with.
 *
 * @typedef {object} WorkerRequest
 * @property {string} version The mediasoup version, for the worker's MEDIASOUP_VERSION.
 * @property {string} schema The fingerprint of the channel schema.
 * @property {string[]} args Its arguments, such as `--logLevel=warn`.
 * @property {string | null} dtlsCertificate The PEM text of `dtlsCertificateFile`, if there is one.
 * @property {string | null} dtlsPrivateKey That of `dtlsPrivateKeyFile`.
 */

/**
 * A mediasoup-worker that runs.
 *
 * @typedef {object} WorkerChannel
 * @property {number} pid
 * @property {Writable} input What it reads on fd 3.
 * @property {Readable} output What it writes to fd 4.
 * @property {(signal: NodeJS.Signals) => void} kill
 * @property {PromiseLike<{ code?: number | null, signal?: NodeJS.Signals | number | null }>} exited
 */

/**
 * An app's own source of workers.
 *
 * @typedef {object} UserConnection
 * @property {string} name
 * @property {string} [version] The mediasoup version of its workers. Default: the library's.
 * @property {string} [schema] The fingerprint of their channel schema.
 * @property {number} [capacity] How many it takes. Default 1024.
 * @property {number} [cores] How many cores they may use. Default: the capacity.
 * @property {string} [region]
 * @property {{ bind: string[], pipe?: string, announced?: string[], behindNat?: boolean }} [addresses]
 * Where they bind. Default: they are on this host.
 * @property {(request: WorkerRequest) => WorkerChannel | PromiseLike<WorkerChannel>} spawn
 * @property {() => { cpu?: Record<number, number>, others?: number[] }} [load] Asked once a second:
 * the cores that each worker takes by its pid, and that others take there.
 * @property {() => unknown} [close] It left the Horizontal, and its workers are gone.
 */

/** How often the load is asked for. */
const LOAD_MS = 1000;

/** How long the output of a worker that ended may stay open. */
const DRAIN_MS = 2000;

/**
 * Workers that end with this process at the latest.
 *
 * @type {Set<WorkerChannel>}
 */
const running = new Set();

/**
 * @param {UserConnection} connection
 * @throws {TypeError} Naming what is wrong with it.
 */
function checkUserConnection(connection) {
  const { name, version, schema, capacity, cores, region, addresses, load, close } = connection;
  const who = typeof name === 'string' && name !== '' ? `the connection ${name}` : 'a connection';

  /**
   * @param {boolean} holds
   * @param {string} message
   */
  function check(holds, message) {
    if (!holds) {
      throw new TypeError(`${who}: ${message}`);
    }
  }

  check(who !== 'a connection', 'name must be a string that is not empty');
  for (const [field, value] of Object.entries({ version, schema, region })) {
    check(value === undefined || typeof value === 'string', `${field} must be a string`);
  }
  for (const [field, value] of Object.entries({ capacity, cores })) {
    check(
      value === undefined || (Number.isSafeInteger(value) && value > 0),
      `${field} must be a whole number from 1 on`,
    );
  }
  for (const [field, value] of Object.entries({ load, close })) {
    check(value === undefined || typeof value === 'function', `${field} must be a function`);
  }
  check(
    addresses === undefined || (Array.isArray(addresses?.bind) && addresses.bind.every(net.isIP)),
    'addresses.bind must be a list of IP addresses',
  );
  check(
    addresses?.pipe === undefined || net.isIP(addresses.pipe) !== 0,
    'addresses.pipe must be an IP address',
  );
  check(
    addresses?.announced === undefined ||
      (Array.isArray(addresses.announced) &&
        addresses.announced.every((address) => typeof address === 'string')),
    'addresses.announced must be a list of addresses or names',
  );
}

/**
 * @param {UserConnection} connection
 * @returns {object} What the core takes.
 */
function userSettings({ name, version, schema, capacity, cores, region, addresses }) {
  return {
    name,
    version: version ?? null,
    schema: schema ?? null,
    capacity: capacity ?? null,
    cores: cores ?? null,
    region: region ?? null,
    addresses: addresses
      ? {
          bind: addresses.bind,
          pipe: addresses.pipe ?? null,
          announced: addresses.announced ?? [],
          behindNat: addresses.behindNat ?? false,
        }
      : null,
  };
}

/**
 * @typedef {object} Started
 * @property {net.Socket} fromCore
 * @property {net.Socket} toCore
 * @property {WorkerChannel} [channel] Once it runs.
 * @property {boolean} [unwanted] It was killed before that.
 */

/**
 * Brings an app's own connection and the core together. Nothing that the app's code does or throws
 * gets any further than here.
 */
class UserGlue {
  /** @type {UserConnection} */
  #connection;
  /** @type {WeakRef<NativeCore>} */
  #core;
  /** @type {Map<number, Started>} */
  #workers = new Map();
  #closing = false;
  #warned = false;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {UserConnection} connection
   * @param {NativeCore} core
   */
  constructor(connection, core) {
    this.#connection = connection;
    this.#core = new WeakRef(core);
  }

  /**
   * The core has it: from now on it tells its load.
   */
  begin() {
    if (this.#connection.load && !this.#closing) {
      this.#timer = setInterval(() => this.#measure(), LOAD_MS).unref();
    }
  }

  /**
   * Answers the core.
   *
   * @param {string} text
   * @returns {string}
   */
  ask = (text) => {
    const question = JSON.parse(text);

    switch (question.type) {
      case 'spawn':
        return this.#spawn(question);
      case 'signal':
        this.#signal(question);
        break;
      default:
        this.#closing = true;
        clearInterval(this.#timer);
        this.#closeWhenEmpty();
    }

    return '';
  };

  /**
   * @param {{ id: number, request: WorkerRequest, input: number, output: number }} question
   * @returns {string}
   */
  #spawn({ id, request, input, output }) {
    const fromCore = new net.Socket({ fd: input, readable: true, writable: false });
    const toCore = new net.Socket({ fd: output, readable: false, writable: true });

    for (const socket of [fromCore, toCore]) {
      // The core sees for itself that they are gone; the app's process lives by its own.
      socket.on('error', () => socket.destroy());
      socket.unref();
    }
    this.#workers.set(id, { fromCore, toCore });
    Promise.resolve(request)
      .then((wanted) => this.#connection.spawn(wanted))
      .then((channel) => this.#start(id, checked(channel)))
      .catch((error) => {
        this.#tell({ type: 'failed', id, message: `spawn() failed: ${words(error)}` });
        this.#forget(id);
      });

    return 'taken';
  }

  /**
   * @param {number} id
   * @param {WorkerChannel} channel
   */
  #start(id, channel) {
    const worker = /** @type {Started} */ (this.#workers.get(id));
    const { fromCore, toCore, unwanted } = worker;
    const { input, output, pid } = channel;

    worker.channel = channel;
    keep(channel);
    Promise.resolve(channel.exited).then(
      (exit) => this.#exited(id, exit),
      () => this.#exited(id, undefined),
    );
    input.on('error', () => fromCore.destroy());
    output.on('error', () => toCore.end());
    output.on('close', () => toCore.end());
    fromCore.pipe(input);
    output.pipe(toCore);
    this.#tell({ type: 'started', id, pid });
    if (unwanted) {
      kill(channel, 'SIGKILL');
    }
  }

  /**
   * @param {number} id
   * @param {{ code?: number | null, signal?: NodeJS.Signals | number | null } | undefined} exit
   */
  #exited(id, exit) {
    const { code, signal } = exit ?? {};
    const number = typeof signal === 'string' ? os.constants.signals[signal] : signal;

    this.#tell({
      type: 'exited',
      id,
      code: Number.isSafeInteger(code) ? code : null,
      signal: Number.isSafeInteger(number) ? number : null,
    });
    this.#forget(id);
  }

  /**
   * @param {number} id
   */
  #forget(id) {
    const { fromCore, toCore, channel } = this.#workers.get(id) ?? {};

    this.#workers.delete(id);
    fromCore?.destroy();
    if (channel) {
      letGo(channel);
      setTimeout(() => toCore?.destroy(), DRAIN_MS).unref();
    } else {
      toCore?.destroy();
    }
    this.#closeWhenEmpty();
  }

  /**
   * @param {{ id: number, signal: number }} question
   */
  #signal({ id, signal }) {
    const worker = this.#workers.get(id);
    const known = Object.entries(os.constants.signals).find(([, number]) => number === signal);

    if (worker?.channel) {
      kill(worker.channel, /** @type {NodeJS.Signals} */ (known?.[0] ?? 'SIGKILL'));
    } else if (worker) {
      worker.unwanted = true;
    }
  }

  #measure() {
    try {
      const { cpu = {}, others = [] } = this.#connection.load?.() ?? {};
      const thousandths = (/** @type {number} */ cores) => Math.max(0, Math.round(cores * 1000));
      const own = Object.entries(cpu).map(([pid, cores]) => [Number(pid), thousandths(cores)]);

      this.#tell({ type: 'load', own, others: others.map(thousandths) });
    } catch (error) {
      this.#warn(`load() failed: ${words(error)}`);
    }
  }

  async #closeWhenEmpty() {
    if (!this.#closing || this.#workers.size > 0) {
      return;
    }
    this.#closing = false;
    try {
      await this.#connection.close?.();
    } catch (error) {
      this.#warn(`close() failed: ${words(error)}`);
    }
  }

  /**
   * @param {object} told
   */
  #tell(told) {
    const answer = this.#core.deref()?.tellOwn(this.#connection.name, JSON.stringify(told));
    const error = answer ? JSON.parse(answer).error : null;

    if (error) {
      this.#warn(error);
    }
  }

  /**
   * Once: what goes wrong each second need not be told each second.
   *
   * @param {string} what
   */
  #warn(what) {
    if (!this.#warned) {
      this.#warned = true;
      process.emitWarning(`the connection ${this.#connection.name}: ${what}`, {
        code: 'MEDIASOUP_HORIZONTAL_CONNECTION',
      });
    }
  }
}

/**
 * @param {WorkerChannel} channel
 * @returns {WorkerChannel}
 */
function checked(channel) {
  try {
    checkChannel(channel);
  } catch (error) {
    // It may run all the same.
    kill(channel, 'SIGKILL');
    throw error;
  }

  return channel;
}

/**
 * @param {WorkerChannel} channel
 * @throws {TypeError} Naming what is missing.
 */
function checkChannel(channel) {
  const { pid, input, output, kill: ends, exited } = channel ?? {};

  if (!Number.isSafeInteger(pid) || pid < 1 || pid > 0xffff_ffff) {
    throw new TypeError('pid of what it gives must be a process id');
  }
  if ([input?.write, input?.end, input?.on].some((method) => typeof method !== 'function')) {
    throw new TypeError('input of what it gives must be a stream to write to');
  }
  if (typeof output?.pipe !== 'function' || typeof output.on !== 'function') {
    throw new TypeError('output of what it gives must be a stream to read from');
  }
  if (typeof ends !== 'function') {
    throw new TypeError('kill of what it gives must be a function');
  }
  if (typeof exited?.then !== 'function') {
    throw new TypeError('exited of what it gives must be a promise');
  }
}

/**
 * @param {WorkerChannel} channel
 * @param {NodeJS.Signals} signal
 */
function kill(channel, signal) {
  try {
    channel.kill(signal);
  } catch {
    // The core gives it up after a while, and says so.
  }
}

/**
 * @param {WorkerChannel} channel
 */
function keep(channel) {
  if (running.size === 0) {
    process.on('exit', killAll);
  }
  running.add(channel);
}

/**
 * @param {WorkerChannel} channel
 */
function letGo(channel) {
  if (running.delete(channel) && running.size === 0) {
    process.off('exit', killAll);
  }
}

function killAll() {
  for (const channel of running) {
    kill(channel, 'SIGKILL');
  }
}

/**
 * What is thrown need not be an Error, nor anything that has a text.
 *
 * @param {any} error
 * @returns {string}
 */
function words(error) {
  const text = error?.message ?? error;

  return typeof text === 'string' ? text : inspect(text);
}

module.exports = { UserGlue, checkUserConnection, userSettings };
