'use strict';

/**
 * The hosts that each test file has for itself: network namespaces on one bridge. They are the
 * same each time, since nothing outside of the test's own namespaces sees them.
 *
 * @typedef {object} Host
 * @property {string} name Of the network namespace.
 * @property {string} ip
 * @property {number} prefix
 * @property {string} link The bridge that it is plugged into.
 * @property {string} [ip6] Where there is none, the host has IPv4 only.
 * @property {string} [gateway]
 */

const PREFIX6 = 64;

/** @satisfies {Record<string, Host>} */
const hosts = {
  app: { name: 'app', ip: '10.111.0.1', prefix: 24, link: 'lan', ip6: 'fd11::1' },
  agent1: { name: 'agent1', ip: '10.111.0.11', prefix: 24, link: 'lan', ip6: 'fd11::11' },
  agent2: { name: 'agent2', ip: '10.111.0.12', prefix: 24, link: 'lan' },
  /** It owns the public address of the host behind it. */
  gateway: { name: 'gateway', ip: '10.111.0.13', prefix: 24, link: 'lan' },
  /** Out of the others' reach: they have no route to its network. */
  hidden: { name: 'hidden', ip: '192.168.111.2', prefix: 24, link: 'inside' },
};

/** The gateway's other leg. */
const GATEWAY_INSIDE = '192.168.111.1';

/** An address that no host here has. */
const FOREIGN_IP = '10.111.0.99';

module.exports = { FOREIGN_IP, GATEWAY_INSIDE, PREFIX6, hosts };
