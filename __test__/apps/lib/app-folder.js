'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const SERVERS = path.join(__dirname, '..', 'servers');
const ROOT = path.join(__dirname, '..', '..', '..');

/** What an app may have installed as `mediasoup`. */
const PACKAGES = {
  mediasoup: path.join(ROOT, 'node_modules', 'mediasoup-upstream'),
  'mediasoup-horizontal': ROOT,
};

/**
 * A folder with the apps in which `mediasoup` is installed, or ours in its place, as
 * `npm install mediasoup@npm:mediasoup-horizontal` does it.
 */
class AppFolder {
  /** @param {keyof typeof PACKAGES} name */
  constructor(name) {
    this.path = fs.mkdtempSync(path.join(os.tmpdir(), 'mh-apps-'));
    fs.cpSync(SERVERS, this.path, { recursive: true });
    fs.mkdirSync(path.join(this.path, 'node_modules'));
    fs.symlinkSync(PACKAGES[name], path.join(this.path, 'node_modules', 'mediasoup'));
  }

  remove() {
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}

module.exports = { AppFolder };
