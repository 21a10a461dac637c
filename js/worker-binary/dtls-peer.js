'use strict';

const { spawn } = require('node:child_process');
const { X509Certificate } = require('node:crypto');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { run } = require('./commands');
const { bindingRequest, isStun, isSuccessFor } = require('./stun');

const HOST = '127.0.0.1';
const STUN_RETRY_MS = 250;

/**
 * @typedef {object} OpenSsl  A way to run the openssl program.
 * @property {string} command
 * @property {NodeJS.ProcessEnv} [env]  Added to the environment.
 */

/**
 * The far end of a WebRTC transport, no more than its handshakes: answers no media, but does ICE
 * by itself and DTLS by means of the openssl program, whose packets it relays through the socket
 * on which ICE was done.
 */
class DtlsPeer {
  /** @param {OpenSsl} openssl */
  constructor(openssl) {
    this.openssl = openssl;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-check-'));
    this.outside = dgram.createSocket('udp4');
    this.inside = dgram.createSocket('udp4');
    for (const socket of [this.outside, this.inside]) {
      // A refused packet means that the worker is gone, which its 'died' event tells better.
      socket.on('error', () => {});
    }
    /** @type {import('node:child_process').ChildProcess | undefined} */
    this.child = undefined;
    /** What openssl printed, for an error message. */
    this.output = '';
  }

  get env() {
    // A configuration of our own: the system's may be missing, or forbid what is needed.
    return {
      ...process.env,
      ...this.openssl.env,
      OPENSSL_CONF: path.join(this.dir, 'openssl.cnf'),
    };
  }

  /**
   * Makes a self-signed certificate.
   *
   * @returns {Promise<string>}  Its SHA-256 fingerprint.
   */
  async createCertificate() {
    const certificate = path.join(this.dir, 'cert.pem');
    fs.writeFileSync(
      path.join(this.dir, 'openssl.cnf'),
      '[req]\ndistinguished_name = subject\n[subject]\n',
    );
    await run(
      this.openssl.command,
      [
        ...['req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=check'],
        ...['-newkey', 'rsa:2048', '-keyout', path.join(this.dir, 'key.pem')],
        ...['-out', certificate],
      ],
      { env: this.env, timeout: 30_000 },
    );

    return new X509Certificate(fs.readFileSync(certificate)).fingerprint256;
  }

  /**
   * Nominates our socket with the ICE agent at the given address.
   *
   * @param {number} port
   * @param {{ usernameFragment: string, password: string }} iceParameters  Of that agent.
   * @param {AbortSignal} signal
   */
  async connectIce(port, { usernameFragment, password }, signal) {
    this.outside.bind(0, HOST);
    await once(this.outside, 'listening', { signal });

    const request = bindingRequest({ username: `${usernameFragment}:check`, password });
    const send = () => this.outside.send(request, port, HOST, () => {});
    const retry = setInterval(send, STUN_RETRY_MS);
    try {
      send();
      for (;;) {
        const [packet] = await once(this.outside, 'message', { signal });
        if (isSuccessFor(packet, request)) {
          return;
        }
      }
    } finally {
      clearInterval(retry);
    }
  }

  /**
   * Starts a DTLS handshake, as the client, through the socket that did ICE. Returns at once.
   *
   * @param {number} port
   * @param {AbortSignal} signal
   */
  async startDtls(port, signal) {
    this.inside.bind(0, HOST);
    await once(this.inside, 'listening', { signal });

    let clientPort = 0;
    this.inside.on('message', (packet, { port: from }) => {
      clientPort = from;
      this.outside.send(packet, port, HOST, () => {});
    });
    this.outside.on('message', (packet) => {
      if (clientPort && !isStun(packet)) {
        this.inside.send(packet, clientPort, HOST, () => {});
      }
    });

    const child = spawn(
      this.openssl.command,
      [
        ...['s_client', '-dtls1_2', '-connect', `${HOST}:${this.inside.address().port}`],
        ...['-cert', path.join(this.dir, 'cert.pem'), '-key', path.join(this.dir, 'key.pem')],
        ...['-use_srtp', 'SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80'],
      ],
      // It ends when its input does, which therefore stays open.
      { env: this.env, stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.child = child;
    child.on('error', (error) => (this.output += error.message));
    child.stdin.on('error', () => {});
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => (this.output += data));
    }
  }

  async close() {
    for (const socket of [this.outside, this.inside]) {
      socket.close();
    }
    const { child } = this;
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

module.exports = { DtlsPeer, HOST };
