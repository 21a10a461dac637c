'use strict';

const { eventOf, eventUntil } = require('../support/events');
const { Scattered, TEST_TIMEOUT } = require('./lib/scattered');
const { SctpClient } = require('./lib/sctp-client');

/** @import { DataConsumer, DataConsumerOptions, DataProducer } from 'mediasoup-upstream/types' */

jest.setTimeout(TEST_TIMEOUT);

/** Of SCTP: text and binary. */
const TEXT = 51;
const BINARY = 53;
const COUNT = 100;
/** More than a packet holds. */
const LONG = 20_000;
const LABEL = { label: 'späße 😀', protocol: 'test & more' };
const AGENTS = 3;

/** @type {Scattered} */
let scattered;
/** @type {SctpClient[]} */
let clients;

beforeEach(async () => {
  clients = [];
  scattered = await Scattered.open();
});

afterEach(async () => {
  await Promise.all(clients.map((one) => one.close()));
  await scattered?.close();
});

/**
 * A DataConsumer in the app, and what it has got.
 */
class Inbox {
  /** @type {[string, number][]} */
  messages = [];

  /** @param {DataConsumer} dataConsumer */
  constructor(dataConsumer) {
    this.dataConsumer = dataConsumer;
    dataConsumer.on('message', (message, ppid) => {
      this.messages.push([message.toString(), ppid]);
    });
  }

  /**
   * One on each agent: no transport is on the agent of the one before.
   *
   * @param {DataProducer} dataProducer
   * @param {Partial<DataConsumerOptions>[]} [options]
   * @returns {Promise<Inbox[]>}
   */
  static async everywhere({ id: dataProducerId }, options = []) {
    const transports = [];

    for (let i = 0; i < AGENTS; i++) {
      transports.push(await scattered.router.createDirectTransport());
    }

    return Promise.all(
      transports.map(async (transport, i) => {
        const consumer = await transport.consumeData({ ...options[i], dataProducerId });

        return new Inbox(consumer);
      }),
    );
  }

  /** @param {number} count */
  async holds(count) {
    await eventUntil(this.dataConsumer, 'message', () => this.messages.length >= count);
  }

  get texts() {
    return this.messages.map(([text]) => text);
  }
}

async function direct() {
  const transport = await scattered.router.createDirectTransport();

  return transport.produceData(LABEL);
}

async function client() {
  const opened = await SctpClient.open(scattered.router);

  clients.push(opened);

  return opened;
}

/**
 * @param {Inbox[]} inboxes
 * @param {number} count
 */
function allHold(inboxes, count) {
  return Promise.all(inboxes.map((inbox) => inbox.holds(count)));
}

test('all messages reach each agent, in order and as they were', async () => {
  const dataProducer = await direct();
  const inboxes = await Inbox.everywhere(dataProducer);
  /** @type {[string, number][]} */
  const sent = [];

  // The first ones leave before any association between agents can be up.
  for (let i = 0; i < COUNT; i++) {
    const text = `${i} `.padEnd(i % 10 === 0 ? LONG : 10, 'ä');
    const isText = i % 2 === 0;

    sent.push([text, isText ? TEXT : BINARY]);
    dataProducer.send(isText ? text : Buffer.from(text));
  }
  await allHold(inboxes, COUNT);
  for (const { dataConsumer, messages } of inboxes) {
    expect(messages).toEqual(sent);
    expect(dataConsumer).toMatchObject({ ...LABEL, dataProducerId: dataProducer.id });
  }
});

test('subchannels choose who gets a message, on each agent', async () => {
  const dataProducer = await direct();
  const inboxes = await Inbox.everywhere(dataProducer, [
    { subchannels: [1] },
    { subchannels: [1, 2] },
    {},
  ]);

  dataProducer.send('to all');
  dataProducer.send('to 1', undefined, [1]);
  dataProducer.send('to 2', undefined, [2]);
  dataProducer.send('to 1 if 2', undefined, [1], 2);
  dataProducer.send('end');
  await Promise.all(
    inboxes.map(({ dataConsumer, messages }) =>
      eventUntil(dataConsumer, 'message', () => messages.at(-1)?.[0] === 'end'),
    ),
  );
  expect(inboxes.map(({ texts }) => texts)).toEqual([
    ['to all', 'to 1', 'end'],
    ['to all', 'to 1', 'to 2', 'to 1 if 2', 'end'],
    ['to all', 'end'],
  ]);
});

test('pause, resume and close of the DataProducer are heard on each agent', async () => {
  const dataProducer = await direct();
  const inboxes = await Inbox.everywhere(dataProducer);
  /** @param {string} event */
  const allTold = (event) =>
    Promise.all(inboxes.map(({ dataConsumer }) => eventOf(dataConsumer, event)));

  dataProducer.send('before');
  await allHold(inboxes, 1);

  const paused = allTold('dataproducerpause');

  await dataProducer.pause();
  await paused;
  dataProducer.send('unheard');

  const resumed = allTold('dataproducerresume');

  await dataProducer.resume();
  await resumed;
  dataProducer.send('after');
  await allHold(inboxes, 2);
  expect(inboxes.map(({ texts }) => texts)).toEqual(inboxes.map(() => ['before', 'after']));

  const closed = allTold('dataproducerclose');

  dataProducer.close();
  await closed;
  expect((await scattered.router.dump()).mapDataProducerIdDataConsumerIds).toEqual([]);
});

test('a DataConsumer that pauses misses what is sent meanwhile, and no other one does', async () => {
  const dataProducer = await direct();
  const [pausing, ...others] = /** @type {[Inbox, ...Inbox[]]} */ (
    await Inbox.everywhere(dataProducer)
  );
  const [beside] = /** @type {[Inbox]} */ (await Inbox.everywhere(dataProducer));

  await pausing.dataConsumer.pause();
  dataProducer.send('one');
  // Whatever gets there comes to both at the same time.
  await allHold([beside, ...others], 1);
  await pausing.dataConsumer.resume();
  dataProducer.send('two');
  await allHold([beside, ...others], 2);
  await pausing.holds(1);
  expect(pausing.texts).toEqual(['two']);
  for (const { texts } of [beside, ...others]) {
    expect(texts).toEqual(['one', 'two']);
  }
});

test('SCTP clients of different agents talk to each other and to the app', async () => {
  const sending = await client();
  const receivers = [await client(), await client()];
  const ends = [sending, ...receivers].map(({ transport }) => transport);
  const sctpStreamParameters = { streamId: 7, ordered: true };
  const dataProducer = await sending.transport.produceData({ ...LABEL, sctpStreamParameters });
  const inboxes = await Inbox.everywhere(dataProducer);
  const dataProducerId = dataProducer.id;

  expect(new Set(scattered.agentsOf(ends)).size).toBe(AGENTS);
  for (const { transport } of receivers) {
    const dataConsumer = await transport.consumeData({ dataProducerId });

    expect(dataConsumer).toMatchObject({ ...LABEL, type: 'sctp', dataProducerId });
  }

  const sent = Array.from({ length: COUNT }, (_, i) => `${i}`);

  for (const text of sent) {
    await sending.send(sctpStreamParameters.streamId, TEXT, text);
  }
  await Promise.all([
    allHold(inboxes, COUNT),
    ...receivers.map((receiver) => receiver.receives(COUNT)),
  ]);
  expect(receivers.map(({ received }) => received)).toEqual(receivers.map(() => sent));
  expect(inboxes.map(({ texts }) => texts)).toEqual(inboxes.map(() => sent));
  expect(await dataProducer.getStats()).toMatchObject([{ ...LABEL, messagesReceived: COUNT }]);
});
