'use strict';

const { CallLoad } = require('./call-load');
const { MediaFlow } = require('./media-flow');
const { MessageStream } = require('./message-stream');
const { Pacer } = require('./pacer');

/** @import { Router } from 'mediasoup-upstream/types' */

/** A second. */
const RATES = { calls: 200, messages: 2_000 };

/** All that an app does on some Routers: calls, messages, media. */
class Load {
  #routers;
  #messages;
  #media;
  #pacer = new Pacer(() => this.#send());
  #nextStream = 0;
  /** Transports of each Router that are there to stay. @type {string[][]} */
  #standing;

  /**
   * Use `Load.open()`.
   *
   * @param {Router[]} routers
   * @param {MessageStream[]} messages
   * @param {MediaFlow[]} media
   * @param {string[][]} standing
   */
  constructor(routers, messages, media, standing) {
    this.#routers = routers;
    this.#messages = messages;
    this.#media = media;
    this.#standing = standing;
    this.calls = new CallLoad(routers);
  }

  /**
   * @param {Router[]} routers
   * @returns {Promise<Load>} Whose media flows.
   */
  static async open(routers) {
    const messages = await Promise.all(routers.map((router) => MessageStream.open(router)));
    const opening = await Promise.allSettled(routers.map((router) => MediaFlow.open(router)));
    const media = opening.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));

    try {
      for (const one of opening) {
        if (one.status === 'rejected') {
          throw one.reason;
        }
      }

      return new Load(routers, messages, media, await Promise.all(routers.map(transportsOf)));
    } catch (error) {
      media.forEach((flow) => void flow.close());
      throw error;
    }
  }

  /** @param {number} share Of the full rates. */
  start(share) {
    this.#pacer.start(RATES.messages * share);
    this.calls.start(RATES.calls * share);
  }

  /** Calls and sends no more, and waits for what is under way. */
  async rest() {
    this.#pacer.stop();
    await Promise.all([this.calls.stop(), ...this.#messages.map((stream) => stream.settle())]);
  }

  /** Ends all, media too, and waits for what is under way. */
  async stop() {
    await this.rest();
    await Promise.all(this.#media.map((flow) => flow.stop()));
  }

  /** How much has not come back yet. */
  get waiting() {
    return {
      calls: this.calls.waiting,
      messages: sum(this.#messages.map(({ waiting }) => waiting)),
    };
  }

  /** All that was counted. */
  get counts() {
    const { made, failed, errors, longestMs } = this.calls;
    const numbers = this.#messages.map((stream) => stream.numbers);
    const streams = this.#media.flatMap((flow) => flow.counts);

    return {
      calls: { made, failed, errors, longestMs: Math.round(longestMs) },
      messages: {
        sent: sum(this.#messages.map(({ sent }) => sent)),
        arrived: sum(numbers.map(({ arrived }) => arrived)),
        lost: sum(this.#messages.map(({ waiting }) => waiting)),
        doubled: sum(numbers.map(({ doubled }) => doubled)),
        reordered: sum(numbers.map(({ reordered }) => reordered)),
        refused: sum(this.#messages.map(({ refused }) => refused)),
        broken: sum(this.#messages.map(({ broken }) => broken)),
        longestMs: Math.round(Math.max(...this.#messages.map((one) => one.longestMs))),
      },
      rtp: {
        streams: streams.length,
        packets: sum(streams.map(({ packets }) => packets)),
        lost: sum(streams.map(({ lost }) => lost)),
        doubled: sum(streams.map(({ doubled }) => doubled)),
        reordered: sum(streams.map(({ reordered }) => reordered)),
        errors: this.#media.flatMap(({ errors }) => errors),
      },
    };
  }

  /**
   * @returns {Promise<number | null>} Transports that are there though they were closed, or the other
   * way round; null where no Router is left to tell. Whatever was sent before has arrived once this
   * is known.
   */
  async strays() {
    const now = await Promise.all(this.#routers.map(transportsOf)).catch(() => undefined);

    if (!now) {
      return null;
    }

    return sum(
      now.map((ids, i) => {
        const standing = this.#standing[i] ?? [];

        return new Set([...ids, ...standing]).size * 2 - ids.length - standing.length;
      }),
    );
  }

  close() {
    this.#pacer.stop();
    void this.calls.stop();
    this.#media.forEach((flow) => void flow.close());
  }

  #send() {
    this.#messages[this.#nextStream++ % this.#messages.length]?.send();
  }
}

/** @param {Router} router */
async function transportsOf(router) {
  return (await router.dump()).transportIds;
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

module.exports = { Load, RATES };
