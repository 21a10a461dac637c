'use strict';

const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const mediasoup = require('mediasoup-upstream');
const { Horizontal, RemoteConnection } = require('../..');
const { AgentProcess } = require('../processes/lib/agent-process');
const { until, within } = require('../processes/lib/deadline');
const { MARK, marked, newMark } = require('../processes/lib/process-table');
const { OPCODE, RawWebSocket, frame } = require('../processes/lib/raw-websocket');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const TOKEN = 'the-right-token-0123456789';
/** The agent's own deadline for a handshake, and some more for a busy machine. */
const HANDSHAKE_MS = 20_000;
const SPAWN = 1;
const SPAWNED = 2;
const FAILED = 3;

/** @type {string} */
let folder;
/** @type {AgentProcess} */
let agent;
/** @type {string} */
let url;
/** @type {string} */
let fingerprint;

beforeAll(async () => {
  process.env[MARK] = newMark();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));
  const tokens = path.join(folder, 'tokens');

  fs.writeFileSync(tokens, `# Two, for a change of tokens.\nan-older-token-0123456789\n${TOKEN}\n`);
  // Whoever only hangs up may come back: its workers wait that long.
  const args = ['--token-file', tokens, '--session-timeout', '1'];

  agent = await AgentProcess.start({ args });
  ({ url, fingerprint } = /** @type {any} */ (await agent.ready()));
});

afterEach(async () => {
  // Whatever was said to it, it serves the next app, and no worker is left of the last one.
  const horizontal = new Horizontal([new RemoteConnection({ url, token: TOKEN })]);
  const worker = await within(horizontal.mediasoup.createWorker(), 'createWorker');

  expect((await worker.dump()).pid).toBe(worker.pid);
  const closed = once(worker, 'subprocessclose');

  worker.close();
  await within(closed, 'subprocessclose');
  horizontal.close();
  await until(
    () => marked(String(process.env[MARK])).length === 1,
    () => `nothing but the agent, there are ${JSON.stringify(marked(String(process.env[MARK])))}`,
  );
});

afterAll(async () => {
  expect(await agent.stop()).toMatchObject({ code: 0 });
  fs.rmSync(folder, { recursive: true });
});

/** @returns {Promise<RawWebSocket>} */
async function connect() {
  const socket = await RawWebSocket.connect(url, { Authorization: `Bearer ${TOKEN}` });

  if (!(socket instanceof RawWebSocket)) {
    throw new Error(`not let in: ${JSON.stringify(socket)}`);
  }

  return socket;
}

/** @param {object} [changes] */
function hello(changes) {
  return JSON.stringify({
    type: 'hello',
    protocol: { min: 1, max: 1 },
    mediasoup: mediasoup.version,
    schema: fingerprint,
    session: null,
    lastSeen: null,
    bootId: null,
    netns: null,
    controller: 'a test',
    ...changes,
  });
}

/** @returns {Promise<RawWebSocket>} One that was welcomed. */
async function enter() {
  const socket = await connect();

  socket.sendText(hello());
  expect(JSON.parse((await socket.next()).payload.toString())).toMatchObject({ type: 'welcome' });

  return socket;
}

describe('an app with', () => {
  test.each([
    ['a wrong token', 'wrong-token-0123456789', 'not one of'],
    ['no token', undefined, 'token'],
  ])('%s is told so at once', async (_, token, words) => {
    const horizontal = new Horizontal([new RemoteConnection({ url, token })]);
    const error = await within(
      horizontal.mediasoup.createWorker().catch((reason) => reason),
      'the refusal',
      5_000,
    );

    expect(error).toBeInstanceOf(Error);
    expect(error.message).toContain(url);
    expect(error.message).toContain(words);
    expect(error.message).not.toContain('wrong-token-0123456789');
    horizontal.close();
  });
});

describe('a hello', () => {
  test('that is none is refused in words', async () => {
    const socket = await connect();

    socket.sendText('{"type":"good day"}');
    const reply = JSON.parse((await socket.next()).payload.toString());

    expect(reply).toMatchObject({ type: 'refused', code: 'hello' });
    expect(reply.message).toContain('not a hello');
    await socket.closed();
  });

  test('of another protocol is refused with both numbers', async () => {
    const socket = await connect();

    socket.sendText(hello({ protocol: { min: 7, max: 9 } }));
    const reply = JSON.parse((await socket.next()).payload.toString());

    expect(reply).toMatchObject({ type: 'refused', code: 'protocol' });
    expect(reply.message).toMatch(/1 to 1.*7 to 9/);
    await socket.closed();
  });

  test.each([
    ['bytes instead', (/** @type {RawWebSocket} */ s) => s.sendBinary(randomBytes(1_000))],
    ['too long a text', (/** @type {RawWebSocket} */ s) => s.sendText('x'.repeat(20_000_000))],
    [
      'a broken WebSocket frame',
      (/** @type {RawWebSocket} */ s) => s.sendRaw(Buffer.alloc(64, 0xff)),
    ],
  ])('that is %s ends the connection', async (_, send) => {
    const socket = await connect();

    send(socket);
    await socket.closed();
  });
});

