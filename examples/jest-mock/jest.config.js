'use strict';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  transform: {},
  // In an app of yours, mediasoup is installed, and this is not needed.
  moduleNameMapper: { '^mediasoup$': '<rootDir>/installed-mediasoup.js' },
};
