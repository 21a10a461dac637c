'use strict';

const { NotFoundError } = require('mediasoup-upstream/errors');
const { checkOptions, differences, toComparable, toWish } = require('./pipes/options');
const { DATA, MEDIA, Pipe } = require('./pipes/pipe');
const { ProducerState } = require('./pipes/producer-state');

/** @import { DataProducer, PipeToRouterOptions, PipeToRouterResult, Producer, Router, Worker } from 'mediasoup-upstream/types' */
/** @import { AnyConsumer, PipeKind } from './pipes/pipe' */
/** @import { AnyProducer } from './pipes/producer-state' */

/**
 * Gives each Router that a Worker makes from now on our `pipeToRouter()`, the only method of
 * mediasoup that is replaced. docs/divergences.md tells in what it differs.
 *
 * @param {Worker} worker
 */
function installPipeToRouter(worker) {
  // Before the app's own listeners: one that throws would keep those after it from being called.
  worker.observer.prependListener('newrouter', installOn);
}

/** @param {Router} router */
function installOn(router) {
  const known = watchProducers(router);

  Object.defineProperty(router, 'pipeToRouter', {
    configurable: true,
    writable: true,
    /** @param {PipeToRouterOptions} options */
    value: async function pipeToRouter(options) {
      return pipe(router, known, options);
    },
  });
}

/**
 * @param {Router} from
 * @param {KnownProducers} known
 * @param {PipeToRouterOptions} options
 * @returns {Promise<PipeToRouterResult>}
 */
async function pipe(from, known, options) {
  checkOptions(from, options);

  const { producerId, dataProducerId, router } = options;

  if (producerId) {
    const producer = known.producers.get(producerId);

    if (!producer) {
      throw new NotFoundError('Producer not found');
    }

    const ends = await findOrLay(MEDIA, producer, { from, to: router, options });

    return /** @type {PipeToRouterResult} */ ({
      pipeConsumer: ends.consumer,
      pipeProducer: ends.producer,
    });
  }

  const dataProducer = known.dataProducers.get(/** @type {string} */ (dataProducerId));

  if (!dataProducer) {
    throw new NotFoundError('DataProducer not found');
  }

  const ends = await findOrLay(DATA, dataProducer, { from, to: router, options });

  return /** @type {PipeToRouterResult} */ ({
    pipeDataConsumer: ends.consumer,
    pipeDataProducer: ends.producer,
  });
}

/**
 * The one pipe of a producer into a Router.
 *
 * @param {PipeKind} kind
 * @param {AnyProducer} producer
 * @param {{ from: Router, to: Router, options: PipeToRouterOptions }} way
 * @returns {Promise<{ consumer: AnyConsumer, producer: AnyProducer }>}
 */
function findOrLay(kind, producer, { from, to, options }) {
  const wish = toWish(options);
  const laid = ProducerState.of(producer).pipeTo(to);

  if (laid === undefined) {
    return new Pipe({ kind, producer, from, to, wish }).ends;
  }

  const others = differences(laid.options, toComparable(wish));

  if (others.length > 0) {
    throw new TypeError(
      `${kind.noun} "${producer.id}" is already piped to that Router with other options ` +
        `(${others.join(', ')})`,
    );
  }

  return laid.ends;
}

/**
 * @typedef {object} KnownProducers
 * @property {Map<string, Producer>} producers
 * @property {Map<string, DataProducer>} dataProducers
 */

/**
 * Follows which producers a new Router has.
 *
 * @param {Router} router
 * @returns {KnownProducers}
 */
function watchProducers(router) {
  /** @type {KnownProducers} */
  const known = { producers: new Map(), dataProducers: new Map() };

  router.observer.prependListener('newtransport', ({ observer }) => {
    observer.on('newproducer', (producer) => {
      known.producers.set(producer.id, producer);
      producer.observer.on('close', () => known.producers.delete(producer.id));
    });
    observer.on('newdataproducer', (dataProducer) => {
      known.dataProducers.set(dataProducer.id, dataProducer);
      dataProducer.observer.on('close', () => known.dataProducers.delete(dataProducer.id));
    });
  });

  return known;
}

module.exports = { installPipeToRouter };
