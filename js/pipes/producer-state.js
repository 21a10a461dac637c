'use strict';

/** @import { EventEmitter } from 'node:events' */
/** @import { DataProducer, Producer, Router } from 'mediasoup-upstream/types' */
/** @import { Pipe } from './pipe' */

/** @typedef {Producer | DataProducer} AnyProducer */

/** @type {WeakMap<AnyProducer, ProducerState>} */
const stateOf = new WeakMap();

/**
 * Whether a producer is paused, or will be once all that we sent is answered, and the pipes that
 * follow it. Where a pipe ends in another producer which is piped on, this is how the last one
 * hears at once what the first one does.
 */
class ProducerState {
  /** Those that are being laid or open. @type {Set<Pipe>} */
  pipes = new Set();
  #producer;
  /** How many states we have sent. */
  #version = 0;
  /** What we sent last, until it is answered. @type {boolean | undefined} */
  #sent;

  /**
   * Use `ProducerState.of()`.
   *
   * @param {AnyProducer} producer
   */
  constructor(producer) {
    this.#producer = producer;

    observerOf(producer)
      .on('pause', () => this.#changed())
      .on('resume', () => this.#changed())
      .on('close', () => queueMicrotask(() => this.#closed()));
  }

  /**
   * @param {AnyProducer} producer
   * @returns {ProducerState} Always the same one.
   */
  static of(producer) {
    const state = stateOf.get(producer) ?? new ProducerState(producer);

    stateOf.set(producer, state);

    return state;
  }

  get producer() {
    return this.#producer;
  }

  get paused() {
    return this.#sent ?? this.#producer.paused;
  }

  /**
   * @param {Router} router
   * @returns {Pipe | undefined} The pipe to there, if it is not closed.
   */
  pipeTo(router) {
    return [...this.pipes].find((pipe) => pipe.router === router && pipe.open);
  }

  /**
   * Pauses or resumes the producer and, without waiting for its worker, whatever follows it.
   *
   * @param {boolean} paused
   */
  async set(paused) {
    const version = ++this.#version;
    const { producer } = this;
    // What goes to one worker arrives in order: the state sent last wins there.
    const answer = paused ? producer.pause() : producer.resume();

    this.#sent = paused;
    this.#changed();

    try {
      await answer;
    } finally {
      // An older answer says nothing about what was sent since.
      if (version === this.#version) {
        this.#sent = undefined;
        this.#changed();
      }
    }
  }

  #changed() {
    for (const pipe of this.pipes) {
      pipe.update();
    }
  }

  /**
   * After the cascade that closed the producer. Where that cascade closed the pipes too, it did so
   * in mediasoup's order; else they need not wait until the worker tells their consumers.
   */
  #closed() {
    for (const pipe of this.pipes) {
      pipe.sourceClosed();
    }
  }
}

/**
 * @param {{ observer: EventEmitter }} object
 * @returns {EventEmitter} Its observer, whatever the events.
 */
function observerOf({ observer }) {
  return observer;
}

module.exports = { ProducerState, observerOf };
