'use strict';

/**
 * Takes the install scripts out of the mediasoup that this package carries with it. They fetch or
 * compile a mediasoup-worker, which an app with agents has no use for, and fail the whole install
 * where that is impossible. `mediasoup-horizontal worker install` does it where it is wanted.
 */

const fs = require('node:fs');
const path = require('node:path');

/** @param {string} modules A folder node_modules with it. */
function removeInstallScripts(modules) {
  const file = path.join(modules, 'mediasoup-upstream', 'package.json');
  const { scripts, ...rest } = JSON.parse(fs.readFileSync(file, 'utf8'));

  if (scripts !== undefined) {
    // A new file, as this one may be a hard link into somebody's store.
    fs.writeFileSync(`${file}.new`, `${JSON.stringify(rest, null, 2)}\n`);
    fs.renameSync(`${file}.new`, file);
  }
}

module.exports = { removeInstallScripts };

if (require.main === module) {
  removeInstallScripts(path.join(__dirname, '..', 'node_modules'));
}
