'use strict';

const { execFileSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { Horizontal, RemoteConnection, version } = require('../..');
const { makeCertificate } = require('../../conformance/certificate');
const { until, within } = require('../processes/lib/deadline');
const { ALL, OURS, OpenMode } = require('../processes/lib/modes');
const { marked } = require('../processes/lib/process-table');
const { WorkerLife } = require('../processes/lib/worker-life');

// Every wait has a deadline of its own, which tells more.
jest.setTimeout(90_000);

const AGENTS = 'MEDIASOUP_HORIZONTAL_AGENTS';
const TIMEOUT = 'MEDIASOUP_HORIZONTAL_CONNECT_TIMEOUT_MS';
/** Beyond the timeout: a connection may say itself why it failed, on a busy machine. */
const GRACE_MS = 1_500;

/** @type {string} */
let folder;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mediasoup-horizontal-test-'));
});

afterEach(() => {
  delete process.env[AGENTS];
  delete process.env[TIMEOUT];
});

afterAll(() => {
  fs.rmSync(folder, { recursive: true });
});

/** @param {Horizontal} horizontal */
async function createError(horizontal) {
  const error = await within(
    horizontal.mediasoup.createWorker().then(
      () => new Error('a Worker was made'),
      (reason) => reason,
    ),
    'the refusal',
  );

  horizontal.close();
  expect(error).toBeInstanceOf(Error);

  return error.message;
}

describe('agents that cannot be reached', () => {
  /** @type {net.Server} */
  let silent;
  /** @type {string} */
  let silentUrl;
  /** @type {string} */
  let closedUrl;

  beforeAll(async () => {
    silent = net.createServer((socket) => socket.resume().on('error', () => {}));
    silentUrl = await listen(silent);
    const closed = net.createServer();

    closedUrl = await listen(closed);
    await new Promise((resolve) => closed.close(resolve));
  });

  afterAll(() => {
    silent.close();
  });

  test.each([300, 1_500])('are named, each with its reason, within %i ms', async (timeout) => {
    process.env[AGENTS] = `${silentUrl}, ${closedUrl}`;
    process.env[TIMEOUT] = String(timeout);
    const start = Date.now();
    const message = await createError(new Horizontal());

    expect(Date.now() - start).toBeLessThan(timeout + GRACE_MS);
    expect(message).toMatch(/^no connection gave a mediasoup-worker: /);
    expect(message).toMatch(new RegExp(`${closedUrl}: .*refused`));
    expect(message).toMatch(new RegExp(`${silentUrl}: .*no `));
  });

  test('are named when there is only one', async () => {
    const horizontal = new Horizontal([closedUrl], { connectTimeoutMs: 300 });

    expect(await createError(horizontal)).toContain(closedUrl);
  });

  test('do not keep the process', () => {
    const script = `
      const { Horizontal } = require(${JSON.stringify(path.join(__dirname, '../..'))});
      const one = new Horizontal(['${closedUrl}'], { connectTimeoutMs: 200 });
      one.mediasoup.createWorker().catch((error) => console.log(error.message));
    `;
    const output = execFileSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      timeout: 10_000,
    });

    expect(output).toContain(closedUrl);
  });
});

test('a Horizontal without any connection says so', async () => {
  expect(await createError(new Horizontal([]))).toContain('no connection to take');
});

