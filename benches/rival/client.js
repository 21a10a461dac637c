'use strict';

/**
 * The rival: the smallest honest proxy. mediasoup runs in a Node.js process of its own, and each
 * call is one line of JSON there and one line back over TCP on loopback. It has no WebSocket
 * framing, no TLS, no authentication and no events, and it batches its writes, so a real one is
 * slower.
 */

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { within } = require('../../examples/lib/deadline');
const { MEDIA_CODECS, TRANSPORT_OPTIONS, nextProducerOptions } = require('../lib/options');
const { JsonLines } = require('./json-lines');

/** @import { Subject } from '../lib/subject' */

const START_MS = 20_000;

/** Calls to the rival's process. */
class RivalClient {
  #socket;
  #lines;
  #lastId = 0;
  /** @type {Map<number, { resolve: (result: any) => void, reject: (error: Error) => void }>} */
  #pending = new Map();

  /** @param {net.Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    this.#lines = new JsonLines(socket, (answer) => this.#settle(answer));
    socket.on('error', () => {}); // It closes too.
    socket.on('close', () => {
      for (const { reject } of this.#pending.values()) {
        reject(new Error('the rival has closed its connection'));
      }
      this.#pending.clear();
    });
  }

  /**
   * @param {string} on Id of the object there.
   * @param {string} method
   * @param {unknown} [params]
   * @returns {Promise<any>}
   */
  call(on, method, params) {
    const id = ++this.#lastId;

    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#lines.send({ id, on, method, params });
    });
  }

  close() {
    this.#socket.end();
  }

  /** @param {{ id: number, result?: unknown, error?: string }} answer */
  #settle({ id, result, error }) {
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);

    if (error !== undefined) {
      waiting?.reject(new Error(error));
    } else {
      waiting?.resolve(result);
    }
  }
}

/**
 * Starts the rival's process.
 *
 * @returns {Promise<{ client: RivalClient, pid: number }>}
 */
async function startRival() {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  const child = spawn(process.execPath, [path.join(__dirname, 'server.js'), String(port)], {
    // What it says must not mix with our output.
    stdio: ['ignore', 2, 2],
  });

  try {
    const connected = once(server, 'connection');
    const failed = once(child, 'exit').then(() => {
      throw new Error('the rival has ended');
    });
    failed.catch(() => {});
    const [socket] = await within(Promise.race([connected, failed]), {
      ms: START_MS,
      what: 'the start of the rival',
    });

    return { client: new RivalClient(socket), pid: /** @type {number} */ (child.pid) };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    server.close();
  }
}

/**
 * The measured calls, as an app of the rival would write them.
 *
 * @param {RivalClient} client
 * @param {string} workerBin
 * @returns {Promise<Subject>}
 */
async function makeRivalSubject(client, workerBin) {
  const worker = await client.call('mediasoup', 'createWorker', { workerBin });
  const router = await client.call(worker.id, 'createRouter', { mediaCodecs: MEDIA_CODECS });
  const newTransport = () => client.call(router.id, 'createWebRtcTransport', TRANSPORT_OPTIONS);
  const sending = await newTransport();
  const receiving = await newTransport();
  const newProducer = () => client.call(sending.id, 'produce', nextProducerOptions());
  const { id: producerId } = await newProducer();
  const { rtpCapabilities } = router;
  const getResourceUsage = () => client.call(worker.id, 'getResourceUsage');
  /** @param {{ id: string }} made */
  const undo = ({ id }) => {
    // A lost connection fails the next call too.
    client.call(id, 'close').catch(() => {});
  };

  return {
    operations: {
      'worker.getResourceUsage': { call: getResourceUsage },
      'webRtcTransport.getStats': { call: () => client.call(sending.id, 'getStats') },
      'router.createWebRtcTransport': { call: newTransport, undo },
      'transport.produce': { call: newProducer, undo },
      'transport.consume': {
        call: () => client.call(receiving.id, 'consume', { producerId, rtpCapabilities }),
        undo,
      },
    },
    settle: getResourceUsage,
  };
}

module.exports = { makeRivalSubject, startRival };
