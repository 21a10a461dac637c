'use strict';

const mediasoup = require('mediasoup-upstream');
const { LocalConnection, MockConnection, RemoteConnection } = require('./js/connections');
const { IncompatibleConnectionError } = require('./js/errors');
const { Horizontal } = require('./js/horizontal');

/** The instance behind the exports of this module, configured by the environment. */
const horizontal = new Horizontal();

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
exports.IncompatibleConnectionError = IncompatibleConnectionError;
exports.LocalConnection = LocalConnection;
exports.MockConnection = MockConnection;
exports.RemoteConnection = RemoteConnection;
