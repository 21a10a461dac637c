'use strict';

const { isDeepStrictEqual } = require('node:util');

/** @import { PipeToRouterOptions, Router, TransportListenInfo } from 'mediasoup-upstream/types' */

/** What `pipeToRouter()` gives to both PipeTransports unless told otherwise, as in mediasoup. */
const TRANSPORT_DEFAULTS = {
  enableSctp: true,
  maxSendMessageSize: 262144,
  maxReceiveMessageSize: 262144,
  sctpSendBufferSize: 2000000,
  sctpPerStreamSendQueueLimit: 2000000,
  sctpMaxReceiverWindowBufferSize: 5242880,
  sctpDefaultStreamBufferedAmountLowThreshold: 1024,
  enableRtx: false,
  enableSrtp: false,
};

/** @typedef {typeof TRANSPORT_DEFAULTS & { listenInfo: TransportListenInfo }} TransportOptions */

/**
 * What one call wants, apart from the producer and the Router.
 *
 * @typedef {object} Wish
 * @property {boolean} keepId
 * @property {TransportOptions} transport For `createPipeTransport()` of both Routers.
 */

/**
 * Checks what mediasoup checks before it looks for the producer, in its order and words.
 *
 * @param {Router} from
 * @param {PipeToRouterOptions} options
 * @throws {TypeError}
 */
function checkOptions(from, { producerId, dataProducerId, router, listenInfo, listenIp }) {
  if (listenInfo && listenIp) {
    throw new TypeError('only one of listenInfo and listenIp must be given');
  }
  if (!producerId && !dataProducerId) {
    throw new TypeError('missing producerId or dataProducerId');
  }
  if (producerId && dataProducerId) {
    throw new TypeError('just producerId or dataProducerId can be given');
  }
  if (!router) {
    throw new TypeError('missing router');
  }
  if (router === from) {
    throw new TypeError('cannot use this Router as destination');
  }
}

/**
 * @param {PipeToRouterOptions} options Checked ones.
 * @returns {Wish}
 */
function toWish(options) {
  const { keepId = true } = options;
  const named = Object.entries(TRANSPORT_DEFAULTS).map(([name, byDefault]) => {
    const given = options[/** @type {keyof typeof TRANSPORT_DEFAULTS} */ (name)];

    return [name, given === undefined ? byDefault : given];
  });

  return {
    keepId: Boolean(keepId),
    transport: { ...Object.fromEntries(named), listenInfo: toListenInfo(options) },
  };
}

/**
 * @param {PipeToRouterOptions} options
 * @returns {TransportListenInfo} The app's own object, if it gave one.
 */
function toListenInfo({ listenInfo, listenIp }) {
  if (listenIp) {
    const { ip, announcedIp } =
      typeof listenIp === 'string' ? { ip: listenIp, announcedIp: undefined } : listenIp;

    return { protocol: 'udp', ip, announcedAddress: announcedIp };
  }

  return listenInfo || { protocol: 'udp', ip: '127.0.0.1' };
}

/**
 * What remains the same when the app changes its objects, and is equal for equal meaning.
 *
 * @param {Wish} wish
 * @returns {Record<string, unknown>}
 */
function toComparable({ keepId, transport }) {
  return { keepId, ...toComparableTransport(transport) };
}

/**
 * @param {TransportOptions} options
 * @returns {Record<string, unknown>}
 */
function toComparableTransport({ listenInfo, ...others }) {
  const { announcedAddress, announcedIp, exposeInternalIp, portRange, flags, ...rest } = listenInfo;

  return {
    ...others,
    listenInfo: {
      protocol: rest.protocol,
      ip: rest.ip,
      announcedAddress: announcedAddress ?? announcedIp,
      exposeInternalIp: Boolean(exposeInternalIp),
      port: rest.port || undefined,
      portRange: { min: portRange?.min || 0, max: portRange?.max || 0 },
      flags: { ipv6Only: flags?.ipv6Only ?? false, udpReusePort: flags?.udpReusePort ?? false },
      sendBufferSize: rest.sendBufferSize || undefined,
      recvBufferSize: rest.recvBufferSize || undefined,
    },
  };
}

/**
 * @param {Record<string, unknown>} one
 * @param {Record<string, unknown>} other Of the same kind.
 * @returns {string[]} Names of the options that differ.
 */
function differences(one, other) {
  return Object.keys(one).filter((name) => !isDeepStrictEqual(one[name], other[name]));
}

module.exports = { checkOptions, differences, toComparable, toComparableTransport, toWish };
