'use strict';

const { EventEmitter } = require('node:events');
const net = require('node:net');
const { CutLink } = require('../benches/lib/link/cut-link');
const { MessageStream, Numbers } = require('../benches/lib/soak/message-stream');
const { isOverloaded, warmUp } = require('../benches/lib/soak/warm-up');
const { eventOf } = require('./support/events');

describe('numbers', () => {
  /** @param {number[]} order */
  const after = (order) => {
    const numbers = new Numbers();

    order.forEach((number) => void numbers.add(number));

    return { ...numbers, lost: numbers.lost(4) };
  };

  test.each([
    ['once and in order', [0, 1, 2, 3], {}],
    ['one lost', [0, 1, 3], { arrived: 3, lost: 1 }],
    ['the last one lost', [0, 1, 2], { arrived: 3, next: 3, lost: 1 }],
    ['one doubled', [0, 1, 1, 2, 3], { doubled: 1 }],
    ['one doubled that came late', [0, 2, 1, 1, 3], { reordered: 1, doubled: 1 }],
    ['two in the wrong order', [0, 2, 1, 3], { reordered: 1 }],
    ['one lost and another doubled', [0, 0, 2, 3], { arrived: 3, doubled: 1, lost: 1 }],
  ])('%s', (_, order, expected) => {
    const none = { next: 4, arrived: 4, doubled: 0, reordered: 0, lost: 0 };

    expect(after(order)).toEqual({ ...none, ...expected });
  });
});

describe('a message', () => {
  /** @param {(message: Buffer, arrive: (message: Buffer) => void) => void} way */
  const open = (way) => {
    const consumer = new EventEmitter();
    const producer = {
      /** @param {Buffer} message */
      send: (message) => way(message, (arrived) => void consumer.emit('message', arrived)),
    };

    return new MessageStream(/** @type {any} */ (producer), /** @type {any} */ (consumer));
  };

  test('that arrives is counted', async () => {
    const stream = open((message, arrive) => void setImmediate(arrive, message));

    stream.send();
    stream.send();
    expect(stream).toMatchObject({ sent: 2, waiting: 2 });
    await stream.settle();
    expect(stream).toMatchObject({ sent: 2, waiting: 0, broken: 0, numbers: { arrived: 2 } });
  });

  test('that changes on its way is broken, and missing', () => {
    const stream = open((message, arrive) => arrive(Buffer.from(message).fill(0, 20)));

    stream.send();
    expect(stream).toMatchObject({ broken: 1, waiting: 1, numbers: { arrived: 0 } });
  });

  test('that cannot be sent is told, and not missing', () => {
    const stream = open(() => {
      throw new Error('closed');
    });

    stream.send();
    expect(stream).toMatchObject({ refused: 1, sent: 0, waiting: 0 });
  });
});

describe('rates', () => {
  /** @param {number} messages A second, that a machine carries. */
  const tried = async (messages, from = 1) => {
    /** @type {number[]} */
    const shares = [];
    /** @type {string[]} */
    const said = [];
    const load = {
      start: (/** @type {number} */ share) => void shares.push(share),
      rest: async () => {},
      get waiting() {
        return { calls: 0, messages: Math.max(0, 2_000 * (shares.at(-1) ?? 0) - messages) };
      },
    };
    const signal = new AbortController().signal;
    const progress = (/** @type {string} */ text) => void said.push(text);
    const share = await warmUp(load, { ms: 1, from, progress, signal });

    expect(share).toBe(shares.at(-1));

    return { shares, said: said.at(-1) };
  };

  test('are what was asked for where the machine carries them', async () => {
    const said = '200 calls and 2000 messages a second';

    expect(await tried(2_000)).toEqual({ shares: [1], said });
  });

  test('are lowered, and told, where it does not', async () => {
    const said = 'rates are lowered to 50 calls and 500 messages a second';

    expect(await tried(500)).toEqual({ shares: [1, 1 / 2, 1 / 4], said });
  });

  test('are found again from lower ones on, where the machine has become slower', async () => {
    const said = 'rates are lowered to 50 calls and 500 messages a second';

    expect(await tried(2_000, 1 / 4)).toEqual({ shares: [1 / 4], said });
  });

  test.each([
    { waiting: { calls: 1_600, messages: 16_000 }, share: 1, tooHigh: false },
    { waiting: { calls: 1_601, messages: 0 }, share: 1, tooHigh: true },
    { waiting: { calls: 0, messages: 16_001 }, share: 1, tooHigh: true },
    { waiting: { calls: 401, messages: 0 }, share: 1 / 4, tooHigh: true },
    { waiting: { calls: 400, messages: 4_000 }, share: 1 / 4, tooHigh: false },
    // There are no lower ones.
    { waiting: { calls: 9_999, messages: 99_999 }, share: 1 / 64, tooHigh: false },
  ])('with $waiting under way at a share of $share: too high is $tooHigh', (one) => {
    expect(isOverloaded(one, one.share)).toBe(one.tooHigh);
  });

  test('that are next to nothing are worth nothing', async () => {
    await expect(tried(0)).rejects.toThrow('this machine carries no load worth measuring');
  });
});

describe('a link', () => {
  /** @type {net.Server} */
  let server;
  /** @type {CutLink} */
  let link;

  beforeEach(async () => {
    server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => void socket.write(data));
      socket.write('hello');
    });
    server.listen(0, '127.0.0.1');
    await eventOf(server, 'listening');
    const { port } = /** @type {net.AddressInfo} */ (server.address());

    link = await CutLink.open(`ws://127.0.0.1:${port}`);
  });

  afterEach(() => {
    link.close();
    server.close();
  });

  const connect = () => {
    const { hostname, port } = new URL(link.url);

    return net.connect(Number(port), hostname).setEncoding('utf8');
  };

  test('that is down resets what is open and what is new, until it is up', async () => {
    const before = connect();

    expect(await eventOf(before, 'data')).toEqual(['hello']);
    expect(link.connections).toBe(1);
    link.down();
    await eventOf(before, 'error');
    const meanwhile = connect();

    await eventOf(meanwhile, 'error');
    link.up();
    const after = connect();

    expect(await eventOf(after, 'data')).toEqual(['hello']);
    after.destroy();
  });

  test('holds one way only, and gives all of it once released', async () => {
    link.hold(['controller']);
    const socket = connect();

    // What the agent says comes through.
    expect(await eventOf(socket, 'data')).toEqual(['hello']);
    socket.write('one');
    link.release();
    expect(await eventOf(socket, 'data')).toEqual(['one']);
    link.hold(['agent']);
    const silent = connect();
    const heard = eventOf(silent, 'data');

    await eventOf(silent, 'connect');
    link.release();
    expect(await heard).toEqual(['hello']);
    socket.destroy();
    silent.destroy();
  });

  test('loses what was held if it is cut then', async () => {
    link.hold();
    const socket = connect();

    await eventOf(socket, 'connect');
    while (link.connections === 0) {
      await new Promise(setImmediate);
    }
    link.cut();
    link.release();
    expect(await eventOf(socket, 'error')).toHaveLength(1);
  });
});
