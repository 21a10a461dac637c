'use strict';

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

/**
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {Record<string, string>} [optionalDependencies]
 */

/**
 * A registry with a few packages, as npm sees one once they are published. It knows no others: what
 * is asked for beyond them is an error.
 */
class TestRegistry {
  /** Whatever was asked for that it does not have. @type {string[]} */
  unknown = [];
  /** @type {Map<string, { manifest: Manifest, tarball?: string }>} */
  #packages = new Map();
  #server = http.createServer((request, response) => this.#answer(request, response));

  /**
   * @param {string[]} tarballs
   * @returns {Promise<TestRegistry>}
   */
  static async start(tarballs) {
    const registry = new TestRegistry();

    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    tarballs.forEach((tarball) => {
      registry.#add(tarball);
    });

    return registry;
  }

  get url() {
    const address = /** @type {import('node:net').AddressInfo} */ (this.#server.address());

    return `http://127.0.0.1:${address.port}/`;
  }

  /**
   * A package that is for another platform: npm asks what it is, and leaves it.
   *
   * @param {Manifest & { os: string[], cpu: string[], libc?: string[] }} manifest
   */
  addForeign(manifest) {
    this.#packages.set(manifest.name, { manifest });
  }

  async close() {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  /** @param {string} tarball */
  #add(tarball) {
    const args = ['-xzOf', tarball, 'package/package.json'];
    /** @type {Manifest} */
    const manifest = JSON.parse(execFileSync('tar', args, { encoding: 'utf8' }));

    this.#packages.set(manifest.name, { manifest, tarball });
  }

  /**
   * @param {http.IncomingMessage} request
   * @param {http.ServerResponse} response
   */
  #answer({ url = '/' }, response) {
    const [, name = '', file] = decodeURIComponent(url).split('/');
    const found = this.#packages.get(name);

    if (!found || (file !== undefined && !found.tarball)) {
      this.unknown.push(url);
      response.writeHead(404).end('{}');
    } else if (file !== undefined && found.tarball) {
      fs.createReadStream(found.tarball).pipe(response);
    } else {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(this.#document(found)));
    }
  }

  /** @param {{ manifest: Manifest, tarball?: string }} found */
  #document({ manifest, tarball }) {
    const { name, version } = manifest;
    const file = `${name}-${version}.tgz`;
    const content = tarball ? fs.readFileSync(tarball) : '';
    const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`;
    const dist = { tarball: `${this.url}${name}/${path.basename(file)}`, integrity };

    return {
      name,
      'dist-tags': { latest: version },
      versions: { [version]: { ...manifest, dist } },
    };
  }
}

module.exports = { TestRegistry };
