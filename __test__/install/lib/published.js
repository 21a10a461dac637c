'use strict';

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { PLATFORMS, hostPlatform, packageOf } = require('../../../js/platforms');
const { version } = require('../../../package.json');
const { TestRegistry } = require('./registry');
const tools = require('./tools');

const ROOT = path.join(__dirname, '..', '..', '..');
const RUN_MS = 120_000;

const execute = promisify(execFile);

/**
 * @typedef {object} Run
 * @property {NodeJS.ProcessEnv} [env] More of the environment.
 * @property {string} [node] Another Node.js than this one.
 */

/**
 * This package as it would be published, and folders of users that install it: with a home, a cache
 * and a PATH of their own, on which there is Node.js, a shell and nothing else.
 */
class Published {
  #folder;
  #registry;
  #count = 0;

  /**
   * Use `Published.pack()`.
   *
   * @param {string} folder
   * @param {TestRegistry} registry
   */
  constructor(folder, registry) {
    this.#folder = folder;
    this.#registry = registry;
  }

  static async pack() {
    const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mh-install-')));
    const script = path.join(ROOT, 'scripts', 'pack.js');
    const { stdout } = await execute(process.execPath, [script, '--out', folder], {
      timeout: RUN_MS,
    });
    const registry = await TestRegistry.start(stdout.trim().split('\n'));

    for (const platform of PLATFORMS.filter((one) => one !== hostPlatform())) {
      const { os: system, cpu, libc } = platform;
      registry.addForeign({
        name: packageOf(platform),
        version,
        os: [system],
        cpu: [cpu],
        ...(libc && { libc: [libc] }),
      });
    }

    return new Published(folder, registry);
  }

  /** What npm asked for beyond these packages, which is nothing unless something is wrong. */
  get unknown() {
    return this.#registry.unknown;
  }

  async remove() {
    await this.#registry.close();
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * @param {string} name
   * @returns {string} An empty folder.
   */
  emptyFolder(name) {
    this.#count += 1;
    const folder = path.join(this.#folder, `${name}-${this.#count}`);
    fs.mkdirSync(folder);

    return folder;
  }

  /** @returns {Promise<string>} Path of the tarball that plain `npm pack` makes. */
  async packCheckout() {
    const args = ['pack', '--json', '--pack-destination', this.emptyFolder('packed')];
    const { stdout } = await execute('npm', args, { cwd: ROOT, timeout: RUN_MS });

    return path.join(/** @type {string} */ (args.at(-1)), JSON.parse(stdout)[0].filename);
  }

  /**
   * A project into which something was installed.
   *
   * @param {string[]} args Of `npm install`.
   * @param {{ npm?: 10 | 11 }} [options]
   * @returns {Promise<Project>}
   */
  async project(args, { npm = 11 } = {}) {
    const project = new Project(this.emptyFolder('project'), this.emptyFolder('home'));

    await project.install(['--registry', this.#registry.url, ...args], { npm });

    return project;
  }
}

class Project {
  #bin;
  #home;

  /**
   * @param {string} folder
   * @param {string} home
   */
  constructor(folder, home) {
    this.folder = folder;
    this.#home = home;
    this.#bin = path.join(home, 'bin');
    fs.mkdirSync(this.#bin);
    fs.symlinkSync('/bin/sh', path.join(this.#bin, 'sh'));
    fs.writeFileSync(path.join(folder, 'package.json'), '{"private":true}');
  }

  /**
   * @param {string[]} args Of `npm install`.
   * @param {{ npm?: 10 | 11, shared?: boolean }} options shared: with the settings and the cache of
   * whoever runs the tests.
   */
  async install(args, { npm = 11, shared = false }) {
    const options = ['--no-audit', '--no-fund', '--loglevel=error'];
    const env = shared ? { HOME: process.env.HOME } : {};

    await this.npm(['install', ...options, ...args], npm, { env });
  }

  /**
   * @param {string[]} args
   * @param {10 | 11} [npm]
   * @param {Run} [options]
   * @returns {Promise<string>} What it printed.
   */
  async npm(args, npm = 11, options) {
    return this.node([await tools.npm(npm), ...args], options);
  }

  /**
   * @param {string[]} args
   * @param {Run} [options]
   * @returns {Promise<string>} What it printed.
   */
  node(args, { node = process.execPath, env } = {}) {
    return this.#run(node, args, { node, env });
  }

  /**
   * @param {string} line Of a shell, in which `npx` is npm's.
   * @param {Run} [options]
   * @returns {Promise<string>} What it printed.
   */
  async shell(line, options) {
    const npm = await tools.npm(11);
    const npx = `npx() { node '${npm}' exec --offline -- "$@"; };`;

    return this.#run('/bin/sh', ['-c', `${npx} ${line}`], { node: process.execPath, ...options });
  }

  /**
   * The environment of whatever runs here.
   *
   * @param {Run} options
   * @returns {NodeJS.ProcessEnv}
   */
  environment({ node = process.execPath, env }) {
    const link = path.join(this.#bin, 'node');

    fs.rmSync(link, { force: true });
    fs.symlinkSync(node, link);

    return { PATH: this.#bin, HOME: this.#home, npm_config_update_notifier: 'false', ...env };
  }

  /**
   * @param {string} command
   * @param {string[]} args
   * @param {Run} options
   */
  async #run(command, args, options) {
    const { stdout } = await execute(command, args, {
      cwd: this.folder,
      env: this.environment(options),
      timeout: RUN_MS,
    });

    return stdout;
  }
}

module.exports = { Project, Published };
