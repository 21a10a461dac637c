'use strict';

const { EventEmitter } = require('node:events');
const { channelMessages } = require('./channel-messages');
const { TcpProxy } = require('./tcp-proxy');
const { WebSocketMessages } = require('./websocket-messages');

/**
 * A proxy in front of an agent that knows what goes through it, and can keep back all that the
 * agent says.
 */
class SteppedLink extends TcpProxy {
  /** Told `message` for each that goes through or is kept. */
  events = new EventEmitter();
  /** Methods of the requests that went to the agent. @type {string[]} */
  requests = [];
  /** How many of all requests are not answered yet. */
  missing = 0;
  #held = false;
  /** What the agent said. @type {(() => void)[]} */
  #kept = [];

  /**
   * Use `SteppedLink.open()`.
   *
   * @param {string} url
   */
  constructor(url) {
    super(url, (to, from) => {
      const messages = new WebSocketMessages();
      const pass = from === 'agent' ? this.#fromAgent : this.#fromController;

      return (data) => {
        for (const { bytes, binary } of messages.push(data)) {
          pass.call(this, binary ? channelMessages(binary) : [], () => to.write(bytes));
        }
      };
    });
  }

  /**
   * @param {string} url `ws://host:port` of the agent.
   * @returns {Promise<SteppedLink>}
   */
  static async open(url) {
    const link = new SteppedLink(url);

    await link.listen();

    return link;
  }

  /** Keeps back what the agent says from now on. */
  hold() {
    this.#held = true;
  }

  /** @returns {string[]} Methods of the requests since the last call. */
  take() {
    return this.requests.splice(0);
  }

  /** Lets go what is kept, and keeps what comes. */
  step() {
    for (const write of this.#kept.splice(0)) {
      write();
    }
  }

  release() {
    this.#held = false;
    this.step();
  }

  /**
   * @param {import('./channel-messages').ChannelMessage[]} messages
   * @param {() => void} write
   */
  #fromController(messages, write) {
    write();

    for (const { type, method = '' } of messages) {
      if (type === 'request') {
        this.requests.push(method);
        this.missing += 1;
      }
    }
    this.events.emit('message');
  }

  /**
   * @param {import('./channel-messages').ChannelMessage[]} messages
   * @param {() => void} write
   */
  #fromAgent(messages, write) {
    if (this.#held) {
      this.#kept.push(write);
    } else {
      write();
    }
    this.missing -= messages.filter(({ type }) => type === 'response').length;
    this.events.emit('message');
  }
}

module.exports = { SteppedLink };
