'use strict';

const dgram = require('node:dgram');
const net = require('node:net');
const { once } = require('node:events');
const { Random } = require('../support/random');
const { eventOf, eventUntil } = require('../support/events');
const { FaultyLink } = require('./lib/faulty-link');
const { UdpRelay } = require('./lib/udp-relay');
const { Way } = require('./lib/way');

const SEED = 7;

describe('a way', () => {
  /**
   * @param {import('./lib/way').Impairment} impairment
   * @param {number} [seed]
   */
  const open = (impairment, seed = SEED) => {
    const way = new Way(new Random(seed));

    way.set(impairment);

    return way;
  };
  /** @param {Way} way */
  const fates = (way) => Array.from({ length: 1_000 }, (_, now) => way.toss(100, now));

  test('does nothing unless it is told to', () => {
    expect(fates(open({}))).toEqual(Array.from({ length: 1_000 }, (_, now) => now));
  });

  test('has the same chances again with the same seed', () => {
    const impairment = { lossRate: 0.1, delayMs: 30, jitterMs: 20 };

    expect(fates(open(impairment))).toEqual(fates(open(impairment)));
    expect(fates(open(impairment))).not.toEqual(fates(open(impairment, SEED + 1)));
  });

  test('loses as many datagrams as it is told to', () => {
    const way = open({ lossRate: 0.1 });

    expect(fates(way).filter((due) => due === undefined)).toHaveLength(way.lost);
    expect(way.lost).toBeGreaterThan(60);
    expect(way.lost).toBeLessThan(140);
    way.set({ lossRate: 1 });
    expect(fates(way).every((due) => due === undefined)).toBe(true);
  });

  test('delays datagrams by chance, and lets them overtake each other', () => {
    const due = fates(open({ delayMs: 30, jitterMs: 20 })).map((at) => at ?? Number.NaN);
    const took = due.map((at, now) => at - now);

    expect(Math.min(...took)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...took)).toBeLessThanOrEqual(50);
    expect(Math.max(...took) - Math.min(...took)).toBeGreaterThan(20);
    expect(due).not.toEqual(due.toSorted((a, b) => a - b));
  });

  test('delays a stream by chance, and keeps its order', () => {
    const way = open({ delayMs: 30, jitterMs: 20 });
    const due = Array.from({ length: 1_000 }, (_, now) => way.carry(100, now));

    expect(due).toEqual(due.toSorted((a, b) => a - b));
    expect(due[0]).toBeGreaterThanOrEqual(10);
    expect(new Set(due).size).toBeGreaterThan(1);
  });

  test('that is narrow makes a stream wait, and loses datagrams that would wait for long', () => {
    const stream = open({ bytesPerSecond: 1_000 });
    const datagrams = open({ bytesPerSecond: 1_000 });

    expect(Array.from({ length: 20 }, () => stream.carry(100, 0)).at(-1)).toBe(2_000);
    expect(Array.from({ length: 20 }, () => datagrams.toss(100, 0)).at(-1)).toBeUndefined();
    expect(datagrams).toMatchObject({ passed: 6, lost: 14 });
  });
});

