'use strict';

const os = require('node:os');

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__test__/**/*.test.js'],
  // Folders with packages of their own.
  modulePathIgnorePatterns: ['<rootDir>/target/'],
  // Much of a test is waiting for others: two cores carry two files at a time.
  maxWorkers: Math.max(2, os.availableParallelism() - 1),
  transform: {},
  // Longer than the waits in tests, which tell what they waited for.
  testTimeout: 30_000,
  reporters: ['default', '<rootDir>/scripts/jest-summary.js'],
};
