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
  [{ placement: 'elsewhere' }, 'placement must be a function or one of home, pack, leastLoaded'],
  [{ placement: 7 }, 'placement must be a function or one of'],
  [{ placement: null }, 'placement must be a function or one of'],
  [{ maxParts: 0 }, 'maxParts must be a whole number from 1 on'],
  [{ maxParts: 1.5 }, 'maxParts must be a whole number from 1 on'],
  [{ maxParts: '2' }, 'maxParts must be a whole number from 1 on'],
  [{ workersPerHost: -1 }, 'workersPerHost must be a whole number from 1 on'],
  [{ watermark: 60 }, 'watermark must be a share of a core, from 0 to 1'],
  [{ watermark: Number.NaN }, 'watermark must be a share of a core, from 0 to 1'],
  [{ watermark: '0.6' }, 'watermark must be a share of a core, from 0 to 1'],
  [{ maxFanOut: 0 }, 'maxFanOut must be a whole number from 1 on'],
  [{ onPartLost: 'weep' }, "onPartLost must be 'continue' or 'died'"],
  [{ region: '' }, 'region must be a string that is not empty'],
  [{ region: 1 }, 'region must be a string that is not empty'],
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
