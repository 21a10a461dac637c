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
  constructor({
    url,
    token,
    tokenFile,
    ca,
    cert,
    key,
    serverName,
    sessionTimeoutMs,
    silentWindowMs,
    heartbeatMs,
    silenceMs,
    fastDeath,
  }) {
    if (typeof url !== 'string') {
      throw new TypeError('RemoteConnection: url must be a string such as ws://host:4480');
    }
    const texts = { token, tokenFile, ca, cert, key, serverName };

    for (const [name, value] of Object.entries(texts)) {
      // Never quotes the value: it may be a secret.
      if (value !== undefined && value !== null && typeof value !== 'string') {
        throw new TypeError(`RemoteConnection: ${name} must be a string`);
      }
    }
    const times = { sessionTimeoutMs, silentWindowMs, heartbeatMs, silenceMs };

    for (const [name, value] of Object.entries(times)) {
      const infinite = name === 'sessionTimeoutMs' && value === 'infinite';

      if (value !== undefined && !infinite && !isTime(value, name === 'heartbeatMs' ? 1 : 0)) {
        throw new TypeError(`RemoteConnection: ${name} must be a number of milliseconds`);
      }
    }
    if (fastDeath !== undefined && typeof fastDeath !== 'boolean') {
      throw new TypeError('RemoteConnection: fastDeath must be true or false');
    }
    super({
      type: 'remote',
      url,
      token: token ?? null,
      tokenFile: tokenFile ?? null,
      ca: ca ?? null,
      cert: cert ?? null,
      key: key ?? null,
      serverName: serverName ?? null,
      sessionTimeoutMs: sessionTimeoutMs ?? null,
      silentWindowMs: silentWindowMs ?? null,
      heartbeatMs: heartbeatMs ?? null,
      silenceMs: silenceMs ?? null,
      fastDeath: fastDeath ?? null,
    });
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
 * @param {unknown} value
 * @param {number} least
 * @returns {boolean}
 */
function isTime(value, least) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= least;
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
