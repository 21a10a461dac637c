'use strict';

const { once } = require('node:events');
const os = require('node:os');
const { setImmediate: immediate } = require('node:timers/promises');
const mediasoup = require('mediasoup-upstream');
const { coreOf } = require('../core-access');
const { unwrap } = require('../native');
const { toPayload } = require('./payload');
const { OpenObjects } = require('./open-objects');

/** @import { types } from 'mediasoup-upstream' */
/** @import { Horizontal } from '../horizontal' */

/**
 * @typedef {object} RuleOptions
 * @property {{ id: string }} [on] The object whose calls are meant. Default: any.
 *
 * @typedef {RuleOptions & { times?: number }} FailOptions How many calls fail. Default 1; `Infinity`
 * for all.
 */

/** What ends a rule. */
class Rule {
  /** @type {Horizontal} */
  #horizontal;
  /** @type {number} */
  #id;

  /**
   * @param {Horizontal} horizontal
   * @param {number} id
   */
  constructor(horizontal, id) {
    this.#horizontal = horizontal;
    this.#id = id;
  }

  /**
   * @param {Error} [error]
   * @returns {boolean}
   */
  end(error) {
    const failure = error && JSON.stringify(toFailure(error));

    return unwrap(coreOf(this.#horizontal).mockEndRule(this.#id, failure));
  }
}

/** Calls that are to fail. */
class FailingCall {
  /** @type {Rule} */
  #rule;

  /** @param {Rule} rule */
  constructor(rule) {
    this.#rule = rule;
  }

  /**
   * Lets no further call fail.
   *
   * @returns {boolean} Whether one still would have.
   */
  cancel() {
    return this.#rule.end();
  }
}

/** A call that is held once it comes. */
class HeldCall {
  /** @type {Rule} */
  #rule;
  /** @type {Promise<void>} */
  #arrived;

  /**
   * @param {Rule} rule
   * @param {Promise<void>} arrived
   */
  constructor(rule, arrived) {
    this.#rule = rule;
    this.#arrived = arrived;
  }

  /** Resolves once the call has come and waits. */
  get arrived() {
    return this.#arrived;
  }

  /**
   * Lets the call go on; one that has not come yet is no longer held.
   *
   * @returns {boolean} Whether it was held, or would have been.
   */
  release() {
    return this.#rule.end();
  }

  /**
   * Lets the call fail.
   *
   * @param {Error} [error]
   * @returns {boolean} Whether it was held, or would have been.
   */
  fail(error = new Error('failed by the mock')) {
    return this.#rule.end(error);
  }
}

/**
 * Plays fate on the mock connections of a Horizontal.
 */
class MockControls {
  /** @type {Horizontal} */
  #horizontal;
  #objects = new OpenObjects();

  /**
   * @param {Horizontal} horizontal One with MockConnections. Workers that it made before are not
   * known here.
   */
  constructor(horizontal) {
    coreOf(horizontal);
    this.#horizontal = horizontal;

    // Weak: mediasoup's observer lives as long as the process.
    const self = new WeakRef(this);
    /** @type {(worker: types.Worker) => void} */
    const onWorker = (worker) => {
      const controls = self.deref();

      if (controls === undefined || controls.#horizontal.closed) {
        mediasoup.observer.off('newworker', onWorker);
      } else if (controls.#horizontal.whereIs(worker)) {
        controls.#objects.follow(worker);
      }
    };

    mediasoup.observer.on('newworker', onWorker);
  }

  /**
   * Lets an event happen on an object, with what its listeners get. Resolves once they had it.
   *
   * @param {{ id: string }} object
   * @param {string} event
   * @param {...unknown} args
   * @returns {Promise<void>}
   */
  async emit(object, event, ...args) {
    const { worker, transport } = this.#placeOf(object);
    const payload = toPayload(event, args);

    unwrap(
      this.#core.mockEvent(
        JSON.stringify({ id: object.id, transport, event: { event, ...payload } }),
      ),
    );
    await this.#settled(worker);
  }

  /**
   * Ends the mock worker that a Worker began with. Resolves once the Worker has emitted 'died', or
   * lives on with others.
   *
   * @param {types.Worker} worker
   * @param {{ code: number } | { signal: NodeJS.Signals }} [how]
   * @returns {Promise<void>}
   */
  async kill(worker, how = { signal: 'SIGKILL' }) {
    const { code, signal } = { code: undefined, signal: undefined, ...how };
    const number = signal && os.constants.signals[signal];

    if ((code === undefined) === (number === undefined)) {
      throw new TypeError('kill: either a code or the name of a signal is needed');
    }
    if (worker.closed) {
      throw new mediasoup.errors.WorkerClosedError('kill: the Worker is closed');
    }

    unwrap(this.#core.mockKill(JSON.stringify({ pid: worker.pid, code, signal: number })));

    const ending = new AbortController();
    const closed = once(worker.observer, 'close', { signal: ending.signal });

    if (await this.#settled(worker)) {
      ending.abort();
    }
    await closed.catch(() => {});
  }

  /**
   * Lets the next calls of a method fail.
   *
   * @param {string} method Such as `transport.produce`, or `createWorker`.
   * @param {Error} [error] What the app gets: a TypeError, a NotFoundError or an Error.
   * @param {FailOptions} [options]
   * @returns {FailingCall}
   */
  failNext(method, error = new Error('failed by the mock'), { on, times = 1 } = {}) {
    if (times !== Infinity && !(Number.isSafeInteger(times) && times >= 1)) {
      throw new TypeError('failNext: times must be a whole number from 1 on, or Infinity');
    }

    return new FailingCall(
      this.#rule({
        method,
        on: on?.id,
        times: times === Infinity ? null : times,
        failure: toFailure(error),
      }),
    );
  }