describe("a URL that is no agent's", () => {
  test.each([
    ['http://127.0.0.1:4480', 'ws:// or wss://'],
    ['127.0.0.1:4480', 'ws://'],
    ['ws://', 'ws://'],
    ['', 'ws://'],
    ['ws://127.0.0.1:4480/?token=hush', 'MEDIASOUP_HORIZONTAL_TOKEN'],
    ['ws://user:hush@127.0.0.1:4480', 'MEDIASOUP_HORIZONTAL_TOKEN'],
    ['ws://127.0.0.1:4480/#hush', 'MEDIASOUP_HORIZONTAL_TOKEN'],
  ])('%s is refused at once', async (url, words) => {
    /** @type {Error | undefined} */
    let error;

    try {
      new Horizontal([url]);
    } catch (reason) {
      error = /** @type {Error} */ (reason);
    }
    expect(error?.message).toContain(words);
    expect(error?.message).not.toContain('hush');
    if (url) {
      process.env[AGENTS] = url;
      const fromEnvironment = await createError(new Horizontal());

      expect(fromEnvironment).toContain(words);
      expect(fromEnvironment).not.toContain('hush');
    }
  });

  test.each([[42], [null], [{}], [['ws://127.0.0.1:1']]])('%j is a TypeError', (connection) => {
    expect(() => new Horizontal([/** @type {any} */ (connection)])).toThrow(TypeError);
    expect(() => new RemoteConnection(/** @type {any} */ ({ url: connection }))).toThrow(TypeError);
  });

  test('the same agent twice is refused', () => {
    const url = 'ws://127.0.0.1:9';

    expect(() => new Horizontal([url, url])).toThrow(`there is a connection ${url} already`);
  });
});

test.each(['soon', '-1', '1.5'])('%s as connect timeout is refused by name', async (value) => {
  process.env[TIMEOUT] = value;

  expect(await createError(new Horizontal())).toContain(`${TIMEOUT}=${value}`);
});

describe.each(ALL)('$name: certificate files', (mode) => {
  /** @type {OpenMode} */
  let open;

  beforeAll(async () => {
    open = await OpenMode.open(mode);
  });

  afterAll(async () => {
    await open.close();
    await until(
      () => marked(open.mark).length === 0,
      () => `nothing left, there are ${JSON.stringify(marked(open.mark))}`,
    );
  });

  test('that are missing are wrong settings', async () => {
    const creating = open.createWorker({
      dtlsCertificateFile: '/nonexistent/certificate.pem',
      dtlsPrivateKeyFile: '/nonexistent/key.pem',
    });

    await expect(creating).rejects.toThrow(new TypeError('wrong settings'));
  });

  test("that are no certificates end the worker as they end mediasoup's", async () => {
    const file = path.join(folder, 'garbage.pem');

    fs.writeFileSync(file, 'garbage');
    await expect(
      open.createWorker({ dtlsCertificateFile: file, dtlsPrivateKeyFile: file }),
    ).rejects.toThrow(/^\[pid:\d+, code:null, signal:SIGABRT\]$/);
  });

  test('that are good are used, and no copy stays', async () => {
    const { certificate, privateKey } = makeCertificate();
    const dtlsCertificateFile = path.join(folder, 'certificate.pem');
    const dtlsPrivateKeyFile = path.join(folder, 'key.pem');
    const copies = () => fs.readdirSync(os.tmpdir()).filter((name) => isCopy(name));
    const before = copies();

    fs.writeFileSync(dtlsCertificateFile, certificate);
    fs.writeFileSync(dtlsPrivateKeyFile, privateKey);
    const life = await WorkerLife.start(open, { dtlsCertificateFile, dtlsPrivateKeyFile });
    const prints = await Promise.all([fingerprint(life), fingerprint(life)]);

    // A worker without files makes a certificate of its own, which differs each time.
    const { X509Certificate } = require('node:crypto');

    expect(prints[0]).toBe(new X509Certificate(certificate).fingerprint256);
    expect(prints[1]).toBe(prints[0]);
    await life.close();
    await until(
      () => copies().every((name) => before.includes(name)),
      () => `no copy of the key, there are ${copies()}`,
    );
  });

  test.each([{ logLevel: 'chicken' }, { rtcMinPort: 1000, rtcMaxPort: 999 }])(
    'beside %j, which is wrong settings too',
    async (settings) => {
      await expect(open.createWorker(/** @type {any} */ (settings))).rejects.toThrow(
        new TypeError('wrong settings'),
      );
    },
  );
});

test("appData that is no object is mediasoup's TypeError, before anything starts", async () => {
  const open = await OpenMode.open(OURS[0]);

  await expect(open.createWorker(/** @type {any} */ ({ appData: 1 }))).rejects.toThrow(TypeError);
  expect(marked(open.mark)).toEqual([]);
  await open.close();
});

