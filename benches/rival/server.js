'use strict';

/**
 * The rival's process: mediasoup, with its objects called by JSON-RPC. The app listens and this
 * process connects, so that no second program can get in.
 *
 *   node server.js PORT
 */

const net = require('node:net');
const mediasoup = require('mediasoup-upstream');
const { JsonLines } = require('./json-lines');

/** What an app needs of each kind of object, to signal it to its clients. */
const FIELDS = [
  'id',
  'kind',
  'type',
  'producerId',
  'rtpParameters',
  'producerPaused',
  'rtpCapabilities',
  'iceParameters',
  'iceCandidates',
  'dtlsParameters',
];

/** @type {Map<string, any>} */
const objects = new Map([['mediasoup', mediasoup]]);
const socket = net.connect(Number(process.argv[2]), '127.0.0.1');
const lines = new JsonLines(socket, (request) => void answer(request));

socket.on('error', () => {}); // It closes too.
socket.on('close', () => process.exit());

/** @param {{ id: number, on: string, method: string, params?: unknown }} request */
async function answer({ id, on, method, params }) {
  try {
    const result = await objects.get(on)[method](params);

    if (method === 'close') {
      objects.delete(on);
    }
    lines.send({ id, result: describe(result) });
  } catch (error) {
    lines.send({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

/**
 * @param {any} result
 * @returns {unknown} What goes into JSON: plain data as it is, of an object what describes it.
 */
function describe(result) {
  if (typeof result?.close !== 'function') {
    return result ?? null;
  }

  // A Worker has no id.
  const id = result.id ?? `worker ${result.pid}`;
  objects.set(id, result);

  return { ...Object.fromEntries(FIELDS.map((name) => [name, result[name]])), id };
}
