'use strict';

/**
 * Workers of this host.
 */
class LocalConnection {
  /**
   * @param {object} [options]
   * @param {string} [options.workerBin] Path of a mediasoup-worker. Default: the one that set-up
   * found or built.
   * @param {boolean} [options.execInPlace] Whether the process that mediasoup spawns becomes the
   * worker itself. Default true.
   */
  constructor({ workerBin, execInPlace = true } = {}) {
    this.settings = { type: 'local', workerBin: workerBin ?? null, execInPlace };
  }
}

/**
 * Workers of another host, through its agent.
 */
class RemoteConnection {
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

    this.settings = { type: 'remote', url, token: token ?? null, ca: ca ?? null };
  }
}

/**
 * Workers without media, ports or processes, for tests.
 */
class MockConnection {
  /**
   * @param {object} [options]
   * @param {string} [options.name] Default `mock`.
   */
  constructor({ name = 'mock' } = {}) {
    this.settings = { type: 'mock', name };
  }
}

/**
 * What may be given as a connection, as settings for the core.
 *
 * @param {string | LocalConnection | RemoteConnection | MockConnection} connection
 * @returns {object}
 */
function toSettings(connection) {
  if (typeof connection === 'string') {
    return new RemoteConnection({ url: connection }).settings;
  }
  if (
    connection instanceof LocalConnection ||
    connection instanceof RemoteConnection ||
    connection instanceof MockConnection
  ) {
    return connection.settings;
  }

  throw new TypeError(
    'a connection must be a URL (ws://… or wss://…), a RemoteConnection, a LocalConnection or ' +
      'a MockConnection'
  );
}

module.exports = { LocalConnection, MockConnection, RemoteConnection, toSettings };
