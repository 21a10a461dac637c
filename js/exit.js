'use strict';

/** @import { NativeCore } from './native' */

/**
 * Open cores, each held weakly: one that nobody uses any more closes itself.
 *
 * @type {Set<WeakRef<NativeCore>>}
 */
const open = new Set();

/** @type {WeakMap<NativeCore, WeakRef<NativeCore>>} */
const refs = new WeakMap();

const gone = new FinalizationRegistry(remove);

/**
 * Closes this core when the process ends, so that agents free its workers at once. Without a word
 * they would keep them until the session timeout: an app that vanishes may only be cut off.
 *
 * @param {NativeCore} core
 */
function closeAtExit(core) {
  const ref = new WeakRef(core);

  if (open.size === 0) {
    process.on('exit', closeAll);
  }
  open.add(ref);
  refs.set(core, ref);
  gone.register(core, ref);
}

/**
 * @param {NativeCore} core
 */
function forgetAtExit(core) {
  const ref = refs.get(core);

  if (ref) {
    remove(ref);
  }
}

/**
 * @param {WeakRef<NativeCore>} ref
 */
function remove(ref) {
  if (open.delete(ref) && open.size === 0) {
    process.off('exit', closeAll);
  }
}

function closeAll() {
  for (const ref of open) {
    ref.deref()?.close();
  }
}

module.exports = { closeAtExit, forgetAtExit };
