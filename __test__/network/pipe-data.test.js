'use strict';

const { eventOf, eventUntil } = require('../support/events');
const { watchPipes } = require('./lib/clip-call');
const { Fleet } = require('./lib/fleet');
const { hosts } = require('./lib/hosts');
const { onNetwork } = require('./lib/on-network');

/** @import { DataConsumer, PipeTransport, Router, Worker } from 'mediasoup-upstream/types' */

const { afterAll, beforeAll, describe, test } = onNetwork(__filename);

/** Of SCTP: text and binary. */
const TEXT = 51;
const BINARY = 53;
const COUNT = 200;
/** More than a packet holds. */
const LONG = 20_000;

/** @type {Fleet} */
let fleet;
/** @type {Router[]} */
let routers;
/** @type {PipeTransport[][]} */
let pipes;

beforeAll(async () => {
  fleet = await Fleet.open({ agents: [{ host: hosts.agent1 }, { host: hosts.agent2 }] });
  routers = await Promise.all((await fleet.workers()).map((worker) => worker.createRouter()));
  pipes = routers.map(watchPipes);
});

afterAll(() => fleet?.close());

/**
 * @param {number} from Which Router.
 * @param {number} to
 */
async function openChannel(from, to) {
  const [source, target] = /** @type {[Router, Router]} */ ([routers[from], routers[to]]);
  const sending = await source.createDirectTransport();
  const receiving = await target.createDirectTransport();
  const dataProducer = await sending.produceData({
    label: `from ${from} to ${to}`,
    protocol: 'test',
    appData: { from },
  });
  const { pipeDataConsumer, pipeDataProducer } = await source.pipeToRouter({
    dataProducerId: dataProducer.id,
    router: target,
  });
  const dataConsumer = await receiving.consumeData({ dataProducerId: dataProducer.id });

  if (!pipeDataConsumer || !pipeDataProducer) {
    throw new Error('pipeToRouter() gave no DataConsumer and DataProducer');
  }

  return { dataProducer, pipeDataConsumer, pipeDataProducer, dataConsumer };
}

/** Until then the worker throws messages away. */
async function associationIsUp() {
  for (const pipe of pipes.flat()) {
    await eventUntil(pipe, 'sctpstatechange', () => pipe.sctpState === 'connected');
  }
}

/**
 * @param {DataConsumer} dataConsumer
 * @param {number} count
 * @returns {Promise<[string, number][]>}
 */
async function receive(dataConsumer, count) {
  /** @type {[string, number][]} */
  const received = [];

  dataConsumer.on('message', (message, ppid) => received.push([message.toString('hex'), ppid]));
  await eventUntil(dataConsumer, 'message', () => received.length >= count);

  return received;
}

describe('pipeToRouter() between agents', () => {
  test.each([
    [0, 1],
    [1, 0],
  ])('carries data from Router %i to %i', async (from, to) => {
    const channel = await openChannel(from, to);
    const { dataProducer, pipeDataConsumer, pipeDataProducer, dataConsumer } = channel;
    const label = `from ${from} to ${to}`;

    expect(pipeDataConsumer).toMatchObject({ label, protocol: 'test', type: 'sctp' });
    expect(pipeDataConsumer.sctpStreamParameters?.ordered).toBe(true);
    expect(pipeDataProducer).toMatchObject({ id: dataProducer.id, label, protocol: 'test' });
    expect(pipeDataProducer.appData).toBe(dataProducer.appData);
    expect(dataConsumer).toMatchObject({ label, protocol: 'test', type: 'direct' });
    await associationIsUp();

    const received = receive(dataConsumer, COUNT);
    /** @type {[string, number][]} */
    const sent = [];

    for (let i = 0; i < COUNT; i++) {
      const text = `${i} `.padEnd(i % 10 === 0 ? LONG : 10, 'ä');
      const message = i % 2 === 0 ? text : Buffer.from(text);

      sent.push([Buffer.from(text).toString('hex'), i % 2 === 0 ? TEXT : BINARY]);
      dataProducer.send(message);
    }

    expect(await received).toEqual(sent);
    expect(await pipeDataProducer.getStats()).toMatchObject([{ messagesReceived: COUNT }]);

    const closed = eventOf(dataConsumer, 'dataproducerclose');

    dataProducer.close();
    await closed;
    expect(pipeDataProducer.closed).toBe(true);
  });

  test('keeps to one pair of transports', () => {
    const [[first, ...more] = [], [second, ...others] = []] = pipes;

    expect([...more, ...others]).toEqual([]);
    expect(first?.tuple).toMatchObject({
      localAddress: hosts.agent1.ip,
      remoteIp: hosts.agent2.ip,
      remotePort: second?.tuple.localPort,
    });
    expect(second?.tuple).toMatchObject({
      localAddress: hosts.agent2.ip,
      remoteIp: hosts.agent1.ip,
      remotePort: first?.tuple.localPort,
    });
  });
});
