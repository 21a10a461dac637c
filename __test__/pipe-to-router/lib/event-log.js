'use strict';

/** @import { EventEmitter } from 'node:events' */
/** @import { types } from 'mediasoup-upstream' */

const INTERNAL = ['@close', '@producerclose', '@dataproducerclose', '@newproducer'];
const OWN = [
  'transportclose',
  'producerclose',
  'producerpause',
  'producerresume',
  'dataproducerclose',
  'dataproducerpause',
  'dataproducerresume',
  'routerclose',
  'workerclose',
];
const OBSERVED = ['close', 'pause', 'resume', 'newproducer', 'newconsumer', 'newtransport'];

/**
 * Writes down, in one order, what happens to objects, those included that they get later.
 */
class EventLog {
  /** @type {string[]} */
  lines = [];

  /**
   * @param {string} name
   * @param {EventEmitter & { observer: EventEmitter }} object
   */
  watch(name, object) {
    for (const event of [...INTERNAL, ...OWN]) {
      object.on(event, () => this.lines.push(`${name} ${event}`));
    }
    for (const event of OBSERVED) {
      object.observer.on(event, (made) => {
        this.lines.push(`${name}.observer ${event}`);

        if (event.startsWith('new')) {
          this.#watchMade(name, made);
        }
      });
    }
  }

  /** What came since it was last asked. */
  take() {
    return this.lines.splice(0);
  }

  /**
   * @param {string} parent
   * @param {types.Transport | types.Producer | types.Consumer} made
   */
  #watchMade(parent, made) {
    const noun = made.constructor.name.replace('Impl', '');

    this.watch(`${parent}/${noun}`, made);
  }
}

module.exports = { EventLog };
