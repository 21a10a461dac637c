'use strict';

/** The release as far as it can be tried without one: what is built, tried and published. */

const fs = require('node:fs');
const path = require('node:path');
const { parse } = require('yaml');
const { PLATFORMS } = require('../js/platforms');
const { version } = require('../package.json');
const { findProblems } = require('../scripts/check-release');

const ROOT = path.join(__dirname, '..');

/**
 * @typedef {object} Step
 * @property {string} [uses]
 * @property {string} [run]
 *
 * @typedef {object} Host
 * @property {string} platform
 * @property {string} runner
 *
 * @typedef {object} Job
 * @property {string | string[]} [needs]
 * @property {string} [if]
 * @property {{ matrix: { include?: Host[], host?: Host[], node?: string[] } }} [strategy]
 * @property {Step[]} steps
 */

/** @type {Record<string, Job>} */
const jobs = parse(
  fs.readFileSync(path.join(ROOT, '.github', 'workflows', 'release.yml'), 'utf8'),
).jobs;
const names = PLATFORMS.map(({ name }) => name).sort();

/** @param {string} job */
function hostsOf(job) {
  const { include, host } = jobs[job].strategy?.matrix ?? {};

  return include ?? host ?? [];
}

test('every platform is built, and tried on a runner of its kind', () => {
  const built = hostsOf('build');
  const tried = [...hostsOf('try'), ...hostsOf('try-musl')];

  expect(built.map(({ platform }) => platform).sort()).toEqual(names);
  expect(tried.map(({ platform }) => platform).sort()).toEqual(names);
  for (const { platform, runner } of [...built, ...tried]) {
    expect([platform, runner.includes('macos')]).toEqual([platform, platform.startsWith('darwin')]);
    expect([platform, /-arm$/.test(runner) || runner === 'macos-15']).toEqual([
      platform,
      platform.includes('arm64'),
    ]);
  }
});

test('nothing is published that was not checked and tried, and only for a tag', () => {
  expect(jobs.publish.needs).toEqual(expect.arrayContaining(['check', 'try', 'try-musl']));
  expect(jobs.try.needs).toEqual(expect.arrayContaining(['build', 'main-package']));
  expect(jobs.publish.if).toContain('tag');
});

test('the scripts that it runs are there', () => {
  const commands = Object.values(jobs).flatMap(({ steps }) => steps.map(({ run }) => run ?? ''));
  const files = commands.flatMap((text) => text.match(/(?:scripts|\.ci)\/[\w.-]+/g) ?? []);

  expect(new Set(files)).toEqual(
    new Set([
      '.ci/run',
      'scripts/build-platform',
      'scripts/check-release.js',
      'scripts/pack.js',
      'scripts/smoke.js',
    ]),
  );
  for (const file of files) {
    expect([file, fs.existsSync(path.join(ROOT, file))]).toEqual([file, true]);
  }
});

test('the versions of this checkout fit together', () => {
  expect(findProblems(undefined)).toEqual([]);
  expect(findProblems(`v${version}`)).toEqual([]);
});

test('a tag of another version is refused', () => {
  expect(findProblems('v1.0.0')).toEqual([`the tag is v1.0.0, package.json says ${version}`]);
});
