'use strict';

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { InstallError, findTool, run } = require('./commands');
const { cacheRoot } = require('./paths');

/**
 * Fetches packages of the system's distribution and of Python into the cache. Nothing of the
 * system is changed and no root is needed: apt works on folders of ours and installs nothing.
 * A package that the cache has is not fetched again.
 */
class Packages {
  /**
   * @param {object} options
   * @param {string} options.workDir  For what is needed only while fetching.
   * @param {string} options.logFile
   * @param {(line: string) => void} options.log
   */
  constructor({ workDir, logFile, log }) {
    this.workDir = workDir;
    this.logFile = logFile;
    this.log = log;
    this.store = path.join(cacheRoot(), 'packages', systemName());
    /** @type {Promise<string> | undefined} */
    this.aptReady = undefined;
    /** What went wrong while reading the package lists, which may explain a later failure. */
    this.aptProblem = '';
    /** @type {Promise<{ command: string, env: NodeJS.ProcessEnv }> | undefined} */
    this.pipReady = undefined;
  }

  /**
   * Fetches a binary package of the distribution.
   *
   * @param {string} name
   * @returns {Promise<string>}  Path of the .deb file.
   */
  async deb(name) {
    const dir = await this.fetch(`deb-${name}`, name, async (target) => {
      await this.apt(['download', name], target);
    });

    return onlyFile(dir, /\.deb$/);
  }

  /**
   * Fetches the original source archive of a package of the distribution.
   *
   * @param {string} name
   * @returns {Promise<string>}  Path of the archive.
   */
  async source(name) {
    const dir = await this.fetch(`source-${name}`, `the source of ${name}`, async (target) => {
      await this.apt(['source', '--download-only', name], target);
    });

    return onlyFile(dir, /\.orig\.tar\.\w+$/);
  }

  /**
   * Fetches a ready-made package of Python.
   *
   * @param {string} name
   * @param {string} versions  Such as `==1.2` or `>=1,<2`.
   * @returns {Promise<string>}  Path of the .whl file.
   */
  async wheel(name, versions) {
    const key = `wheel-${name}${versions}`.replace(/[^\w.,=-]/g, '_');
    const dir = await this.fetch(key, `${name} for Python`, async (target) => {
      const { command, env } = await this.pip();
      await run(
        command,
        [
          ...['-m', 'pip', 'download', '--disable-pip-version-check', '--no-input'],
          ...['--no-deps', '--only-binary', ':all:', '--dest', target, `${name}${versions}`],
        ],
        { env: { ...process.env, ...env }, logFile: this.logFile },
      );
    });

    return onlyFile(dir, /\.whl$/);
  }

  /**
   * Unpacks packages of the distribution into one folder.
   *
   * @param {string[]} names
   * @param {string} target
   */
  async unpackDebs(names, target) {
    for (const name of names) {
      const file = await this.deb(name);
      await run('dpkg-deb', ['-x', file, target], { logFile: this.logFile });
    }
  }

  /**
   * @param {string} name
   * @param {string} target
   */
  async unpackSource(name, target) {
    fs.mkdirSync(target, { recursive: true });
    await run('tar', ['-xf', await this.source(name), '--strip-components=1', '-C', target], {
      logFile: this.logFile,
    });
  }

  /**
   * @param {string} name
   * @param {string} versions
   * @param {string} target
   */
  async unpackWheel(name, versions, target) {
    const file = await this.wheel(name, versions);
    await run(pythonCommand(), ['-m', 'zipfile', '-e', file, target], { logFile: this.logFile });
  }

  /**
   * Runs `download` unless the cache has its result. An interrupted one leaves nothing behind
   * that a later run would take for complete.
   *
   * @param {string} key
   * @param {string} label  For the progress.
   * @param {(target: string) => Promise<void>} download
   * @returns {Promise<string>}  Folder with what was fetched.
   */
  async fetch(key, label, download) {
    const dir = path.join(this.store, key);
    if (fs.existsSync(dir)) {
      return dir;
    }

    this.log(`fetching ${label}`);
    const target = path.join(this.workDir, `fetch-${randomUUID()}`);
    fs.mkdirSync(target, { recursive: true });
    await download(target);
    fs.mkdirSync(this.store, { recursive: true });
    try {
      fs.renameSync(target, dir);
    } catch (error) {
      // Another installation, for another version, may have fetched the same.
      if (!fs.existsSync(dir)) {
        throw error;
      }
    }

    return dir;
  }

  /**
   * @param {string[]} args
   * @param {string} cwd
   */
  async apt(args, cwd) {
    this.aptReady ??= this.setUpApt();
    const config = await this.aptReady;
    try {
      await run('apt-get', ['-c', config, ...args], { cwd, logFile: this.logFile });
    } catch (error) {
      const problem = /** @type {Error} */ (error).message;
      throw this.aptProblem
        ? new InstallError(`${problem}\nBefore that, ${this.aptProblem}`)
        : error;
    }
  }

