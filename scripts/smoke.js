'use strict';

/**
 * `node scripts/smoke.js DIR`: installs the tarballs of a folder, as scripts/pack.js left them, into
 * an empty project and uses them there: an app on mock workers, so that no mediasoup-worker is
 * needed, and the commands.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { version } = require('../package.json');

const RUN_MS = 120_000;
const STUB = 'mediasoup-horizontal-worker';

const APP = `
  const { Horizontal, MockConnection } = require('mediasoup-horizontal');
  const horizontal = new Horizontal([new MockConnection()]);
  horizontal.mediasoup.createWorker().then(async (worker) => {
    const router = await worker.createRouter();
    const transport = await router.createWebRtcTransport({
      listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }],
    });
    console.log(transport.iceCandidates.length > 0);
    horizontal.close();
  });`;

/**
 * @param {string} folder
 * @param {string} command
 * @param {string[]} args
 * @returns {string} What it printed.
 */
function run(folder, command, args) {
  return execFileSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: RUN_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();
}

/** @param {string} dir */
function main(dir) {
  const names = fs.readdirSync(dir).filter((name) => name.endsWith('.tgz'));
  const tarballs = names.map((name) => path.resolve(dir, name));
  const project = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-smoke-'));

  try {
    fs.writeFileSync(path.join(project, 'package.json'), '{"private":true}');
    // The packages of other platforms may not be published yet.
    run(project, 'npm', ['install', '--no-audit', '--no-fund', '--offline', ...tarballs]);
    const cli = path.join('node_modules', 'mediasoup-horizontal', 'js', 'cli.js');
    const checks = {
      'an app on mock workers': [run(project, process.execPath, ['--eval', APP]), 'true'],
      'the command': [run(project, process.execPath, [cli, '--version']), version],
      'the agent': [
        run(project, process.execPath, [cli, 'agent', '--version']),
        `mediasoup-horizontal-agent ${version}`,
      ],
      'the stub': [path.basename(run(project, process.execPath, [cli, 'worker-bin'])), STUB],
    };

    for (const [what, [printed, expected]] of Object.entries(checks)) {
      console.log(
        `${what}: ${printed === expected ? 'ok' : `printed ${printed}, not ${expected}`}`,
      );
      process.exitCode ||= printed === expected ? 0 : 1;
    }
  } finally {
    fs.rmSync(project, { recursive: true, force: true });
  }
}

main(process.argv[2]);
