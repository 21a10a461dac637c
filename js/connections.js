'use strict';

/**
 * What every connection is made of. The settings are private, so that no log shows a token.
 */
class BaseConnection {
  /** @type {object} */
  #settings;

  /**
   * @param {object} settings
   */
  constructor(settings) {
    this.#settings = settings;
  }

  /**
   * @param {BaseConnection} connection
   * @returns {object} What the core takes.
   */
  static settingsOf(connection) {
    return connection.#settings;
  }
}

/**
 * Workers of this host.
 */
class LocalConnection extends BaseConnection {
  /**
   * @param {object} [options]
   * @param {string} [options.workerBin] Path of a mediasoup-worker. Default: the one that set-up
   * found or built.
   * @param {boolean} [options.execInPlace] Whether the process that mediasoup spawns becomes the
   * worker itself, which then is the only one of its Worker. Default: where a Worker has only one
   * anyway.
   */
  constructor({ workerBin, execInPlace } = {}) {
    super({ type: 'local', workerBin: workerBin ?? null, execInPlace: execInPlace ?? null });
  }
}

/**
 * Workers of another host, through its agent.
 */
class RemoteConnection extends BaseConnection {
  /**
   * @param {object} options
   * @param {string} options.url `ws://host:port` or `wss://host:port`.
   * @param {string} [options.token] What the agent asks for. Never part of the URL.
   * @param {string} [options.ca] Path of a PEM file with the authority of the agent's certificate.
   * Default: the system's authorities.
   */
  constructor({ url, token, ca }) {
    if (typeof url !== 'string') {
      throw new TypeError('RemoteConnection: url must be a string such as ws://host:4480');
    }
    super({ type: 'remote', url, token: token ?? null, ca: ca ?? null });
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
  constructor({ name = 'mock', cores, region, cpu } = {}) {
    super({
      type: 'mock',
      name,
      cores: cores ?? null,
      region: region ?? null,
      cpu: cpu === undefined ? null : Math.round(cpu * 1000),
    });
  }
}

/**
 * What may be given as a connection, as settings for the core.
 *
 * @param {string | BaseConnection} connection
 * @returns {object}
 */
function toSettings(connection) {
  if (typeof connection === 'string') {
    return BaseConnection.settingsOf(new RemoteConnection({ url: connection }));
  }
  if (connection instanceof BaseConnection) {
    return BaseConnection.settingsOf(connection);
  }
  throw new TypeError(
    'a connection must be a URL (ws://… or wss://…), a RemoteConnection, a LocalConnection or ' +
      'a MockConnection',
  );
}

module.exports = { LocalConnection, MockConnection, RemoteConnection, toSettings };
