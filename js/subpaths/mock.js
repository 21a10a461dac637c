'use strict';

const mediasoup = require('mediasoup-upstream');
const { LocalConnection, MockConnection, RemoteConnection } = require('../connections');
const { Horizontal } = require('../horizontal');
const { MockControls } = require('../mock/controls');

/** One mock host. Each Worker has a mock worker of its own there, as each has a process elsewhere. */
const horizontal = new Horizontal([new MockConnection()], {
  placement: 'home',
  workersPerHost: 1024,
});

Object.defineProperty(exports, '__esModule', { value: true });
exports.version = mediasoup.version;
exports.workerBin = mediasoup.workerBin;
exports.observer = mediasoup.observer;
exports.createWorker = horizontal.mediasoup.createWorker;
exports.getSupportedRtpCapabilities = mediasoup.getSupportedRtpCapabilities;
exports.setLogEventListeners = mediasoup.setLogEventListeners;
exports.parseScalabilityMode = mediasoup.parseScalabilityMode;
exports.errors = mediasoup.errors;
exports.ortc = mediasoup.ortc;
exports.extras = mediasoup.extras;
exports.horizontal = horizontal;
exports.Horizontal = Horizontal;
exports.LocalConnection = LocalConnection;
exports.MockConnection = MockConnection;
exports.RemoteConnection = RemoteConnection;
exports.MockControls = MockControls;
exports.controls = new MockControls(horizontal);