  /**
   * Holds the next call of a method until it is released.
   *
   * @param {string} method Such as `transport.produce`, or `createWorker`.
   * @param {RuleOptions} [options]
   * @returns {HeldCall}
   */
  holdNext(method, { on } = {}) {
    /** @type {(value: void) => void} */
    let resolve = () => {};
    /** @type {Promise<void>} */
    const arrived = new Promise((done) => {
      resolve = done;
    });
    const rule = this.#rule({ method, on: on?.id }, () => resolve());

    return new HeldCall(rule, arrived);
  }

  /**
   * How often each method was called since the last reset.
   *
   * @returns {Record<string, number>}
   */
  calls() {
    return JSON.parse(this.#core.mockCalls());
  }

  /**
   * The names of all methods that can fail or be held.
   *
   * @returns {string[]}
   */
  methods() {
    return JSON.parse(this.#core.mockMethods());
  }

  /**
   * How many objects of each kind the app has left open; kinds of which there are none are left
   * out.
   */
  openObjects() {
    return this.#objects.count();
  }

  /**
   * Closes all Workers, lets go what is held, forgets all rules and counts. Resolves once the
   * Workers' processes are gone.
   *
   * @returns {Promise<void>}
   */
  async reset() {
    const workers = this.#objects.processes();

    if (!this.#horizontal.closed) {
      this.#core.mockReset();
    }
    await Promise.all(
      workers.map(async (worker) => {
        const gone = once(worker, 'subprocessclose');

        worker.close();
        await gone;
      }),
    );
  }

  get #core() {
    return coreOf(this.#horizontal);
  }

  /**
   * @param {{ id: string }} object
   */
  #placeOf(object) {
    const place = this.#objects.placeOf(object);

    if (place === undefined) {
      throw new TypeError('emit: this is no object of a Worker that the mock has made');
    }

    return place;
  }

  /**
   * @param {object} request
   * @param {() => void} [arrived]
   * @returns {Rule}
   */
  #rule(request, arrived) {
    const id = unwrap(this.#core.mockRule(JSON.stringify(request), arrived));

    return new Rule(this.#horizontal, id);
  }

  /**
   * Resolves once the app has had all that the Worker was made to say. What it says of itself goes
   * the same way as its answers, only that mediasoup hands it out a turn of the event loop later.
   *
   * @param {types.Worker} worker
   * @returns {Promise<boolean>} Whether the Worker lives on.
   */
  async #settled(worker) {
    const core = this.#core;

    core.mockOwnCall(true);
    try {
      await worker.getResourceUsage();
      await immediate();

      return true;
    } catch {
      // It is closed meanwhile, and says nothing more.
      return false;
    } finally {
      core.mockOwnCall(false);
    }
  }
}

/**
 * @param {Error} error
 */
function toFailure(error) {
  if (!(error instanceof Error) && typeof (/** @type {any} */ (error)?.message) !== 'string') {
    throw new TypeError('the failure of a call must be an Error');
  }

  return { name: error.name, message: error.message };
}

module.exports = { MockControls };
