'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { stubPath } = require('../../js/native');

/** Far more than a stripped release build has, far less than a debug build. */
const DEBUG_BYTES = 30_000_000;

/** @returns {'release' | 'debug'} How the native parts were built, by their size. */
function nativeBuild() {
  const addon = path.join(path.dirname(stubPath), 'mediasoup-horizontal.node');

  return fs.statSync(addon).size > DEBUG_BYTES ? 'debug' : 'release';
}

/** What the figures depend on. */
function describeMachine() {
  return {
    cores: os.availableParallelism(),
    cpu: os.cpus()[0]?.model ?? 'unknown',
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    kernel: os.release(),
    load1: round(os.loadavg()[0] ?? 0, 2),
    nativeBuild: nativeBuild(),
  };
}

/**
 * @param {number} value
 * @param {number} digits
 */
function round(value, digits) {
  return Number(value.toFixed(digits));
}

module.exports = { describeMachine, round };
