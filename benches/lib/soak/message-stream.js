'use strict';

const { randomBytes } = require('node:crypto');
const { within } = require('../../../examples/lib/deadline');

/** @import { DataConsumer, DataProducer, Router } from 'mediasoup-upstream/types' */

/** Where a message holds its number, and when it was sent. */
const NUMBER = 0;
const SENT_AT = 4;
const BODY = 12;
const BODY_LENGTH = 52;
/** How long the last ones may take once no link is cut any more. */
const LAST_MS = 60_000;

/** Which of the numbers from 0 on have come, and whether once and in order. */
class Numbers {
  /** The number that comes next. */
  next = 0;
  arrived = 0;
  doubled = 0;
  reordered = 0;
  /** Those that were skipped. @type {Set<number>} */
  #missing = new Set();

  /** @param {number} number */
  add(number) {
    if (number >= this.next) {
      for (; this.next < number; this.next++) {
        this.#missing.add(this.next);
      }
      this.next += 1;
      this.arrived += 1;
    } else if (this.#missing.delete(number)) {
      this.reordered += 1;
      this.arrived += 1;
    } else {
      this.doubled += 1;
    }
  }

  /** @param {number} sent How many there are. */
  lost(sent) {
    return sent - this.arrived;
  }
}

/**
 * Numbered messages from the app through a Router and back: each is a message to an agent and an
 * event from it.
 */
class MessageStream {
  #producer;
  #body = randomBytes(BODY_LENGTH);
  /** @type {(() => void) | undefined} */
  #onArrival;

  numbers = new Numbers();
  sent = 0;
  /** How many could not even be sent. */
  refused = 0;
  broken = 0;
  longestMs = 0;

  /**
   * Use `MessageStream.open()`.
   *
   * @param {DataProducer} producer
   * @param {DataConsumer} consumer
   */
  constructor(producer, consumer) {
    this.#producer = producer;
    consumer.on('message', (message) => this.#receive(message));
  }

  /**
   * @param {Router} router
   * @returns {Promise<MessageStream>}
   */
  static async open(router) {
    const from = await router.createDirectTransport();
    const to = await router.createDirectTransport();
    const producer = await from.produceData();
    const consumer = await to.consumeData({ dataProducerId: producer.id });

    return new MessageStream(producer, consumer);
  }

  get waiting() {
    return this.numbers.lost(this.sent);
  }

  send() {
    const message = Buffer.alloc(BODY + BODY_LENGTH);

    message.writeUInt32LE(this.sent, NUMBER);
    message.writeDoubleLE(performance.now(), SENT_AT);
    this.#body.copy(message, BODY);

    try {
      this.#producer.send(message);
      this.sent += 1;
    } catch {
      // Of a Worker that died, which is told.
      this.refused += 1;
    }
  }

  /** Waits until all have come, though not for ever: some may be lost. */
  async settle() {
    if (this.waiting > 0) {
      const settled = new Promise((resolve) => {
        this.#onArrival = () => this.waiting > 0 || resolve(undefined);
      });

      await within(settled, { ms: LAST_MS, what: 'the last messages' }).catch((error) => {
        console.error(`soak: ${error.message}`);
      });
    }
  }

  /** @param {Buffer} message */
  #receive(message) {
    if (message.length === BODY + BODY_LENGTH && message.subarray(BODY).equals(this.#body)) {
      const took = performance.now() - message.readDoubleLE(SENT_AT);

      this.longestMs = Math.max(this.longestMs, took);
      this.numbers.add(message.readUInt32LE(NUMBER));
    } else {
      this.broken += 1;
    }
    this.#onArrival?.();
  }
}

module.exports = { MessageStream, Numbers };
