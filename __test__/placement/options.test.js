'use strict';

const { Horizontal } = require('../..');

/** @import { HorizontalOptions } from '../../js/horizontal' */

afterEach(() => {
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('MEDIASOUP_HORIZONTAL_')) {
      delete process.env[name];
    }
  }
});

test.each([
  [{ placement: 'elsewhere' }, "must be 'home', 'pack', 'leastLoaded', 'roundRobin', 'region' or"],
  [{ placement: 7 }, "'scatter', or a function, got 7"],
  [{ placement: null }, 'or a function, got null'],
  [{ maxParts: 0 }, 'maxParts must be a whole number from 1 on, got 0'],
  [{ maxParts: 1.5 }, 'maxParts must be a whole number from 1 on, got 1.5'],
  [{ maxParts: '2' }, "maxParts must be a whole number from 1 on, got '2'"],
  [{ workersPerHost: -1 }, 'workersPerHost must be a whole number from 1 on, got -1'],
  [{ watermark: 60 }, 'watermark must be a number from 0 to 1, got 60'],
  [{ watermark: Number.NaN }, 'watermark must be a number from 0 to 1, got NaN'],
  [{ watermark: '0.6' }, "watermark must be a number from 0 to 1, got '0.6'"],
  [{ maxFanOut: 0 }, 'maxFanOut must be a whole number from 1 on, got 0'],
  [{ onPartLost: 'weep' }, "onPartLost must be 'continue' or 'died', got 'weep'"],
  [{ region: '' }, "region must be a string that is not empty, got ''"],
  [{ region: 1 }, 'region must be a string that is not empty, got 1'],
])('refuses the options %j', (options, message) => {
  const make = () => new Horizontal([], /** @type {HorizontalOptions} */ (options));

  expect(make).toThrow(TypeError);
  expect(make).toThrow(message);
});

test('placement by region needs a region', () => {
  const make = (/** @type {HorizontalOptions} */ options) =>
    new Horizontal([], { placement: 'region', ...options });

  expect(() => make({})).toThrow("placement 'region' needs to know the app's region");
  make({ region: 'eu' }).close();
  process.env.MEDIASOUP_HORIZONTAL_REGION = 'eu';
  make({}).close();
});

test.each([
  ['MEDIASOUP_HORIZONTAL_PLACEMENT', 'elsewhere', 'it is one of home, pack, leastLoaded'],
  ['MEDIASOUP_HORIZONTAL_MAX_PARTS', '0', 'it is a whole number from 1 on'],
  ['MEDIASOUP_HORIZONTAL_WORKERS_PER_HOST', 'two', 'it is a whole number from 1 on'],
  ['MEDIASOUP_HORIZONTAL_MAX_FAN_OUT', '-1', 'it is a whole number from 1 on'],
  ['MEDIASOUP_HORIZONTAL_ON_PART_LOST', 'weep', 'neither continue nor died'],
  ['MEDIASOUP_HORIZONTAL_WATERMARK', '60 %', 'it is a share of a core, from 0 to 1'],
])('refuses %s=%s', (name, value, message) => {
  process.env[name] = value;
  const make = () => new Horizontal([]);

  expect(make).toThrow(`${name}=${value}: ${message}`);
});

test('what the app says goes before what the environment says', () => {
  process.env.MEDIASOUP_HORIZONTAL_PLACEMENT = 'elsewhere';
  process.env.MEDIASOUP_HORIZONTAL_MAX_PARTS = '0';
  new Horizontal([], { placement: 'leastLoaded', maxParts: 2 }).close();
});