describe('a request for a worker', () => {
  test.each([
    ['of another schema', { schema: 'f00d' }, ['f00d', 'channel schema']],
    ['of another version', { version: '2.0.0' }, ['2.0.0', mediasoup.version]],
    ['with an argument that is not allowed', { args: ['--exec=/bin/sh'] }, ['--exec=/bin/sh']],
    [
      'with a path of this host',
      { args: ['--dtlsCertificateFile=/etc/passwd'] },
      ['--dtlsCertificateFile=/etc/passwd'],
    ],
  ])('%s is refused in words', async (_, changes, words) => {
    const socket = await enter();
    const spec = {
      version: mediasoup.version,
      schema: fingerprint,
      args: [],
      dtlsCertificate: null,
      dtlsPrivateKey: null,
      ...changes,
    };

    socket.sendBinary(frame(SPAWN, 1, Buffer.from(JSON.stringify(spec))));
    const failed = await nextOf(socket, FAILED);

    for (const word of words) {
      expect(failed).toContain(word);
    }
    socket.close();
  });

  test('that is good is served, so the ones above can fail', async () => {
    const socket = await enter();
    const spec = { version: mediasoup.version, schema: fingerprint, args: [] };

    socket.sendBinary(
      frame(
        SPAWN,
        1,
        Buffer.from(JSON.stringify({ ...spec, dtlsCertificate: null, dtlsPrivateKey: null })),
      ),
    );
    expect(JSON.parse(await nextOf(socket, SPAWNED)).pid).toBeGreaterThan(0);
    // Its worker goes with the connection, which `afterEach` sees.
    socket.close();
  });

  test.each([
    ['a frame of an unknown kind', frame(99, 1, Buffer.alloc(4))],
    ['a frame that only agents send', frame(SPAWNED, 1, Buffer.from('{"pid":1}'))],
    ['a frame longer than its message', frame(SPAWN, 1, Buffer.alloc(10), 1_000_000)],
    ['a frame of 4 GB', frame(SPAWN, 1, Buffer.alloc(10), 0xffffffff)],
    ['a SPAWN that is no JSON', frame(SPAWN, 1, Buffer.from('{'))],
    ['half a header', Buffer.from([SPAWN, 0, 0])],
    ['random bytes', randomBytes(100_000)],
  ])('that is %s ends the connection', async (_, bytes) => {
    const socket = await enter();

    socket.sendBinary(bytes);
    await socket.closed();
  });
});

describe('a peer that', () => {
  test.each([
    ['sends random bytes', randomBytes(100_000)],
    ['speaks HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['never ends its head', Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}`)],
    ['sends TLS', Buffer.from('160301020001000001fc0303', 'hex')],
  ])('%s is answered or cut off', async (_, bytes) => {
    const { hostname, port } = new URL(url);
    const socket = net.connect(Number(port), hostname);
    const closed = new Promise((resolve) => socket.once('close', resolve));

    // It may hang up while we write.
    socket.on('error', () => {});
    socket.resume();
    socket.write(bytes);
    await within(closed, 'the hang-up', HANDSHAKE_MS);
  });

  test('asks from a web page is refused', async () => {
    expect(
      await RawWebSocket.connect(url, {
        Authorization: `Bearer ${TOKEN}`,
        Origin: 'https://example.com',
      }),
    ).toMatchObject({ status: 403, body: expect.stringContaining('web pages') });
  });

  test('speaks another subprotocol is refused', async () => {
    expect(
      await RawWebSocket.connect(url, {
        Authorization: `Bearer ${TOKEN}`,
        'Sec-WebSocket-Protocol': 'chat',
      }),
    ).toMatchObject({ status: 400, body: expect.stringContaining('mediasoup-horizontal.1') });
  });
});

/**
 * @param {RawWebSocket} socket
 * @param {number} kind
 * @returns {Promise<string>} The payload of the next frame of that kind.
 */
async function nextOf(socket, kind) {
  for (;;) {
    const { opcode, payload } = await socket.next();

    for (let at = 0; opcode === OPCODE.binary && at < payload.length; ) {
      const end = at + 9 + payload.readUInt32LE(at + 5);

      if (payload[at] === kind) {
        return payload.subarray(at + 9, end).toString();
      }
      at = end;
    }
  }
}
