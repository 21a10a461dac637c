'use strict';

/**
 * A UDP relay on a host of its own. It is told what to do, and asked, over the channel to its
 * parent, and ends with it.
 */

const { UdpRelay } = require('./udp-relay');

/** @import { Impairment } from './way' */

/**
 * @typedef {{ open: Parameters<typeof UdpRelay.open>[0] }
 *   | { impair: { from: string, to: string, impairment: Impairment } }
 *   | { counts: true }} Order
 */

/** @type {UdpRelay | undefined} */
let relay;

/** @param {Order} order */
async function obey(order) {
  if ('open' in order) {
    relay = await UdpRelay.open(order.open);
  } else if ('impair' in order) {
    const { from, to, impairment } = order.impair;

    relay?.impair(from, to, impairment);
  }

  return relay?.counts;
}

process.on('disconnect', () => process.exit(0));
process.on('message', (/** @type {Order} */ order) => {
  void obey(order).then(
    (counts) => process.send?.({ counts }),
    (error) => process.send?.({ error: error.message }),
  );
});
