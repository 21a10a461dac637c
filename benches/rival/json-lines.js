'use strict';

/** @import { Socket } from 'node:net' */

/** Messages as lines of JSON. Those of one turn of the event loop leave in one write. */
class JsonLines {
  #socket;
  #corked = false;

  /**
   * @param {Socket} socket
   * @param {(message: any) => void} onMessage
   */
  constructor(socket, onMessage) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('utf8');

    let rest = '';
    socket.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';

      for (const line of lines) {
        onMessage(JSON.parse(line));
      }
    });
  }

  /** @param {unknown} message */
  send(message) {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }

    this.#socket.write(`${JSON.stringify(message)}\n`);
  }
}

module.exports = { JsonLines };
