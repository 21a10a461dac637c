'use strict';

/**
 * What runs one test file among hosts of its own. It is the first process in namespaces that
 * `unshare` made: when it ends, the kernel ends all others and removes every namespace, link and
 * mount, whatever happened.
 *
 *   node world.js FILE     results go to fd 3, one JSON text a line; ends when stdin does
 */

const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { GATEWAY_INSIDE, PREFIX6, hosts } = require('./hosts');
const { INSIDE, RESULTS_FD } = require('./inside');

/** @typedef {import('./hosts').Host} Host */

const ROOT = path.join(__dirname, '..', '..', '..');
const TEMPORARY = '/run/tmp';
const COMMAND_TIMEOUT = 10_000;

function makeHosts() {
  // `ip netns` keeps its names here. Outside of this mount namespace nobody sees them.
  run('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  fs.mkdirSync(TEMPORARY);
  ip(['link set lo up', ...['lan', 'inside'].flatMap(bridgeCommands)]);

  for (const host of Object.values(hosts)) {
    ip([`netns add ${host.name}`, ...plugCommands(host, 'eth0', host.link)]);
    ipIn(host.name, ['link set lo up', ...addressCommands(host)]);
  }

  ip(plugCommands(hosts.gateway, 'eth1', 'inside'));
  ipIn(hosts.gateway.name, [`address add ${GATEWAY_INSIDE}/24 dev eth1`, 'link set eth1 up']);
}

/** @param {string} name */
function bridgeCommands(name) {
  return [`link add ${name} type bridge`, `link set ${name} up`];
}

/**
 * @param {Host} host
 * @param {string} device
 * @param {string} bridge
 */
function plugCommands({ name }, device, bridge) {
  const outer = `${name}-${device}`;

  return [
    `link add ${outer} type veth peer name ${device} netns ${name}`,
    `link set ${outer} master ${bridge} up`,
  ];
}

/** @param {Host} host */
function addressCommands({ ip: address, prefix, ip6 }) {
  return [
    `address add ${address}/${prefix} dev eth0`,
    // Without duplicate detection, during which it cannot be bound.
    ...(ip6 ? [`address add ${ip6}/${PREFIX6} dev eth0 nodad`] : []),
    'link set eth0 up',
  ];
}

/** @param {string[]} commands */
function ip(commands) {
  run('ip', ['-batch', '-'], commands);
}

/**
 * @param {string} namespace
 * @param {string[]} commands
 */
function ipIn(namespace, commands) {
  run('ip', ['-netns', namespace, '-batch', '-'], commands);
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string[]} [lines] Its stdin.
 */
function run(command, args, lines = []) {
  execFileSync(command, args, {
    input: lines.map((line) => `${line}\n`).join(''),
    stdio: ['pipe', 'ignore', 'inherit'],
    timeout: COMMAND_TIMEOUT,
  });
}

/**
 * Runs jest on the app's host.
 *
 * @param {string} file
 */
function runTests(file) {
  const config = {
    rootDir: ROOT,
    testEnvironment: 'node',
    testMatch: [file],
    modulePathIgnorePatterns: ['<rootDir>/target/'],
    transform: {},
    reporters: [require.resolve('./results-reporter')],
  };
  const jest = [require.resolve('jest/bin/jest'), '--runInBand', '--ci'];
  const args = [...jest, '--config', JSON.stringify(config)];

  return spawn('ip', ['netns', 'exec', hosts.app.name, process.execPath, ...args], {
    cwd: ROOT,
    // Whatever is left there goes with the mount.
    env: { ...process.env, TMPDIR: TEMPORARY, [INSIDE]: '1' },
    stdio: ['ignore', 'inherit', 'inherit', RESULTS_FD],
  });
}

function main() {
  const file = process.argv[2];

  if (file === undefined || process.pid !== 1) {
    throw new Error('world.js is started by on-network.js only');
  }

  // Whoever wants the results is gone.
  process.stdin.resume().on('end', () => process.exit(1));
  makeHosts();
  runTests(file)
    .on('error', (error) => {
      throw error;
    })
    .on('exit', (code) => process.exit(code ?? 1));
}

main();
