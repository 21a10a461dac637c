'use strict';

/**
 * Runs the Rust tests, by cargo-nextest where it is installed, and closes with one line of figures.
 * Arguments are passed on.
 */

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const { stripVTControlCharacters } = require('node:util');

/**
 * @typedef {object} Figures
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped
 */

/**
 * Runs a command, shows what it prints and sums up the figures in it.
 *
 * @param {string[]} args Of cargo.
 * @param {(line: string) => Figures | undefined} read
 * @returns {Promise<Figures>}
 */
async function run(args, read) {
  const child = spawn('cargo', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const figures = { passed: 0, failed: 0, skipped: 0 };

  for (const [source, target] of /** @type {const} */ ([
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ])) {
    let rest = '';

    source.setEncoding('utf8').on('data', (text) => {
      target.write(text);
      const lines = (rest + text).split('\n');
      rest = /** @type {string} */ (lines.pop());

      for (const line of lines) {
        const more = read(stripVTControlCharacters(line));
        figures.passed += more?.passed ?? 0;
        figures.failed += more?.failed ?? 0;
        figures.skipped += more?.skipped ?? 0;
      }
    });
  }

  const [status, signal] = await once(child, 'close');
  if (status !== 0 && figures.failed === 0) {
    // Nothing was run, as when it does not compile.
    console.error(`cargo ${args.join(' ')} ended with ${signal ?? `status ${status}`}`);
    figures.failed = 1;
  }

  return figures;
}

/**
 * @param {string} line Such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
 * @returns {Figures | undefined}
 */
function readCargo(line) {
  const found = /^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);

  return found
    ? { passed: Number(found[1]), failed: Number(found[2]), skipped: Number(found[3]) }
    : undefined;
}

/**
 * @param {string} line Such as `Summary [ 1.2s] 4 tests run: 3 passed, 1 failed, 2 skipped`.
 * @returns {Figures | undefined}
 */
function readNextest(line) {
  if (!/^\s*Summary \[/.test(line)) {
    return undefined;
  }
  const figure = (/** @type {string} */ name) =>
    Number(new RegExp(`(\\d+) ${name}`).exec(line)?.[1] ?? 0);

  return {
    passed: figure('passed'),
    failed: figure('failed') + figure('timed out') + figure('exec failed'),
    skipped: figure('skipped'),
  };
}

/** @param {string[]} args */
async function main(args) {
  const nextest = spawnSync('cargo', ['nextest', '--version'], { stdio: 'ignore' }).status === 0;
  const results = nextest
    ? [
        await run(['nextest', 'run', '--workspace', '--no-fail-fast', ...args], readNextest),
        // The examples in the documentation, which nextest leaves out.
        await run(['test', '--workspace', '--doc', '--quiet'], readCargo),
      ]
    : [await run(['test', '--workspace', '--no-fail-fast', ...args], readCargo)];

  const sum = (/** @type {keyof Figures} */ key) =>
    results.reduce((total, figures) => total + figures[key], 0);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  process.exitCode = sum('failed') > 0 ? 1 : 0;
}

void main(process.argv.slice(2));
