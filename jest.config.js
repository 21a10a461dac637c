'use strict';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__test__/**/*.test.js'],
  // Folders with packages of their own.
  modulePathIgnorePatterns: ['<rootDir>/target/'],
  transform: {},
  reporters: ['default', '<rootDir>/scripts/jest-summary.js'],
};
