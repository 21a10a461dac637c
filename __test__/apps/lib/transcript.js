'use strict';

/**
 * What an app and its clients said to each other, with what differs from run to run replaced: ids
 * by numbers in the order in which they appear, ports and keys by their names.
 */

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
/** Keys whose values are random, or the kernel's choice. */
const RANDOM = new Set(['port', 'localPort', 'pid', 'usernameFragment', 'password', 'value']);
/** Keys whose values are random, and where it matters which are the same. */
const COUNTED = new Set(['ssrc', 'cname']);

class Transcript {
  /** @type {unknown[]} */
  #entries = [];
  /** @type {Map<string, string>} */
  #names = new Map();

  get entries() {
    return this.#entries;
  }

  /**
   * @param {string} who
   * @param {string} what
   * @param {unknown} [data]
   */
  add(who, what, data) {
    const entry = data === undefined ? [who, what] : [who, what, data];

    this.#entries.push(this.#plain(entry));
  }

  /**
   * @param {unknown} value
   * @returns {unknown}
   */
  #plain(value) {
    if (typeof value === 'string') {
      return value.replaceAll(UUID, (id) => this.#name('id', id));
    }
    if (Array.isArray(value)) {
      return value.map((one) => this.#plain(one));
    }
    if (value === null || typeof value !== 'object') {
      return value;
    }

    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [this.#plain(key), this.#member(key, one)]),
    );
  }

  /**
   * @param {string} key
   * @param {unknown} value
   */
  #member(key, value) {
    if (COUNTED.has(key)) {
      return this.#name(key, String(value));
    }

    return RANDOM.has(key) && typeof value !== 'object' ? `<${key}>` : this.#plain(value);
  }

  /**
   * @param {string} kind
   * @param {string} value
   */
  #name(kind, value) {
    const name = this.#names.get(value) ?? `<${kind} ${this.#names.size + 1}>`;

    this.#names.set(value, name);

    return name;
  }
}

module.exports = { Transcript };