describe('a link', () => {
  /** @type {net.Server} */
  let server;
  /** At the server's end. @type {net.Socket[]} */
  let accepted;
  /** @type {FaultyLink} */
  let link;
  /** @type {net.Socket} */
  let client;

  beforeEach(async () => {
    accepted = [];
    server = net.createServer((socket) => {
      accepted.push(socket.on('error', () => {}));
    });
    server.listen(0, '0.0.0.0');
    await eventOf(server, 'listening');
    const { port } = /** @type {net.AddressInfo} */ (server.address());

    link = await FaultyLink.at(`ws://127.0.0.1:${port}`, { seed: SEED });
    await dial();
  });

  afterEach(() => {
    client.destroy();
    link.close();
    server.close();
  });

  async function dial() {
    const before = accepted.length;

    client = net.connect(Number(new URL(link.url).port), '127.0.0.1');
    client.on('error', () => {});
    await eventOf(client, 'connect');
    while (accepted.length === before) {
      await eventOf(server, 'connection');
    }

    return /** @type {net.Socket} */ (accepted.at(-1));
  }

  /** @param {net.Socket} socket */
  async function all(socket) {
    return Buffer.concat(await socket.toArray());
  }

  test('that is far, unsteady and narrow carries all bytes in order, and the end behind them', async () => {
    const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
    const far = /** @type {net.Socket} */ (accepted[0]);
    const arrived = all(far);

    link.impair({ delayMs: 20, jitterMs: 20, bytesPerSecond: 200_000 }, ['controller']);
    for (let i = 0; i < content.length; i += 1_000) {
      client.write(content.subarray(i, i + 1_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.end();
    expect((await arrived).equals(content)).toBe(true);
  });

  test.each(/** @type {const} */ (['controller', 'agent']))(
    'that forgets the end of the %s tells it alone',
    async (side) => {
      const far = /** @type {net.Socket} */ (accepted[0]);
      const [gone, left] = side === 'controller' ? [client, far] : [far, client];
      const reset = eventOf(gone, 'error');
      let told = false;

      left.on('close', () => {
        told = true;
      });
      link.forget(side);
      expect((await reset)[0]).toMatchObject({ code: 'ECONNRESET' });
      left.write('is anybody there?');
      // A new connection has gone all the way there and back meanwhile.
      const next = await dial();

      next.write('yes');
      await eventOf(client, 'data');
      expect(told).toBe(false);
      expect(left.destroyed).toBe(false);
    },
  );

  test('that freezes carries new connections only', async () => {
    const old = /** @type {net.Socket} */ (accepted[0]);
    const heard = /** @type {string[]} */ ([]);

    old.on('data', (data) => heard.push(String(data)));
    link.freeze();
    client.write('old');
    const next = await dial();

    client.write('new');
    expect(await eventOf(next, 'data')).toEqual([Buffer.from('new')]);
    expect(heard).toEqual([]);
    expect(old.destroyed).toBe(false);
  });

  test('can show the agent another address of the app', async () => {
    link.seenAs = '127.0.0.2';
    const { remoteAddress } = await dial();

    expect(remoteAddress).toBe('127.0.0.2');
    expect(accepted[0]?.remoteAddress).toBe('127.0.0.1');
  });
});

describe('a relay', () => {
  const RELAY = '127.0.2.9';
  /** @type {UdpRelay} */
  let relay;
  /** @type {dgram.Socket[]} */
  let sockets;

  beforeEach(() => {
    sockets = [];
  });

  afterEach(() => {
    relay.close();
    for (const socket of sockets) {
      socket.close();
    }
  });

  /**
   * @param {string} ip
   * @returns {Promise<{ socket: dgram.Socket, port: number, heard: string[] }>}
   */
  async function host(ip) {
    const socket = dgram.createSocket('udp4').bind(0, ip);
    /** @type {string[]} */
    const heard = [];

    sockets.push(socket);
    await once(socket, 'listening');
    socket.on('message', (data, { address, port }) => heard.push(`${data} ${address}:${port}`));

    return { socket, port: socket.address().port, heard };
  }

  async function open() {
    const [a, b] = await Promise.all([host('127.0.1.1'), host('127.0.1.2')]);

    relay = await UdpRelay.open({
      standIns: [
        { name: 'a', ip: '127.0.2.1', host: '127.0.1.1', ports: [a.port] },
        { name: 'b', ip: '127.0.2.2', host: '127.0.1.2', ports: [b.port] },
      ],
      own: RELAY,
      seed: SEED,
    });

    return { a, b };
  }

  /** @param {{ socket: dgram.Socket, heard: string[] }} host */
  const hears = ({ socket, heard }, count = 1) =>
    eventUntil(socket, 'message', () => heard.length >= count);

  test('shows each host the address of the other that an answer would go to', async () => {
    const { a, b } = await open();

    a.socket.send('question', b.port, '127.0.2.2');
    await hears(b);
    b.socket.send('answer', a.port, '127.0.2.1');
    await hears(a);
    expect(b.heard).toEqual([`question 127.0.2.1:${a.port}`]);
    expect(a.heard).toEqual([`answer 127.0.2.2:${b.port}`]);
    expect(relay.counts).toEqual({
      'a to b': { passed: 1, lost: 0 },
      'b to a': { passed: 1, lost: 0 },
    });
  });

  test('loses what goes one way, and passes the other way and what others send', async () => {
    const { a, b } = await open();
    const other = await host('127.0.1.3');

    relay.impair('a', 'b', { lossRate: 1 });
    a.socket.send('lost', b.port, '127.0.2.2');
    b.socket.send('back', a.port, '127.0.2.1');
    await hears(a);
    other.socket.send('hello', b.port, '127.0.2.2');
    await hears(b);
    expect(b.heard).toEqual([expect.stringMatching(/^hello 127\.0\.2\.9:/)]);
    b.socket.send('hello', Number(b.heard[0]?.split(':')[1]), RELAY);
    await hears(other);
    expect(other.heard).toEqual([`hello 127.0.2.2:${b.port}`]);
    expect(relay.counts).toMatchObject({ 'a to b': { passed: 0, lost: 1 } });
    expect(() => relay.impair('a', 'c', {})).toThrow('there is no way from a to c');
  });

  test('lets datagrams overtake each other where the way is unsteady', async () => {
    const { a, b } = await open();
    const sent = Array.from({ length: 50 }, (_, i) => String(i));

    relay.impair('a', 'b', { delayMs: 20, jitterMs: 20 });
    for (const text of sent) {
      a.socket.send(text, b.port, '127.0.2.2');
    }
    await hears(b, sent.length);
    const came = b.heard.map((text) => text.split(' ')[0]);

    expect(came).not.toEqual(sent);
    expect(came.toSorted()).toEqual(sent.toSorted());
  });
});
