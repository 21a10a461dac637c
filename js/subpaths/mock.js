'use strict';

const { MockConnection } = require('../connections');
const { Horizontal } = require('../horizontal');
const { MockControls } = require('../mock/controls');

/** One mock host. Each Worker has a mock worker of its own there, as each has a process elsewhere. */
const horizontal = new Horizontal([new MockConnection()], {
  placement: 'home',
  workersPerHost: 1024,
});
const { createWorker } = horizontal.mediasoup;
const controls = new MockControls(horizontal);

module.exports = { ...require('../../index'), createWorker, horizontal, controls, MockControls };
Object.defineProperty(module.exports, '__esModule', { value: true });
