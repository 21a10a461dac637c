'use strict';

const dgram = require('node:dgram');
const { EventEmitter } = require('node:events');
const { SCTP, createUdpTransport } = require('werift-sctp');
const { within } = require('../../../examples/lib/deadline');
const { EVENT_TIMEOUT, eventUntil } = require('../../support/events');
const { LOOPBACK } = require('./source');

/** @import { PlainTransport, Router } from 'mediasoup-upstream/types' */

/**
 * A client of data channels: its transport in a Router, and SCTP to it.
 */
class SctpClient {
  #sctp;
  #events = new EventEmitter();
  /** As text. @type {string[]} */
  received = [];

  /**
   * Use `SctpClient.open()`.
   *
   * @param {PlainTransport} transport
   * @param {SCTP} sctp
   */
  constructor(transport, sctp) {
    this.transport = transport;
    this.#sctp = sctp;
    sctp.onReceive.subscribe((_streamId, _ppid, data) => {
      this.received.push(data.toString());
      this.#events.emit('message');
    });
  }

  /**
   * @param {Router} router
   * @returns {Promise<SctpClient>} Connected.
   */
  static async open(router) {
    const transport = await router.createPlainTransport({
      listenInfo: { protocol: 'udp', ip: LOOPBACK },
      comedia: true,
      enableSctp: true,
    });
    const { localAddress: address, localPort: port } = transport.tuple;
    const socket = dgram.createSocket('udp4');
    const sctp = SCTP.client(createUdpTransport(socket, { address, port }));
    const client = new SctpClient(transport, sctp);

    try {
      const connected = sctp.stateChanged.connected.asPromise();

      await within(Promise.all([sctp.start(5000), connected]), {
        ms: EVENT_TIMEOUT,
        what: 'the SCTP association of a client',
      });
      await eventUntil(transport, 'sctpstatechange', () => transport.sctpState === 'connected');
    } catch (error) {
      await client.close();
      throw error;
    }

    return client;
  }

  /**
   * @param {number} streamId
   * @param {number} ppid
   * @param {string} text
   */
  send(streamId, ppid, text) {
    return this.#sctp.send(streamId, ppid, Buffer.from(text));
  }

  /** @param {number} count */
  async receives(count) {
    await eventUntil(this.#events, 'message', () => this.received.length >= count);
  }

  async close() {
    await this.#sctp.stop();
    this.#sctp.transport.close();
  }
}

module.exports = { SctpClient };
