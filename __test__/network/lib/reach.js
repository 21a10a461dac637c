'use strict';

const { randomInt } = require('node:crypto');
const dgram = require('node:dgram');
const { once } = require('node:events');
const net = require('node:net');
const { buildRtp } = require('../../../examples/lib/rtp-packet');
const { bindingRequest, isSuccessFor } = require('../../../js/worker-binary/stun');
const { eventOf } = require('../../support/events');
const { hosts } = require('./hosts');

/** @import { IceCandidate, PipeTransport, PlainTransport, WebRtcTransport } from 'mediasoup-upstream/types' */

/**
 * Sends an ICE connectivity check to each candidate from the app's host, and waits for the
 * answers.
 *
 * @param {WebRtcTransport} transport
 */
async function checkCandidates({ iceCandidates, iceParameters }) {
  const { usernameFragment, password } = iceParameters;

  for (const candidate of iceCandidates) {
    const request = bindingRequest({ username: `${usernameFragment}:test`, password });
    const answer = await (candidate.protocol === 'udp' ? askByUdp : askByTcp)(candidate, request);

    if (!isSuccessFor(answer, request)) {
      throw new Error(`no good answer from ${candidate.protocol} ${candidate.address}`);
    }
  }
}

/**
 * @param {IceCandidate} candidate
 * @param {Buffer} request
 * @returns {Promise<Buffer>}
 */
async function askByUdp({ address, port }, request) {
  const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');

  try {
    const answer = eventOf(socket, 'message', { what: `an answer from ${address}:${port}` });

    socket.send(request, port, address);

    const [data, from] = await answer;

    if (from.address !== address || from.port !== port) {
      throw new Error(`${address}:${port} was asked, ${from.address}:${from.port} answered`);
    }

    return data;
  } finally {
    socket.close();
  }
}

/**
 * @param {IceCandidate} candidate
 * @param {Buffer} request
 * @returns {Promise<Buffer>}
 */
async function askByTcp({ address, port }, request) {
  const socket = net.connect(port, address);

  try {
    await eventOf(socket, 'connect', { what: `a connection to ${address}:${port}` });

    const answer = eventOf(socket, 'data', { what: `an answer from ${address}:${port}` });
    const length = Buffer.alloc(2);

    // RFC 4571: each packet goes with its length before it.
    length.writeUInt16BE(request.length);
    socket.write(Buffer.concat([length, request]));

    return (await answer)[0].subarray(2);
  } finally {
    socket.destroy();
  }
}

/**
 * Sends RTP to a PlainTransport that learns from it where its peer is.
 *
 * @param {PlainTransport} transport With `comedia`.
 * @param {object} [options]
 * @param {string} [options.from] An address of the app's host.
 * @param {string} [options.seenAs] What it is to the transport.
 */
async function checkPlain(transport, { from = hosts.app.ip, seenAs = from } = {}) {
  const { localAddress: address, localPort: port } = transport.tuple;
  const socket = await openSocket(from);

  try {
    const learnt = eventOf(transport, 'tuple', { what: `RTP at ${address}:${port}` });

    socket.send(rtpPacket(randomInt(1, 2 ** 32)), port, address);

    const [tuple] = await learnt;

    const samePort = seenAs !== from || tuple.remotePort === socket.address().port;

    if (tuple.remoteIp !== seenAs || !samePort) {
      throw new Error(`RTP came from ${tuple.remoteIp}:${tuple.remotePort}`);
    }
  } finally {
    socket.close();
  }
}

/**
 * Connects a PipeTransport to the app's host and lets packets go both ways.
 *
 * @param {PipeTransport} transport Not connected yet, with SCTP.
 */
async function checkPipe(transport) {
  const { localAddress: address, localPort: port } = transport.tuple;
  const socket = await openSocket(hosts.app.ip);
  const ssrc = randomInt(1, 2 ** 32);

  try {
    const spoken = eventOf(socket, 'message', { what: `anything from the pipe at ${address}` });

    await transport.connect({ ip: hosts.app.ip, port: socket.address().port });
    // Now there is a reason for an association.
    await transport.produceData({ sctpStreamParameters: { streamId: 0 } });

    const [, from] = await spoken;

    if (from.address !== address || from.port !== port) {
      throw new Error(`${address}:${port} was connected, ${from.address}:${from.port} spoke`);
    }

    const producer = await transport.produce({
      kind: 'audio',
      rtpParameters: {
        codecs: [{ mimeType: 'audio/opus', payloadType: 100, clockRate: 48000, channels: 2 }],
        encodings: [{ ssrc }],
      },
    });

    await producer.enableTraceEvent(['rtp']);

    const arrived = eventOf(producer, 'trace', { what: `RTP at the pipe ${address}:${port}` });

    socket.send(rtpPacket(ssrc), port, address);
    await arrived;
  } finally {
    socket.close();
  }
}

/** @param {string} ip */
async function openSocket(ip) {
  const socket = dgram.createSocket('udp4');

  socket.bind(0, ip);
  await once(socket, 'listening');

  return socket;
}

/** @param {number} ssrc */
function rtpPacket(ssrc) {
  return buildRtp({
    payloadType: 100,
    marker: false,
    sequenceNumber: 1,
    timestamp: 1,
    ssrc,
    captureTimeId: 1,
    captureTime: Date.now(),
    payload: Buffer.alloc(20, 1),
  });
}

module.exports = { checkCandidates, checkPipe, checkPlain };
