'use strict';

const { randomUUID } = require('node:crypto');
const { NotFoundError } = require('mediasoup-upstream/errors');
const { toComparable } = require('./options');
const { ProducerState, observerOf } = require('./producer-state');
const { TransportPair } = require('./transport-pair');

/** @import { Consumer, DataConsumer, DataProducer, PipeTransport, Producer, Router } from 'mediasoup-upstream/types' */
/** @import { Wish } from './options' */
/** @import { AnyProducer } from './producer-state' */

/** @typedef {Consumer | DataConsumer} AnyConsumer */

/**
 * What differs between media and data.
 *
 * @typedef {object} PipeKind
 * @property {string} noun
 * @property {(transport: PipeTransport, id: string) => Promise<AnyConsumer>} consume
 * @property {(transport: PipeTransport, wanted: { id: string, consumer: any, paused: boolean,
 *   appData: any }) => Promise<AnyProducer>} produce
 */

/** @type {PipeKind} */
const MEDIA = {
  noun: 'Producer',
  consume: (transport, producerId) => transport.consume({ producerId }),
  produce: (transport, { consumer, ...rest }) =>
    transport.produce({ kind: consumer.kind, rtpParameters: consumer.rtpParameters, ...rest }),
};

/** @type {PipeKind} */
const DATA = {
  noun: 'DataProducer',
  consume: (transport, dataProducerId) => transport.consumeData({ dataProducerId }),
  produce: (transport, { consumer, ...rest }) =>
    transport.produceData({
      sctpStreamParameters: consumer.sctpStreamParameters,
      label: consumer.label,
      protocol: consumer.protocol,
      ...rest,
    }),
};

/**
 * A producer on its way into another Router: the pipe consumer here, the pipe producer there.
 */
class Pipe {
  #kind;
  #source;
  #from;
  #wish;
  /** @type {AnyConsumer | undefined} */
  #consumer;
  /** The pipe producer. @type {ProducerState | undefined} */
  #target;
  /** What the pipe producer was told last. */
  #paused = false;
  /** @type {'laying' | 'laid' | 'failed'} */
  #state = 'laying';

  /**
   * @param {object} options
   * @param {PipeKind} options.kind
   * @param {AnyProducer} options.producer
   * @param {Router} options.from
   * @param {Router} options.to
   * @param {Wish} options.wish
   */
  constructor({ kind, producer, from, to, wish }) {
    this.#kind = kind;
    this.#source = ProducerState.of(producer);
    this.#from = from;
    this.#wish = wish;
    this.router = to;
    this.options = toComparable(wish);
    this.#source.pipes.add(this);
    /** Resolves once both ends are there. */
    this.ends = this.#lay();
  }

  /** Whether it is being laid or open. */
  get open() {
    const ends = [this.#consumer, this.#target?.producer];

    // What is closed while we lay it fails with an error for all who wait.
    return this.#state === 'laying' || ends.every((end) => end?.closed === false);
  }

  /**
   * Tells the pipe producer, if it does not know yet, whether it is paused.
   *
   * @returns {Promise<void> | undefined} What it answers.
   */
  update() {
    if (this.#target === undefined || this.#wanted === this.#paused) {
      return undefined;
    }
    this.#paused = this.#wanted;

    const answer = this.#target.set(this.#paused);

    // It fails only where the pipe producer is no more, of which 'close' tells.
    answer.catch(() => {});

    return answer;
  }

  /** The consumer will hear of it from its worker, the pipe producer now. */
  sourceClosed() {
    this.#target?.producer.close();
  }

  /** Whether the pipe producer should be paused. */
  get #wanted() {
    return this.#source.paused || this.#consumer?.paused === true;
  }

  /**
   * Round trips of a first call: create both transports; connect both and consume; produce. Of a
   * later one: consume; produce. There are no fewer, since mediasoup chooses the SSRCs inside of
   * consume(). Nothing is consumed before both transports exist, so that a pair that fails has
   * nothing on it.
   */
  async #lay() {
    try {
      const pair = TransportPair.between(this.#from, this.router, this.#wish.transport);
      const [local, remote] = await Promise.all([pair.in(this.#from), pair.in(this.router)]);
      const [ends] = await Promise.all([this.#connectEnds(local, remote), pair.connected]);

      this.#checkAlive([ends.consumer], ends.producer);
      this.#state = 'laid';

      return ends;
    } catch (error) {
      this.#state = 'failed';
      this.#source.pipes.delete(this);
      this.#consumer?.close();
      this.#target?.producer.close();
      throw error;
    }
  }

  /**
   * @param {PipeTransport} local
   * @param {PipeTransport} remote
   */
  async #connectEnds(local, remote) {
    const source = this.#source.producer;
    const consumer = await this.#kind.consume(local, source.id);

    this.#consumer = consumer;
    this.#checkAlive([], consumer);
    observerOf(consumer)
      .on('close', () => this.#consumerClosed())
      .on('pause', () => this.update())
      .on('resume', () => this.update());

    this.#paused = this.#wanted;
    const producer = await this.#kind.produce(remote, {
      id: this.#wish.keepId ? source.id : randomUUID(),
      consumer,
      paused: this.#paused,
      appData: source.appData,
    });

    this.#target = ProducerState.of(producer);
    this.#checkAlive([consumer, local, remote], producer);
    observerOf(producer).on('close', () => this.#producerClosed());
    await this.update();

    return { consumer, producer };
  }

  /**
   * Throws where something was closed while we waited. What came in answer then would be left
   * over: nobody else closes it.
   *
   * @param {{ closed: boolean }[]} needed
   * @param {AnyConsumer | AnyProducer} made
   */
  #checkAlive(needed, made) {
    const { noun } = this.#kind;

    if (this.#state === 'failed') {
      made.close();
    }
    if (this.#source.producer.closed) {
      throw new NotFoundError(`original ${noun} closed`);
    }
    if (made.closed || needed.some(({ closed }) => closed)) {
      throw new NotFoundError(`pipe of the ${noun} closed`);
    }
  }

  #consumerClosed() {
    this.#source.pipes.delete(this);
    this.#target?.producer.close();
  }

  #producerClosed() {
    this.#source.pipes.delete(this);

    // Else its worker tells it that its producer is no more, as in mediasoup.
    if (!this.#source.producer.closed) {
      this.#consumer?.close();
    }
  }
}

module.exports = { DATA, MEDIA, Pipe };
