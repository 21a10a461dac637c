'use strict';

const { execFileSync, spawn } = require('node:child_process');
const { eventOf } = require('../../support/events');
const { hosts } = require('../../network/lib/hosts');

/** @import { ChildProcess } from 'node:child_process' */
/** @import { Host } from '../../network/lib/hosts' */
/** @import { Order } from './relay-process' */
/** @import { StandIn } from './udp-relay' */
/** @import { Impairment } from './way' */

const COMMAND_TIMEOUT = 10_000;
const PORTS_EACH = 24;

/** Addresses of the gateway; who has which ports tells hosts apart. @type {StandIn[]} */
const STAND_INS = [
  standIn(hosts.agent1, '10.111.0.21', 42_000),
  standIn(hosts.agent2, '10.111.0.22', 42_100),
];

/**
 * The two hosts of agents with a bad network between them, which begins as a good one: the gateway
 * relays all UDP that they send each other, and what the app sends them.
 */
class RelayedHosts {
  #child;

  /** Use `RelayedHosts.open()`. @param {ChildProcess} child */
  constructor(child) {
    this.#child = child;
  }

  /** Where the agents are. */
  static hosts = [hosts.agent1, hosts.agent2];

  /** What others know each under, by its name. @type {Record<string, string>} */
  static addresses = Object.fromEntries(STAND_INS.map(({ name, ip }) => [name, ip]));

  /**
   * @param {number} seed
   * @returns {Promise<RelayedHosts>}
   */
  static async open(seed) {
    const { gateway } = hosts;

    for (const { ip } of STAND_INS) {
      const args = ['-netns', gateway.name, 'address', 'replace', `${ip}/24`, 'dev', 'eth0'];

      execFileSync('ip', args, { timeout: COMMAND_TIMEOUT });
    }
    const script = [process.execPath, require.resolve('./relay-process')];
    const child = spawn('ip', ['netns', 'exec', gateway.name, ...script], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const relayed = new RelayedHosts(child);

    try {
      await relayed.#ask({ open: { standIns: STAND_INS, own: gateway.ip, seed } });
    } catch (error) {
      await relayed.close();
      throw error;
    }

    return relayed;
  }

  /**
   * Arguments for the agent on a host: others find it behind the gateway.
   *
   * @param {Host} host
   * @returns {string[]}
   */
  static argsOf({ name }) {
    const found = STAND_INS.find((one) => one.name === name);

    return found
      ? ['--announced-address', found.ip, '--behind-nat', '--port-range', found.ports.join('-')]
      : [];
  }

  /**
   * @param {Host} from
   * @param {Host} to
   * @param {Impairment} impairment
   */
  async impair(from, to, impairment) {
    await this.#ask({ impair: { from: from.name, to: to.name, impairment } });
  }

  /**
   * Both ways.
   *
   * @param {Impairment} impairment
   */
  async impairAll(impairment) {
    await this.impair(hosts.agent1, hosts.agent2, impairment);
    await this.impair(hosts.agent2, hosts.agent1, impairment);
  }

  /**
   * @param {Host} from
   * @param {Host} to
   * @returns {Promise<{ passed: number, lost: number }>} Datagrams so far.
   */
  async counts(from, to) {
    const { counts } = await this.#ask({ counts: true });

    return counts[`${from.name} to ${to.name}`];
  }

  async close() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = eventOf(this.#child, 'exit', { what: 'the end of the relay' });

      this.#child.kill();
      await ended;
    }
  }

  /**
   * One at a time.
   *
   * @param {Order} order
   */
  async #ask(order) {
    const answered = eventOf(this.#child, 'message', { what: 'an answer of the relay' });

    this.#child.send(order);
    const [answer] = await answered;

    if (answer.error) {
      throw new Error(`the relay: ${answer.error}`);
    }

    return answer;
  }
}

/**
 * @param {Host} host
 * @param {string} ip
 * @param {number} first
 * @returns {StandIn}
 */
function standIn({ name, ip: host }, ip, first) {
  return { name, ip, host, ports: [first, first + PORTS_EACH - 1] };
}

module.exports = { RelayedHosts };
