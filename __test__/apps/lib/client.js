'use strict';

const { EventEmitter, once } = require('node:events');
const net = require('node:net');
const readline = require('node:readline');
const { within } = require('../../../examples/lib/deadline');

/** @import { Transcript } from './transcript' */

const ANSWER_TIMEOUT = 15_000;

/**
 * Somebody who uses an app. All that it asks, and all that it waits for, is in the transcript.
 */
class Client {
  #socket;
  #transcript;
  #events = new EventEmitter();
  /** @type {{ method: string, data: any }[]} */
  #notifications = [];
  /** @type {Map<number, (message: any) => void>} */
  #answers = new Map();
  #nextId = 1;
  #closed;

  /**
   * Use `Client.open()`.
   *
   * @param {string} name
   * @param {net.Socket} socket
   * @param {Transcript} transcript
   */
  constructor(name, socket, transcript) {
    this.name = name;
    this.#socket = socket;
    this.#transcript = transcript;
    const lines = readline.createInterface({ input: socket });

    // A reset is a close too.
    for (const stream of [socket, lines]) {
      stream.on('error', () => {});
    }
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
    socket.once('close', () => {
      for (const answer of this.#answers.values()) {
        answer({ error: 'the app closed the connection' });
      }
    });
    lines.on('line', (line) => this.#receive(line));
  }

  /**
   * @param {string} name
   * @param {number} port
   * @param {Transcript} transcript
   * @returns {Promise<Client>}
   */
  static async open(name, port, transcript) {
    const socket = net.connect(port, '127.0.0.1');

    await once(socket, 'connect');

    return new Client(name, socket, transcript);
  }

  /**
   * Asks, and writes down what is asked and answered. An error is an answer too.
   *
   * @param {string} method
   * @param {object} [data]
   * @returns {Promise<any>} The answer.
   */
  async ask(method, data = {}) {
    const { error, data: result } = await this.#call(method, data);

    this.#transcript.add(this.name, method, data);
    this.#transcript.add(this.name, `${method}: ${error ?? 'ok'}`, result);

    return result;
  }

  /**
   * Waits for a notification, which may have come before.
   *
   * @param {string} method
   * @param {(data: any) => boolean} [fits]
   * @returns {Promise<any>}
   */
  async told(method, fits = () => true) {
    const take = () => {
      const i = this.#notifications.findIndex((one) => one.method === method && fits(one.data));

      return i < 0 ? undefined : this.#notifications.splice(i, 1)[0];
    };
    const wait = async () => {
      for (;;) {
        const found = take();

        if (found) {
          return found.data;
        }
        await once(this.#events, 'notification');
      }
    };
    const data = await within(wait(), {
      ms: ANSWER_TIMEOUT,
      what: `${this.name} is told ${method}; it was told ${JSON.stringify(this.#notifications)}`,
    });

    this.#transcript.add(this.name, `told ${method}`, data);

    return data;
  }

  /**
   * Writes down what it was told and did not wait for, but for what comes as often as the media
   * has it.
   *
   * @param {string[]} ofMedia
   */
  rest(ofMedia) {
    const rest = this.#notifications.filter(({ method }) => !ofMedia.includes(method));

    this.#transcript.add(this.name, 'rest', rest);
  }

  /** @param {string} what */
  note(what) {
    this.#transcript.add(this.name, what);
  }

  async close() {
    this.#socket.end();
    await this.#closed;
  }

  /**
   * @param {string} method
   * @param {object} data
   * @returns {Promise<{ error?: string, data?: any }>}
   */
  #call(method, data) {
    const id = this.#nextId++;
    const answer = new Promise((resolve) => this.#answers.set(id, resolve));

    this.#socket.write(`${JSON.stringify({ id, method, data })}\n`);

    return within(answer, {
      ms: ANSWER_TIMEOUT,
      what: `the answer to ${method} of ${this.name}`,
    });
  }

  /** @param {string} line */
  #receive(line) {
    const message = JSON.parse(line);

    if (message.id === undefined) {
      this.#notifications.push(message);
      this.#events.emit('notification');
    } else {
      this.#answers.get(message.id)?.(message);
      this.#answers.delete(message.id);
    }
  }
}

module.exports = { Client };
