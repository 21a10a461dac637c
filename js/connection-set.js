'use strict';

const {
  BaseConnection,
  LocalConnection,
  RemoteConnection,
  areSame,
  nameOfAgent,
  settingsOf,
  toConnection,
} = require('./connections');
const { unwrap } = require('./native');
const { UserGlue } = require('./user-connection');

/** @import { ConnectionState } from './connections' */
/** @import { NativeCore } from './native' */
/** @import { UserConnection } from './user-connection' */

/** @typedef {BaseConnection | UserConnection} Connection */

/**
 * @template T
 * @typedef {object} Deferred
 * @property {Promise<T>} promise
 * @property {(value: T) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/**
 * A connection on its way into the set.
 *
 * @typedef {object} Joining
 * @property {Connection} connection
 * @property {Promise<Connection>} promise
 * @property {(error: unknown) => void} cancel
 */

/**
 * @typedef {object} DeleteOptions
 * @property {boolean} [drain] Whether to wait until nothing of this Horizontal lives there. Default:
 * its Workers end at once.
 * @property {number} [timeoutMs] How long to wait at most; then its Workers end. Default: for ever.
 */

/** The longest that a timer of Node.js waits; it takes anything longer for 1 ms. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * The objects that stand for the connections of a core. Which ones there are is the core's to say.
 */
class ConnectionSet {
  /** @type {NativeCore} */
  #core;
  /** @type {Map<string, Connection>} */
  #known = new Map();
  /** @type {Map<string, Joining>} */
  #joining = new Map();
  /**
   * Those whose end is not told yet: another may have their name by then.
   *
   * @type {Connection[]}
   */
  #gone = [];

  /**
   * @param {NativeCore} core
   */
  constructor(core) {
    this.#core = core;
  }

  /**
   * Adds one at once, however it stands.
   *
   * @param {Connection} connection
   */
  put(connection) {
    const glue = this.#glue(connection);

    unwrap(this.#core.add(JSON.stringify(settingsOf(connection)), glue?.ask));
    glue?.begin();
    this.#know(connection);
  }

  /**
   * Adds one once it is connected and checked.
   *
   * @param {unknown} given
   * @returns {Promise<Connection>}
   */
  async add(given) {
    const connection = toConnection(given);
    const { name } = connection;
    if (name.startsWith('dns+')) {
      throw new TypeError(
        `${name} stands for all agents behind a name: give it to the constructor, or name it in ` +
          'MEDIASOUP_HORIZONTAL_AGENTS',
      );
    }
    const joining = this.#joining.get(name);
    const there = joining?.connection ?? this.get(name);

    if (there) {
      // A URL alone asks for no settings of its own.
      if (typeof given !== 'string' && !areSame(there, connection)) {
        throw new Error(
          `there is a connection ${name} already, with other settings: delete it first`,
        );
      }
      this.#core.undrain(name);

      return joining ? joining.promise : there;
    }

    return this.#join(connection);
  }

  /**
   * @param {Connection} connection
   * @returns {Promise<Connection>}
   */
  #join(connection) {
    const { name } = connection;
    /** @type {Deferred<Connection>} */
    const { promise, resolve, reject } = withResolvers();
    const settings = JSON.stringify(settingsOf(connection));
    const before = this.#known.get(name);
    const joining = { connection, promise, cancel: reject };
    const done = (/** @type {string} */ text) => {
      if (this.#joining.get(name) !== joining) {
        return;
      }
      this.#joining.delete(name);
      try {
        unwrap(text);
        resolve(connection);
      } catch (error) {
        this.#restore(name, before);
        reject(error);
      }
    };

    this.#know(connection);
    this.#joining.set(name, joining);
    try {
      const glue = this.#glue(connection);

      unwrap(this.#core.join(settings, glue?.ask, done));
      glue?.begin();
    } catch (error) {
      this.#joining.delete(name);
      this.#restore(name, before);
      reject(error);
    }

    return promise;
  }

  /**
   * @param {unknown} given
   * @param {DeleteOptions} [options]
   * @returns {Promise<boolean>} Whether it was there, and is not any more.
   */
  async delete(given, { drain = false, timeoutMs } = {}) {
    const connection = this.find(given);

    if (!connection) {
      return this.#giveUp(given);
    }

    const { name } = connection;

    if (drain) {
      if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs >= 0)) {
        throw new TypeError('timeoutMs must be a number of milliseconds');
      }
      this.#core.drain(name);
      if (!(await this.#drained(name, timeoutMs)) && this.get(name) === connection) {
        return false;
      }
      // Somebody may have been quicker, and another may have taken its place since.
      if (this.get(name) !== connection) {
        return true;
      }
    }

    return this.#remove(connection);
  }

  /**
   * @param {Connection} connection
   * @returns {boolean}
   */
  #remove(connection) {
    const removed = this.#core.remove(connection.name);

