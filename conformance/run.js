'use strict';

/**
 * Runs the tests that the mediasoup package brings, unmodified, against this package.
 *
 *   npm run conformance -- --mode agents
 */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { AgentProcess } = require('../examples/lib/agent-process');
const { Cuts } = require('./cuts');
const { runJest } = require('./jest-run');
const { Leftovers } = require('./leftovers');
const { MODES, clearReserved, environmentOf } = require('./modes');
const { knownIn, print, summarize } = require('./report');
const { retry } = require('./retry');
const { ROOT, makeWorkspace } = require('./workspace');
const known = require('./known-failures.json');

/** @import { TestCase } from './jest-run' */

const HELP = `Usage: npm run conformance -- [options]

Runs the tests of mediasoup itself, as its package brings them.

  --mode MODE   What is tested, one of:
${Object.entries(MODES)
  .map(([name, { text }]) => `                  ${name.padEnd(8)}${text}`)
  .join('\n')}
                Default: local.
  --only FILE   Only this file of tests, such as test-Worker. May be repeated.
  --json        Print the result as JSON in the last line.
  --help        Print this text.

A test that fails is run again alone: if it passes then, it is reported as flaky and counts as
passed. In mode cut that holds only for the two tests that wait 100 ms for an event, and up to three
times. MEDIASOUP_HORIZONTAL_WORKER_BIN names another mediasoup-worker than the installed one.
`;

/** How many tests the mediasoup package has. */
const TOTAL = 202;
const RUN_MS = 600_000;
const RETRY_MS = 60_000;

/**
 * @typedef {object} Options
 * @property {string} mode
 * @property {string[] | undefined} only
 * @property {boolean} json
 */

/**
 * @param {Options} options
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} Whether all is well.
 */
async function run({ mode: name, only, json }, signal) {
  const mode = /** @type {typeof MODES[string]} */ (MODES[name]);
  const workspace = makeWorkspace();
  const leftovers = new Leftovers();
  const agents = Array.from({ length: mode.agents }, newAgent);
  /** @type {string[]} */
  const problems = [];
  /** @type {TestCase[]} */
  let cases = [];
  /** @type {string[]} */
  let flaky = [];
  /** @type {Cuts | undefined} */
  let cuts;

  try {
    checkFiles(only, workspace.testDir);
    const ready = await Promise.all(agents.map((agent) => agent.ready(signal)));
    let urls = ready.map(({ url }) => url);

    if (mode.cuts) {
      cuts = await Cuts.open(urls);
      urls = cuts.urls;
      cuts.start();
    }
    const env = environmentOf(mode, { workspace, urls });
    const base = { workspace, env, signal };

    console.error(`mediasoup's tests, mode ${name}: ${mode.text}`);
    const without = mode.skipsKnown ? knownIn(name, known).map(({ test }) => test) : [];
    const first = await runJest({
      ...base,
      files: only,
      without,
      timeoutMs: RUN_MS,
    });
    problems.push(...first.problems);
    if (mode.ours && !fs.existsSync(path.join(workspace.dir, 'index-used'))) {
      problems.push('no test has loaded the module under test');
    }
    ({ cases, flaky } = await retry(first.cases, (one) => passesAlone(one, base), mode.again));
    if (cuts) {
      console.error(`${cuts.count} connections were cut`);
      if (cuts.count === 0) {
        problems.push('no connection was cut');
      }
    }
  } finally {
    cuts?.close();
    problems.push(...(await stopAll(agents)));
    problems.push(...(await leftovers.end()));
    workspace.remove();
  }

  if (!only && cases.length !== TOTAL) {
    problems.push(`${cases.length} tests instead of ${TOTAL} were run`);
  }
  const summary = summarize({ mode: name, cases, flaky, problems, known });
  print(summary, json);

  return summary.failed === 0;
}

/**
 * @param {TestCase} test
 * @param {Pick<import('./jest-run').JestOptions, 'workspace' | 'env' | 'signal'>} base
 * @returns {Promise<boolean>}
 */
async function passesAlone({ file, name }, base) {
  const { cases } = await runJest({ ...base, files: [file], name, timeoutMs: RETRY_MS });
  const ran = cases.filter(({ status }) => status !== 'skipped');

  return ran.length > 0 && ran.every(({ status }) => status === 'passed');
}

/** @returns {AgentProcess} */
function newAgent() {
  return new AgentProcess(path.join(ROOT, 'js', 'cli.js'));
}

/**
 * @param {AgentProcess[]} agents
 * @returns {Promise<string[]>} What went wrong.
 */
async function stopAll(agents) {
  const results = await Promise.allSettled(agents.map((agent) => agent.stop()));

  return results.flatMap((result) =>
    result.status === 'rejected' ? [String(result.reason.message)] : [],
  );
}

/**
 * @param {string[] | undefined} files
 * @param {string} testDir
 */
function checkFiles(files, testDir) {
  const unknown = files?.find((file) => !fs.existsSync(path.join(testDir, `${file}.js`)));

  if (unknown !== undefined) {
    const all = fs.readdirSync(testDir).filter((name) => /^test-.*\.js$/.test(name));
    const names = all.map((name) => path.basename(name, '.js')).join(', ');
    throw new Error(`mediasoup has no tests named ${unknown}; there are ${names}`);
  }
}

/** @returns {Options} */
function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        mode: { type: 'string', default: 'local' },
        only: { type: 'string', multiple: true },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean' },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    if (!Object.hasOwn(MODES, values.mode)) {
      throw new Error(`there is no mode ${values.mode}`);
    }

    return {
      mode: values.mode,
      only: values.only?.map((file) => path.basename(file, '.js')),
      json: values.json,
    };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${HELP}`);
    process.exit(2);
  }
}

async function main() {
  const options = readOptions();
  const stopping = new AbortController();

  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(name, () => {
      process.exitCode = 128 + os.constants.signals[name];
      stopping.abort(new Error(`stopped by ${name}`));
    });
  }
  clearReserved();

  try {
    if (!(await run(options, stopping.signal))) {
      process.exitCode = 1;
    }
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    process.exitCode ||= 1;
  }
}

void main();
