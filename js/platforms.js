'use strict';

/**
 * The platforms that the native parts are built for. Each has a package of its own, which npm
 * installs where its os, cpu and libc fit.
 *
 * @typedef {object} Platform
 * @property {string} name Such as `linux-x64-gnu`.
 * @property {'linux' | 'darwin'} os As `process.platform` says it.
 * @property {'x64' | 'arm64'} cpu As `process.arch` says it.
 * @property {'glibc' | 'musl'} [libc] On Linux only.
 * @property {string} target What Rust calls it.
 */

/** @type {readonly Platform[]} */
const PLATFORMS = [
  platform('linux', 'x64', 'x86_64-unknown-linux-gnu', 'glibc'),
  platform('linux', 'x64', 'x86_64-unknown-linux-musl', 'musl'),
  platform('linux', 'arm64', 'aarch64-unknown-linux-gnu', 'glibc'),
  platform('linux', 'arm64', 'aarch64-unknown-linux-musl', 'musl'),
  platform('darwin', 'x64', 'x86_64-apple-darwin'),
  platform('darwin', 'arm64', 'aarch64-apple-darwin'),
];

/**
 * @param {Platform['os']} os
 * @param {Platform['cpu']} cpu
 * @param {string} target
 * @param {Platform['libc']} [libc]
 * @returns {Platform}
 */
function platform(os, cpu, target, libc) {
  const suffix = { glibc: '-gnu', musl: '-musl' };

  return { name: `${os}-${cpu}${libc ? suffix[libc] : ''}`, os, cpu, libc, target };
}

/**
 * @param {Platform} platform
 * @returns {string} Name of the package with its native parts.
 */
function packageOf({ name }) {
  return `mediasoup-horizontal-${name}`;
}

/**
 * The platform that this process runs on.
 *
 * @returns {Platform | undefined} Undefined where there are no native parts for it.
 */
function hostPlatform() {
  const { platform: os, arch } = process;
  const fitting = PLATFORMS.filter((one) => one.os === os && one.cpu === arch);

  // Asked only where it matters: the answer takes a while.
  return fitting.length > 1 ? fitting.find((one) => one.libc === hostLibc()) : fitting[0];
}

/** @returns {Platform['libc']} The C library that this Node.js was built for. */
function hostLibc() {
  const report = /** @type {typeof process.report & { excludeNetwork?: boolean }} */ (
    process.report
  );
  const saved = report.excludeNetwork;

  // Else it asks the name server for every open socket.
  report.excludeNetwork = true;
  try {
    const { header } = /** @type {{ header: object }} */ (
      /** @type {unknown} */ (report.getReport())
    );

    return 'glibcVersionRuntime' in header ? 'glibc' : 'musl';
  } finally {
    report.excludeNetwork = saved;
  }
}

/** @returns {string} What to call this host in messages. */
function describeHost() {
  const libc = process.platform === 'linux' ? ` with ${hostLibc()}` : '';

  return `${process.platform} on ${process.arch}${libc}`;
}

module.exports = { PLATFORMS, describeHost, hostPlatform, packageOf };
