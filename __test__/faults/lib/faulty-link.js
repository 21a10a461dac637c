'use strict';

const { CutLink } = require('../../../benches/lib/link/cut-link');
const { Random } = require('../../support/random');
const { DelayLine } = require('./delay-line');
const { Way } = require('./way');

/** @import { Socket } from 'node:net' */
/** @import { Side } from '../../../benches/lib/link/tcp-proxy' */
/** @import { Impairment } from './way' */

/** A sender has to wait while so many pieces are on their way. */
const UNDER_WAY = 256;

/**
 * A TCP proxy in front of an agent whose network is bad: far, unsteady and narrow, each way for
 * itself. It can be cut, and lose one end of a connection only.
 */
class FaultyLink extends CutLink {
  #ways;
  /** What is under way to each end. @type {Map<Socket, DelayLine>} */
  #lines = new Map();
  /** Ends that say no more. @type {WeakSet<Socket>} */
  #mute = new WeakSet();

  /** Where the agent sees the app, if it is not the host's usual address. @type {string | undefined} */
  seenAs;

  /**
   * Use `FaultyLink.at()`.
   *
   * @param {string} url `ws://host:port` of what is behind it.
   * @param {number} seed
   */
  constructor(url, seed) {
    super(url, (to, from, source) => {
      const line = new DelayLine();

      this.#lines.set(to, line);
      to.on('close', () => {
        line.clear();
        this.#lines.delete(to);
      });

      return (data) => {
        // Between connections that say nothing any more there is no way.
        if (!this.#mute.has(to)) {
          this.#carry(data, { line, to, from, source });
        }
      };
    });
    this.#ways = { controller: new Way(new Random(seed)), agent: new Way(new Random(seed + 1)) };
  }

  /**
   * @param {string} url
   * @param {object} [options]
   * @param {number} [options.seed]
   * @param {Impairment} [options.impairment] Of both ways.
   * @returns {Promise<FaultyLink>}
   */
  static async at(url, { seed = 1, impairment = {} } = {}) {
    const link = new FaultyLink(url, seed);

    link.impair(impairment);
    await link.listen();

    return link;
  }

  /**
   * @param {Impairment} impairment
   * @param {Side[]} [sides] What comes from whom. Default: from both.
   */
  impair(impairment, sides = ['controller', 'agent']) {
    for (const side of sides) {
      this.#ways[side].set(impairment);
    }
  }

  /**
   * Resets one side's end of each connection. The other side's stays open, and nothing comes from
   * it any more.
   *
   * @param {Side} side
   */
  forget(side) {
    for (const [socket, whose] of this.ends()) {
      if (whose === side) {
        socket.resetAndDestroy();
      }
    }
  }

  /** Nothing comes any more over the connections that are open. New ones pass. */
  freeze() {
    for (const [socket] of this.ends()) {
      this.#mute.add(socket);
    }
  }

  /** @override */
  get origin() {
    return this.seenAs ? { localAddress: this.seenAs } : {};
  }

  /**
   * @override
   * @param {Socket} to
   * @param {Side} from
   */
  ended(to, from) {
    if (this.#mute.has(to)) {
      return;
    }
    // Behind all that it said before.
    this.#lines.get(to)?.push(this.#ways[from].carry(0, performance.now()), () => to.end());
  }

  /**
   * @param {Buffer} data
   * @param {{ line: DelayLine, to: Socket, from: Side, source: Socket }} way
   */
  #carry(data, { line, to, from, source }) {
    line.push(this.#ways[from].carry(data.length, performance.now()), () => {
      to.write(data);
      if (source.isPaused() && line.length < UNDER_WAY && !this.isHeld(from)) {
        source.resume();
      }
    });
    if (line.length >= UNDER_WAY) {
      source.pause();
    }
  }
}

module.exports = { FaultyLink };