test.each(['win32', 'freebsd'])('on %s all but Workers can be used', (platform) => {
  const fixture = path.join(__dirname, '..', 'fixtures', 'other-platform.js');
  const output = execFileSync(process.execPath, [fixture, platform], { encoding: 'utf8' });

  expect(JSON.parse(output)).toEqual({
    unsupported: true,
    message: expect.stringContaining(platform),
    version,
    codecs: expect.any(Number),
    mode: { spatialLayers: 3, temporalLayers: 2, ksvc: false },
    ortc: 'object',
    types: [],
  });
});

/** @param {net.Server} server */
async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return `ws://127.0.0.1:${/** @type {net.AddressInfo} */ (server.address()).port}`;
}

/** @param {WorkerLife} life */
async function fingerprint({ worker }) {
  const router = await worker.createRouter();
  const transport = await router.createWebRtcTransport({
    listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }],
  });

  return transport.dtlsParameters.fingerprints.find(({ algorithm }) => algorithm === 'sha-256')
    ?.value;
}

/** @param {string} name */
function isCopy(name) {
  return /^mediasoup-horizontal-[0-9a-f]{8}-/.test(name);
}

describe('settings for TLS and tokens', () => {
  const url = 'wss://media.example:4480';
  const missing = '/nonexistent/file.pem';
  const prefix = 'MEDIASOUP_HORIZONTAL_';

  /** @param {Record<string, unknown>} options */
  const connect = (options) => () =>
    new Horizontal([new RemoteConnection(/** @type {any} */ ({ url, ...options }))]);

  test.each(['token', 'tokenFile', 'ca', 'cert', 'key', 'serverName'])('%s is a string', (name) => {
    expect(connect({ [name]: 42 })).toThrow(
      new TypeError(
        `RemoteConnection: options.${name} must be a string that is not empty, got ` +
          (name === 'token' ? 'a number' : '42'),
      ),
    );
  });

  test.each([
    [{ tokenFile: missing }, `cannot read the token file ${missing}`],
    [{ token: 'hush', tokenFile: missing }, 'token and tokenFile are both given'],
    [{ ca: missing }, `cannot use the CA file ${missing}`],
    [{ cert: missing, key: missing }, `cannot use the certificate file ${missing}`],
    [{ cert: missing }, 'give both cert and key'],
    [{ url: 'ws://media.example', ca: missing }, 'ca is for TLS: the URL must begin with wss://'],
    [{ url: 'ws://media.example', serverName: 'x' }, 'serverName is for TLS'],
  ])('%j is refused at once', (options, words) => {
    /** @type {Error | undefined} */
    let error;

    try {
      connect(options)();
    } catch (reason) {
      error = /** @type {Error} */ (reason);
    }
    expect(error?.message).toContain(words);
    expect(error?.message).not.toContain('hush');
  });

  test('a name that no certificate can have is refused at once', () => {
    fs.writeFileSync(path.join(folder, 'ca.pem'), makeCertificate().certificate);

    expect(connect({ ca: path.join(folder, 'ca.pem'), serverName: 'no name' })).toThrow(
      'no name cannot be the name in a certificate',
    );
  });

  test.each([
    [{ TOKEN_FILE: missing }, `cannot read the token file ${missing}`],
    [{ TOKEN: 'hush', TOKEN_FILE: missing }, 'are both set'],
    [{ CA: missing }, `cannot use the CA file ${missing}`],
    [{ CERT: missing, KEY: missing }, `cannot use the certificate file ${missing}`],
    [{ KEY: missing }, 'belong together'],
  ])('the variables %j are refused', async (variables, words) => {
    process.env[AGENTS] = url;
    for (const [name, value] of Object.entries(variables)) {
      process.env[prefix + name] = value;
    }
    try {
      const message = await createError(new Horizontal());

      expect(message).toContain(words);
      expect(message).not.toContain('hush');
    } finally {
      for (const name of Object.keys(variables)) {
        delete process.env[prefix + name];
      }
    }
  });
});