    if (removed) {
      this.#gone.push(connection);
    }

    return removed;
  }

  /**
   * @param {unknown} given
   * @returns {boolean}
   */
  #giveUp(given) {
    const name = nameOf(given);
    const joining = name === undefined ? undefined : this.#joining.get(name);

    if (!joining || !this.#core.giveUp(joining.connection.name)) {
      return false;
    }
    this.#joining.delete(joining.connection.name);
    joining.cancel(new Error(`${joining.connection.name} was deleted before it was connected`));

    return true;
  }

  /**
   * @param {string} name
   * @param {number | undefined} timeoutMs
   * @returns {Promise<boolean>} False if it stays after all.
   */
  async #drained(name, timeoutMs) {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const drained = await new Promise((resolve) => {
      this.#core.drained(name, resolve);
      if (timeoutMs !== undefined) {
        timer = setTimeout(() => resolve(true), Math.min(timeoutMs, LONGEST_MS));
      }
    });

    clearTimeout(timer);

    return drained;
  }

  /**
   * All of them, in the order in which they came.
   *
   * @returns {Connection[]}
   */
  list() {
    return this.#names().map((name) => this.#element(name));
  }

  /**
   * @param {string} name
   * @returns {Connection | undefined}
   */
  get(name) {
    return this.#names().includes(name) ? this.#element(name) : undefined;
  }

  /**
   * The one that is meant, if it is in the set.
   *
   * @param {unknown} given What may be given as a connection, or a name.
   * @returns {Connection | undefined}
   */
  find(given) {
    const name = nameOf(given);
    const there = name === undefined ? undefined : this.get(name);

    return there && (typeof given === 'string' || areSame(there, toConnection(given)))
      ? there
      : undefined;
  }

  /**
   * The one that an event is about. It may have left the set since.
   *
   * @param {{ type: string, connection?: string }} event
   * @returns {Connection}
   */
  ofEvent({ type, connection = '' }) {
    if (type !== 'delete') {
      return this.#element(connection);
    }

    const position = this.#gone.findIndex(({ name }) => name === connection);
    const [gone] = position < 0 ? [this.#element(connection)] : this.#gone.splice(position, 1);

    if (this.#known.get(connection) === gone && !this.get(connection)) {
      this.#known.delete(connection);
    }

    return /** @type {Connection} */ (gone);
  }

  /**
   * @param {Connection} connection
   * @returns {ConnectionState}
   */
  stateOf(connection) {
    const { name } = connection;

    // Another may have its name by now.
    return this.#known.get(name) === connection
      ? (JSON.parse(this.#core.states())[name] ?? 'closed')
      : 'closed';
  }

  /**
   * Nothing comes into the set any more.
   *
   * @param {Error} error
   */
  cancel(error) {
    for (const { cancel } of this.#joining.values()) {
      cancel(error);
    }
    this.#joining.clear();
  }

  /**
   * @returns {string[]}
   */
  #names() {
    return JSON.parse(this.#core.connections());
  }

  /**
   * @param {string} name
   * @returns {Connection}
   */
  #element(name) {
    return this.#known.get(name) ?? this.#know(ofName(name));
  }

  /**
   * @param {Connection} connection
   * @returns {Connection}
   */
  #know(connection) {
    const { name } = connection;

    this.#known.set(name, connection);
    if (connection instanceof BaseConnection) {
      const set = new WeakRef(this);

      BaseConnection.setState(connection, () => set.deref()?.stateOf(connection) ?? 'closed');
    }

    return connection;
  }

  /**
   * @param {string} name
   * @param {Connection | undefined} before
   */
  #restore(name, before) {
    if (before) {
      this.#known.set(name, before);
    } else {
      this.#known.delete(name);
    }
  }

  /**
   * @param {Connection} connection
   * @returns {UserGlue | undefined} What the core asks for workers.
   */
  #glue(connection) {
    return connection instanceof BaseConnection ? undefined : new UserGlue(connection, this.#core);
  }
}

/**
 * One that the core made by itself, as from the environment.
 *
 * @param {string} name
 * @returns {BaseConnection}
 */
function ofName(name) {
  return name.includes('://') ? new RemoteConnection({ url: name }) : new LocalConnection({ name });
}

/**
 * @param {unknown} given
 * @returns {string | undefined}
 */
function nameOf(given) {
  if (typeof given === 'string') {
    return given.includes('://') ? nameOfAgent(given) : given;
  }
  try {
    return toConnection(given).name;
  } catch {
    return undefined;
  }
}

/**
 * As `Promise.withResolvers()`, which not every supported Node.js has.
 *
 * @template T
 * @returns {Deferred<T>}
 */
function withResolvers() {
  /** @type {any} */
  const all = {};

  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }));

  return all;
}

module.exports = { ConnectionSet };
