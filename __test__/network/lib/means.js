'use strict';

const { spawnSync } = require('node:child_process');

const PROBE_TIMEOUT = 10_000;
const NAMESPACES = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
/** For whoever is not root, or is root without the right to make namespaces. */
const AS_USER = ['--user', '--map-root-user'];

/**
 * How `unshare` makes hosts here.
 *
 * @returns {string[]} Arguments, to be followed by a command.
 * @throws {Error} Naming what is missing.
 */
function unshareArgs() {
  const noIp = probe('ip', ['-Version']);

  if (noIp) {
    throw new Error(`tests between hosts need the "ip" command of iproute2: ${noIp}`);
  }

  const asRoot = probe('unshare', [...NAMESPACES, 'true']);

  if (!asRoot) {
    return NAMESPACES;
  }

  const asUser = probe('unshare', [...AS_USER, ...NAMESPACES, 'true']);

  if (!asUser) {
    return [...AS_USER, ...NAMESPACES];
  }

  throw new Error(
    'tests between hosts need the "unshare" command of util-linux, and either root with ' +
      `CAP_SYS_ADMIN (${asRoot}) or user namespaces for everybody (${asUser})`,
  );
}

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {string | undefined} Why it fails, if it does.
 */
function probe(command, args) {
  const { error, status, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: PROBE_TIMEOUT,
  });

  if (error) {
    return error.message;
  }

  return status === 0 ? undefined : stderr.trim() || `exit status ${status}`;
}

module.exports = { unshareArgs };