  /**
   * Makes a configuration in which apt keeps to folders of ours, and reads the package lists.
   *
   * @returns {Promise<string>}  Path of the configuration.
   */
  async setUpApt() {
    if (!findTool('apt-get')) {
      throw new InstallError('apt-get is missing: it fetches the libraries to build the worker.');
    }
    this.log('reading the package lists of the distribution');

    const dir = path.join(this.workDir, 'apt');
    const sources = path.join(dir, 'sources');
    for (const folder of ['lists/partial', 'cache/archives/partial', 'sources']) {
      fs.mkdirSync(path.join(dir, folder), { recursive: true });
    }
    copyAptSources(sources);
    fs.writeFileSync(path.join(dir, 'status'), '');

    const config = path.join(dir, 'apt.conf');
    const settings = [
      `Dir::State ${JSON.stringify(dir)};`,
      `Dir::State::lists ${JSON.stringify(path.join(dir, 'lists'))};`,
      `Dir::State::status ${JSON.stringify(path.join(dir, 'status'))};`,
      `Dir::Cache ${JSON.stringify(path.join(dir, 'cache'))};`,
      `Dir::Etc::sourcelist "/dev/null";`,
      `Dir::Etc::sourceparts ${JSON.stringify(sources)};`,
      'Acquire::Languages "none";',
      'Acquire::Retries "3";',
      // When run by root, apt would fetch as a user that cannot write into our folders.
      'APT::Sandbox::User "root";',
      // Hooks are of the system and work on the system.
      ...['APT::Update::Pre-Invoke', 'APT::Update::Post-Invoke'].map((hook) => `#clear ${hook};`),
      '#clear APT::Update::Post-Invoke-Success;',
    ];
    fs.writeFileSync(config, `${settings.join('\n')}\n`);

    // One unreachable source of many fails this; what matters is whether the downloads work.
    await run('apt-get', ['-c', config, 'update'], { logFile: this.logFile }).catch((error) => {
      this.aptProblem = error.message;
      this.log('warning: not all package lists could be read, going on with those that could');
    });

    return config;
  }

  /**
   * Finds Python's pip or, where Python comes without, takes the distribution's package of it.
   *
   * @returns {Promise<{ command: string, env: NodeJS.ProcessEnv }>}
   */
  pip() {
    this.pipReady ??= (async () => {
      const command = pythonCommand();
      try {
        await run(command, ['-m', 'pip', '--version'], { timeout: 60_000 });

        return { command, env: {} };
      } catch {
        const dir = path.join(this.workDir, 'pip');
        await this.unpackDebs(['python3-pip', 'python3-setuptools', 'python3-wheel'], dir);
        const env = { PYTHONPATH: path.join(dir, 'usr/lib/python3/dist-packages') };

        return { command, env };
      }
    })();

    return this.pipReady;
  }
}

/** Writes the system's package sources into a folder, with their source packages added. */
function copyAptSources(/** @type {string} */ target) {
  const folder = '/etc/apt/sources.list.d';
  const files = ['/etc/apt/sources.list'];
  if (fs.existsSync(folder)) {
    files.push(...fs.readdirSync(folder).map((name) => path.join(folder, name)));
  }

  for (const file of files.filter((name) => fs.existsSync(name))) {
    const name = path.basename(file);
    if (name.endsWith('.sources')) {
      const text = fs.readFileSync(file, 'utf8');
      fs.writeFileSync(path.join(target, name), text.replace(/^Types:.*$/gm, 'Types: deb deb-src'));
    } else if (name.endsWith('.list')) {
      const lines = fs.readFileSync(file, 'utf8').split('\n');
      const binary = lines.filter((line) => /^\s*deb\s/.test(line));
      const both = binary.flatMap((line) => [line, line.replace(/^\s*deb/, 'deb-src')]);
      fs.writeFileSync(path.join(target, name), `${both.join('\n')}\n`);
    }
  }
}

/** @returns {string} */
function pythonCommand() {
  const command = findTool('python3');
  if (!command) {
    throw new InstallError('python3 is missing: it fetches and unpacks tools for the build.');
  }

  return command;
}

/** @returns {string}  Name for the packages of this system, which do not fit another. */
function systemName() {
  /** @type {Record<string, string>} */
  const release = {};
  if (fs.existsSync('/etc/os-release')) {
    for (const line of fs.readFileSync('/etc/os-release', 'utf8').split('\n')) {
      const [name, value = ''] = line.split('=', 2);
      release[name] = value.replace(/"/g, '');
    }
  }
  const system = [release.ID ?? os.platform(), release.VERSION_CODENAME ?? release.VERSION_ID];

  return [...system.filter(Boolean), process.arch].join('-').replace(/[^\w.-]/g, '_');
}

/**
 * @param {string} dir
 * @param {RegExp} pattern
 * @returns {string}
 */
function onlyFile(dir, pattern) {
  const name = fs.readdirSync(dir).find((entry) => pattern.test(entry));
  if (!name) {
    throw new InstallError(`${dir} does not hold what it should; remove that folder and try again`);
  }

  return path.join(dir, name);
}

module.exports = { Packages };
