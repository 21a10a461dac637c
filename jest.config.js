'use strict';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__test__/**/*.test.js'],
  // Folders with packages of their own.
  modulePathIgnorePatterns: ['<rootDir>/target/'],
  transform: {},
  // Longer than the waits in tests, which tell what they waited for.
  testTimeout: 30_000,
  reporters: ['default', '<rootDir>/scripts/jest-summary.js'],
};
