'use strict';

const { once } = require('node:events');
const dgram = require('node:dgram');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

/**
 * A UDP port whose packets nobody reads: the kernel throws away what does not fit, which costs
 * next to nothing. A socket of Node.js is read whenever its thread has time, so this one belongs
 * to a thread that never has.
 */
class Sink {
  #thread;

  /**
   * Use `Sink.open()`.
   *
   * @param {Worker} thread
   * @param {number} port
   */
  constructor(thread, port) {
    this.#thread = thread;
    this.port = port;
  }

  /**
   * @param {string} ip
   * @returns {Promise<Sink>}
   */
  static async open(ip) {
    const thread = new Worker(__filename, { argv: [ip] });
    const [port] = await once(thread, 'message');

    return new Sink(thread, port);
  }

  async close() {
    await this.#thread.terminate();
  }
}

/** @param {string} ip */
function holdPort(ip) {
  const socket = dgram.createSocket('udp4');

  socket.bind(0, ip, () => {
    parentPort?.postMessage(socket.address().port);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
}

if (!isMainThread) {
  holdPort(/** @type {string} */ (process.argv[2]));
}

module.exports = { Sink };
