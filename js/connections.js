'use strict';

const fs = require('node:fs');
const { isDeepStrictEqual } = require('node:util');
const { show, toSettings } = require('./check-options');
const { checkUserConnection, userSettings } = require('./user-connection');

/** @import { UserConnection } from './user-connection' */

/**
 * `new`: in no Horizontal so far. `disconnected`: away for longer than the silent window; its
 * Workers live on until the session timeout. `refused`: it does not let us in, or does not fit.
 * `closed`: not in a Horizontal any more.
 *
 * @typedef {'new' | 'connecting' | 'connected' | 'disconnected' | 'refused' | 'closed'}
 * ConnectionState
 */

/**
 * What every connection is made of. The settings are private, so that no log shows a token.
 */
class BaseConnection {
  /** @type {object} */
  #settings;
  /** @type {string} */
  #name;
  /** @type {() => ConnectionState} */
  #state = () => 'new';

  /**
   * @param {string} name
   * @param {object} settings
   */
  constructor(name, settings) {
    this.#name = name;
    this.#settings = settings;
  }

  /**
   * What it is called in errors and events: the URL of an agent, `local`, `mock`.
   */
  get name() {
    return this.#name;
  }

  /**
   * How it stands in the Horizontal that it was added to last.
   *
   * @returns {ConnectionState}
   */
  get state() {
    return this.#state();
  }

  /**
   * @param {BaseConnection} connection
   * @returns {object} What the core takes.
   */
  static settingsOf(connection) {
    return connection.#settings;
  }

  /**
   * @param {BaseConnection} connection
   * @param {() => ConnectionState} state
   */
  static setState(connection, state) {
    connection.#state = state;
  }
}

/**
 * Workers of this host.
 */
class LocalConnection extends BaseConnection {
  /**
   * @param {object} [options]
   * @param {string} [options.name] Default `local`.
   * @param {string} [options.workerBin] Path of a mediasoup-worker. Default: the one that set-up
   * found or built.
   * @param {string} [options.version] Its mediasoup version. Default: what the manifest.json beside
   * it tells, else the library's own.
   * @param {boolean} [options.execInPlace] Whether the process that mediasoup spawns becomes the
   * worker itself, which then is the only one of its Worker. Default: where a Worker has only one
   * anyway.
   */
  constructor(options = {}) {
    const settings = toSettings('LocalConnection', options);
    const name = settings.name ?? 'local';

    super(name, { ...settings, type: 'local', name });
  }
}

/**
 * Workers of another host, through its agent.
 */
class RemoteConnection extends BaseConnection {
  /**
   * @param {object} options
   * @param {string} options.url `ws://host:port` or `wss://host:port`; for the constructor of
   * Horizontal also `dns+wss://name:port`, which stands for the agents behind a name.
   * @param {string} [options.token] What the agent asks for. Never part of the URL.
   * @param {string} [options.tokenFile] Path of a file with it, read again at each dial; its first
   * line counts. Lines that begin with # are comments.
   * @param {string} [options.ca] Path of a PEM file with the authorities of the agent's
   * certificate, and no others are trusted. Default: the system's. All files for TLS are read again
   * at each dial.
   * @param {string} [options.cert] Path of a PEM file with the certificate to show to an agent that
   * asks for one.
   * @param {string} [options.key] Path of a PEM file with its private key, for its owner only.
   * @param {string} [options.serverName] The name that the agent's certificate must have. Default:
   * the URL's host.
   * @param {number | 'infinite'} [options.sessionTimeoutMs] How long Workers outlive a lost link.
   * Default 30000.
   * @param {number} [options.silentWindowMs] How long a lost link is nobody's business. Default
   * 3000.
   * @param {number} [options.heartbeatMs] How often the agent is asked for a sign of life. Default
   * 1000.
   * @param {number} [options.silenceMs] How long an agent may say nothing. Default 4000.
   * @param {boolean} [options.fastDeath] Whether an agent whose own address refuses connections
   * after a loss counts as dead at once. Default true.
   */
  constructor(options) {
    const settings = toSettings('RemoteConnection', options);

    super(nameOfAgent(settings.url), { ...settings, type: 'remote' });
  }
}

/**
 * Workers without media, ports or processes, for tests.
 */
class MockConnection extends BaseConnection {
  /**
   * @param {object} [options]
   * @param {string} [options.name] Default `mock`.
   * @param {number} [options.cores] How many workers it has room for. Default 1024 on 8 cores.
   * @param {string} [options.region] Where it says that it is.
   * @param {number} [options.cpu] Cores that each of its workers says it takes. Default 0.
   */
  constructor(options = {}) {
    const { cpu, ...settings } = toSettings('MockConnection', options);
    const name = settings.name ?? 'mock';

    super(name, {
      ...settings,
      type: 'mock',
      name,
      cpu: cpu === null ? null : Math.round(cpu * 1000),
    });
  }
}

/**
 * An agent's URL as the core writes it.
 *
 * @param {string} url
 * @returns {string}
 */
function nameOfAgent(url) {
  try {
    const { href, pathname } = new URL(url.trim());

    return pathname === '/' && href.endsWith('/') ? href.slice(0, -1) : href;
  } catch {
    // The core says what is wrong with it.
    return 'an agent';
  }
}

/**
 * The worker that a mediasoup package brought, where it brought one; else whichever is found of its
 * version.
 *
 * @param {{ version: string, workerBin: string }} module
 * @returns {LocalConnection}
 */
function ofModule({ version, workerBin }) {
  const brought = fs.existsSync(workerBin);

  return new LocalConnection({ version, ...(brought && { workerBin }) });
}

/**
 * What may be given as a connection, as the object that stands for it.
 *
 * @param {unknown} given
 * @param {string} [path] What it is called in errors.
 * @returns {BaseConnection | UserConnection}
 * @throws {TypeError} Naming what may be given.
 */
function toConnection(given, path = 'a connection') {
  if (typeof given === 'string' && given !== '') {
    return new RemoteConnection({ url: given });
  }
  if (given instanceof BaseConnection) {
    return given;
  }

  const object = /** @type {any} */ (given ?? {});

  if (
    typeof object.createWorker === 'function' &&
    typeof object.workerBin === 'string' &&
    typeof object.version === 'string'
  ) {
    return ofModule(object);
  }
  if (typeof object.spawn === 'function') {
    checkUserConnection(object);

    return object;
  }
  throw new TypeError(
    `${path} must be a URL (ws://… or wss://…), a RemoteConnection, a LocalConnection, ` +
      'a MockConnection, a mediasoup module, or an object with a name and a function spawn, ' +
      `got ${show(given, true)}`,
  );
}

/**
 * The settings that the core takes.
 *
 * @param {BaseConnection | UserConnection} connection
 * @returns {object}
 */
function settingsOf(connection) {
  return connection instanceof BaseConnection
    ? BaseConnection.settingsOf(connection)
    : { own: userSettings(connection) };
}

/**
 * Whether the two stand for one and the same.
 *
 * @param {BaseConnection | UserConnection} one
 * @param {BaseConnection | UserConnection} other
 * @returns {boolean}
 */
function areSame(one, other) {
  return (
    one === other ||
    (one instanceof BaseConnection &&
      other instanceof BaseConnection &&
      isDeepStrictEqual(BaseConnection.settingsOf(one), BaseConnection.settingsOf(other)))
  );
}

module.exports = {
  BaseConnection,
  LocalConnection,
  MockConnection,
  RemoteConnection,
  areSame,
  nameOfAgent,
  settingsOf,
  toConnection,
};
