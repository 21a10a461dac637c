'use strict';

const { inspect } = require('node:util');

/**
 * What a mediasoup-worker is wanted for.
 *
 * @typedef {object} PlacementRequest
 * @property {number} worker `pid` of the Worker, also of one that is being created.
 * @property {string | null} router Id of the Router that has outgrown its mediasoup-workers; null
 * for a new Worker.
 * @property {'webrtc' | 'plain' | 'pipe' | null} transport The kind of the transport that does not
 * fit any more; null for a new Worker.
 */

/**
 * A connection that could give a mediasoup-worker.
 *
 * @typedef {object} PlacementCandidate
 * @property {string} name
 * @property {boolean} reachable
 * @property {boolean} draining Whether its host means to leave: it cannot be chosen.
 * @property {boolean} near Whether it is in the app's region.
 * @property {number} cores
 * @property {number} cpu Cores that all mediasoup-workers there take now, such as 1.25.
 * @property {number} workers mediasoup-workers there, everyone's.
 * @property {number} maxWorkers
 * @property {number} ownWorkers Those of this Horizontal.
 * @property {number} parts Those of the Worker in question.
 */

/**
 * The app's own rule. Null or undefined leaves it to `pack`.
 *
 * @callback PlacementFunction
 * @param {PlacementRequest} request
 * @param {PlacementCandidate[]} candidates
 * @returns {string | number | null | undefined} A name, or the position of a candidate.
 */

/**
 * @typedef {object} PlacementOptions
 * @property {string | PlacementFunction} [placement]
 * @property {number} [maxParts]
 * @property {number} [watermark]
 * @property {string} [region]
 * @property {number} [workersPerHost]
 * @property {'continue' | 'died'} [onPartLost]
 * @property {number} [maxFanOut]
 */

/**
 * Options, which are checked, as the core takes them, and the app's function for it.
 *
 * @param {PlacementOptions} options
 * @returns {{ settings: object, chooser: ((text: string) => string) | undefined }}
 */
function toPlacement({
  placement,
  maxParts,
  watermark,
  region,
  workersPerHost,
  onPartLost,
  maxFanOut,
}) {
  const own = typeof placement === 'function';
  const settings = {
    policy: own ? 'pack' : (placement ?? null),
    maxParts: maxParts ?? null,
    watermark: watermark ?? null,
    region: region ?? null,
    workersPerHost: workersPerHost ?? null,
    onPartLost: onPartLost ?? null,
    maxFanOut: maxFanOut ?? null,
  };

  return { settings, chooser: own ? toChooser(placement) : undefined };
}

/**
 * The app's function as the core calls it. It must not throw: nobody could catch that.
 *
 * @param {PlacementFunction} placement
 * @returns {(text: string) => string}
 */
function toChooser(placement) {
  return function choose(text) {
    /** @type {{ warning?: string, request: PlacementRequest, candidates: PlacementCandidate[] }} */
    const { warning, request, candidates } = JSON.parse(text);

    if (warning !== undefined) {
      process.emitWarning(`the placement function is passed over, and 'pack' decides: ${warning}`, {
        code: 'MEDIASOUP_HORIZONTAL_PLACEMENT',
      });

      return '';
    }

    const names = candidates.map(({ name }) => name);

    for (const candidate of candidates) {
      candidate.cpu /= 1000;
    }

    try {
      return answer(placement(request, candidates), names);
    } catch (error) {
      return JSON.stringify({
        index: null,
        error: `it threw ${error instanceof Error ? error.message : error}`,
      });
    }
  };
}

/**
 * What the function returned, as the core takes it.
 *
 * @param {unknown} chosen
 * @param {string[]} names
 * @returns {string}
 */
function answer(chosen, names) {
  if (chosen === null || chosen === undefined) {
    return JSON.stringify({ index: null });
  }

  const index = typeof chosen === 'string' ? names.indexOf(chosen) : chosen;

  if (!Number.isSafeInteger(index) || !(Number(index) in names)) {
    // An object's content may be anything and as large as it likes.
    const shown = typeof chosen === 'object' ? `a ${chosen.constructor?.name}` : inspect(chosen);
    const list = names.join(', ');
    const error = `it returned ${shown}, no name or position of a candidate (${list})`;

    return JSON.stringify({ index: null, error });
  }

  return JSON.stringify({ index });
}

module.exports = { toPlacement };
