'use strict';

/**
 * A NAT in user space, since not every machine has the tools for the kernel's: it owns the public
 * address of a host behind it and passes TCP of one port, and UDP of a range of ports, on to it.
 * Only what comes in is translated: the hidden host sees the gateway as its peer.
 *
 *   node gateway.js PUBLIC_IP INSIDE_IP HIDDEN_IP TCP_PORT MIN-MAX
 *
 * Prints a line once all ports are open, and ends when stdin does.
 */

const dgram = require('node:dgram');
const { once } = require('node:events');
const net = require('node:net');

/**
 * @param {string} from
 * @param {string} to
 * @param {number} port
 */
async function forwardTcp(from, to, port) {
  const server = net.createServer((outside) => {
    const inside = net.connect(port, to);

    outside.pipe(inside).pipe(outside);
    outside.on('error', () => inside.destroy());
    inside.on('error', () => outside.destroy());
  });

  server.listen(port, from);
  await once(server, 'listening');
}

/**
 * @param {string} from
 * @param {{ own: string, to: string }} inside
 * @param {number} port
 */
async function forwardUdp(from, { own, to }, port) {
  const outside = dgram.createSocket('udp4');
  /** @type {Map<string, dgram.Socket>} One for each peer outside. */
  const peers = new Map();

  outside.on('message', (data, { address, port: peerPort }) => {
    const peer = `${address}:${peerPort}`;
    const inside = peers.get(peer) ?? dgram.createSocket('udp4').bind(0, own);

    if (!peers.has(peer)) {
      peers.set(peer, inside);
      inside.on('message', (answer) => outside.send(answer, peerPort, address));
    }
    inside.send(data, port, to);
  });
  outside.bind(port, from);
  await once(outside, 'listening');
}

/** @param {string[]} args */
async function main([from = '', own = '', to = '', tcpPort, range = '']) {
  const [min = 0, max = -1] = range.split('-').map(Number);

  process.stdin.resume().on('end', () => process.exit(0));
  await forwardTcp(from, to, Number(tcpPort));

  for (let port = min; port <= max; port++) {
    await forwardUdp(from, { own, to }, port);
  }
  console.log('ready');
}

void main(process.argv.slice(2));
