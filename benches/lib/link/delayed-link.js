'use strict';

const { TcpProxy } = require('./tcp-proxy');

/**
 * A TCP proxy in front of an agent that makes a network of some length: whatever goes through it
 * comes out that much later, either way.
 */
class DelayedLink extends TcpProxy {
  /**
   * @param {string} url `ws://host:port` of what is behind it.
   * @param {number} delayMs Each way.
   * @returns {Promise<DelayedLink>}
   */
  static async open(url, delayMs) {
    const link = new DelayedLink(url, (to) => {
      // Timers of equal length ring in the order in which they were set.
      return (data) => void setTimeout(() => to.write(data), delayMs);
    });

    await link.listen();

    return link;
  }
}

module.exports = { DelayedLink };
