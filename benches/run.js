'use strict';

/**
 * Runs a bench.
 *
 *   npm run bench -- calls
 */

const BENCHES = {
  calls: {
    text: 'what a call of the API costs, beside mediasoup itself and a JSON-RPC proxy',
    load: () => require('./calls'),
  },
  failover: {
    text: 'how soon the loss of an agent, of its host and of an app is noticed',
    load: () => require('./failover'),
  },
  pipes: {
    text: 'round trips and time to be heard on another host, beside mediasoup itself',
    load: () => require('./pipes'),
  },
  soak: {
    text: 'calls, messages and media while every link is cut again and again; also "npm run soak"',
    load: () => require('./soak'),
  },
  vertical: {
    text: "one Router on all of this host's cores, beside mediasoup itself",
    load: () => require('./vertical'),
  },
};

const HELP = `Usage: npm run bench -- BENCH [options]

Benches:
${Object.entries(BENCHES)
  .map(([name, { text }]) => `  ${name.padEnd(10)}${text}`)
  .join('\n')}

"BENCH --help" tells the options of a bench.
`;

/** The command line is wrong. */
const USAGE = 2;
const END_MS = 5_000;

/**
 * @param {string[]} args
 * @returns {Promise<number>} Exit status.
 */
async function main([name, ...rest]) {
  if (name === '--help' || name === '-h') {
    process.stdout.write(HELP);

    return 0;
  }
  if (name === undefined || !Object.hasOwn(BENCHES, name)) {
    process.stderr.write(`${name ? `there is no bench ${name}` : 'a bench is missing'}\n\n${HELP}`);

    return USAGE;
  }

  return BENCHES[/** @type {keyof typeof BENCHES} */ (name)].load().main(rest);
}

/** All is closed by now, so the process ends by itself. */
function endSoon() {
  setTimeout(() => {
    console.error('error: something keeps the process alive');
    process.exit(1);
  }, END_MS).unref();
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode ||= status;
    endSoon();
  },
  (error) => {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    process.exitCode ||= 1;
    endSoon();
  },
);
