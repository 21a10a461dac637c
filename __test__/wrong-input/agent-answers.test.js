'use strict';

const { randomBytes } = require('node:crypto');
const mediasoup = require('mediasoup-upstream');
const { Horizontal } = require('../..');
const { until, within } = require('../processes/lib/deadline');
const { MARK, marked, newMark } = require('../processes/lib/process-table');
const { RawAgent, message } = require('../processes/lib/raw-agent');
const { frame } = require('../processes/lib/raw-websocket');
const { trueWelcome } = require('../processes/lib/true-welcome');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const CONNECT_TIMEOUT_MS = 1_500;
const GRACE_MS = 1_500;
const SPAWNED = 2;
const CHANNEL = 4;

/** What a true agent says to a hello. @type {Record<string, any>} */
let welcome;

beforeAll(async () => {
  ({ welcome } = await trueWelcome());
  process.env[MARK] = newMark();
});

/**
 * What createWorker says when the agent gives these answers.
 *
 * @param {ConstructorParameters<typeof RawAgent>} args
 * @returns {Promise<{ url: string, text: string }>}
 */
async function refusal(...args) {
  const { agent, url } = await RawAgent.start(...args);
  const horizontal = new Horizontal([url], { connectTimeoutMs: CONNECT_TIMEOUT_MS });
  const start = Date.now();
  const error = await within(
    horizontal.mediasoup.createWorker().then(
      () => new Error('a Worker was made'),
      (reason) => reason,
    ),
    'the refusal',
  );

  expect(Date.now() - start).toBeLessThan(CONNECT_TIMEOUT_MS + GRACE_MS);
  horizontal.close();
  agent.stop();
  expect(error).toBeInstanceOf(Error);
  await until(
    () => marked(String(process.env[MARK])).length === 0,
    () => `nothing left, there are ${JSON.stringify(marked(String(process.env[MARK])))}`,
  );

  return { url, text: error.message };
}

/** @param {object} changes */
const welcomeWith = (changes) => message(JSON.stringify({ ...welcome, ...changes }));

test.each([
  [
    'workers of another schema',
    () => ({ workers: [{ version: mediasoup.version, schema: 'f00d' }] }),
    ['f00d', 'channel schema'],
  ],
  [
    'workers of another version',
    () => ({ workers: [{ version: '3.0.0', schema: 'f00d' }] }),
    ['3.0.0', mediasoup.version, 'f00d'],
  ],
  ['no workers', () => ({ workers: [] }), ['no mediasoup-worker', mediasoup.version]],
  ['a newer protocol', () => ({ protocol: 9 }), ['protocol: here 1 to 1, there 9']],
  ['no features', () => ({ features: [] }), ['features: here load, resume, there none']],
])('an agent with %s does not fit, and every difference is told', async (_, changes, words) => {
  const { url, text } = await refusal([welcomeWith(changes())]);

  expect(text).toContain(url);
  for (const word of words) {
    expect(text).toContain(word);
  }
});

test.each([
  ['says something else than a welcome', () => [message('{"type":"good day"}')]],
  ['says no JSON', () => [message('good day')]],
  ['says bytes', () => [message(randomBytes(100))]],
  ['sends 20 MB', () => [message('x'.repeat(20_000_000))]],
  ['sends random bytes for a WebSocket', () => [randomBytes(10_000)]],
  ['sends random frames after its welcome', () => [welcomeWith({}), message(randomBytes(1_000))]],
  [
    'tells of a worker that nobody asked for',
    () => [welcomeWith({}), message(frame(SPAWNED, 77, Buffer.from('{"pid":1}')))],
  ],
  [
    'sends what a worker says that is not there',
    () => [welcomeWith({}), message(frame(CHANNEL, 77, Buffer.alloc(100)))],
  ],
  ['never answers a request for a worker', () => [welcomeWith({})]],
])('an agent that %s is named in the error', async (_, answers) => {
  const { url, text } = await refusal(answers());

  expect(text).toContain(url);
});

test('an agent that hangs up is named in the error', async () => {
  const { url, text } = await refusal([], { hangUp: true });

  expect(text).toContain(url);
});

test('a WebSocket server of something else is named as such', async () => {
  const { url, text } = await refusal([], { subprotocol: 'chat' });

  expect(text).toContain(url);
  expect(text).toMatch(/subprotocol|mediasoup-horizontal\.1/i);
});
