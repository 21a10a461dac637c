'use strict';

const dgram = require('node:dgram');
const { once } = require('node:events');
const { Random } = require('../../support/random');
const { Way } = require('./way');

/** @import { Impairment } from './way' */

/**
 * A host as others see it: what they send to a port of the address here gets to that port of it.
 *
 * @typedef {object} StandIn
 * @property {string} name
 * @property {string} ip Of the relay.
 * @property {string} host Of the host itself.
 * @property {number[]} ports First and last.
 */

/**
 * @typedef {object} Door One port of a host.
 * @property {StandIn} standIn
 * @property {number} port
 * @property {dgram.Socket} socket
 */

/**
 * The UDP network between hosts, in user space. Each host knows the others by addresses of the
 * relay, so that each sees a datagram come from where it would send its answer to. What hosts send
 * each other is lost, late, overtaken or too much for a narrow way, each way for itself; what
 * comes from elsewhere passes as it is.
 */
class UdpRelay {
  #standIns;
  #own;
  /** By address and port. @type {Map<string, Door>} */
  #doors = new Map();
  /** By the names at both ends. @type {Map<string, Way>} */
  #ways = new Map();
  /** For each peer from elsewhere at each door. @type {Map<string, dgram.Socket>} */
  #strangers = new Map();
  #closed = false;

  /**
   * Use `UdpRelay.open()`.
   *
   * @param {StandIn[]} standIns
   * @param {string} own Address that peers from elsewhere have for the hosts.
   * @param {number} seed
   */
  constructor(standIns, own, seed) {
    this.#standIns = standIns;
    this.#own = own;
    for (const from of standIns) {
      for (const to of standIns.filter((one) => one !== from)) {
        this.#ways.set(wayName(from.name, to.name), new Way(new Random(seed + this.#ways.size)));
      }
    }
  }

  /**
   * @param {object} options
   * @param {StandIn[]} options.standIns
   * @param {string} options.own
   * @param {number} options.seed
   * @returns {Promise<UdpRelay>}
   */
  static async open({ standIns, own, seed }) {
    const relay = new UdpRelay(standIns, own, seed);

    try {
      for (const standIn of standIns) {
        const [first = 0, last = first] = standIn.ports;

        for (let port = first; port <= last; port++) {
          await relay.#openDoor(standIn, port);
        }
      }
    } catch (error) {
      relay.close();
      throw error;
    }

    return relay;
  }

  /**
   * @param {string} from
   * @param {string} to
   * @param {Impairment} impairment
   */
  impair(from, to, impairment) {
    const way = this.#ways.get(wayName(from, to));

    if (!way) {
      throw new Error(`there is no way from ${from} to ${to}`);
    }
    way.set(impairment);
  }

  /** What went over each way so far. */
  get counts() {
    return Object.fromEntries(
      [...this.#ways].map(([name, { passed, lost }]) => [name, { passed, lost }]),
    );
  }

  close() {
    this.#closed = true;

    for (const socket of [...this.#strangers.values(), ...this.#sockets()]) {
      socket.close();
    }
  }

  #sockets() {
    return [...this.#doors.values()].map(({ socket }) => socket);
  }

  /**
   * @param {StandIn} standIn
   * @param {number} port
   */
  async #openDoor(standIn, port) {
    const socket = dgram.createSocket('udp4');
    const door = { standIn, port, socket };

    socket.bind(port, standIn.ip);
    await once(socket, 'listening');
    // Answers of closed ports are none of its business.
    socket.on('error', () => {});
    socket.on('message', (data, { address, port: fromPort }) => {
      this.#pass(data, door, address, fromPort);
    });
    this.#doors.set(doorName(standIn.ip, port), door);
  }

  /**
   * @param {Buffer} data
   * @param {Door} door It came to.
   * @param {string} address It came from.
   * @param {number} fromPort
   */
  #pass(data, door, address, fromPort) {
    const { standIn, port } = door;
    const sender = this.#standIns.find(({ host }) => host === address);
    const back = sender && this.#doors.get(doorName(sender.ip, fromPort));
    const way = sender && this.#ways.get(wayName(sender.name, standIn.name));

    if (!back || !way) {
      this.#stranger(door, address, fromPort).send(data, port, standIn.host);

      return;
    }
    const now = performance.now();
    const due = way.toss(data.length, now);

    if (due !== undefined) {
      setTimeout(() => this.#closed || back.socket.send(data, port, standIn.host), due - now);
    }
  }

  /**
   * @param {Door} door
   * @param {string} address
   * @param {number} port
   * @returns {dgram.Socket}
   */
  #stranger(door, address, port) {
    const name = `${doorName(door.standIn.ip, door.port)} ${doorName(address, port)}`;
    const known = this.#strangers.get(name);

    if (known) {
      return known;
    }
    const socket = dgram.createSocket('udp4').bind(0, this.#own);

    socket.on('error', () => {});
    socket.on('message', (data) => door.socket.send(data, port, address));
    this.#strangers.set(name, socket);

    return socket;
  }
}

/**
 * @param {string} ip
 * @param {number} port
 */
function doorName(ip, port) {
  return `${ip}:${port}`;
}

/**
 * @param {string} from
 * @param {string} to
 */
function wayName(from, to) {
  return `${from} to ${to}`;
}

module.exports = { UdpRelay };
