'use strict';

const native = require('../native/loader');

/** Indexes of a table's `state`; see `src/addon/caches.rs`. */
const STATE = Object.freeze({ OUTCOME: 0, SLOT: 1, FREED: 2, FREED_SLOTS: 3 });
const STATE_LENGTH = 64;

const { FREED, FREED_SLOTS } = STATE;

/**
 * The JavaScript values that some caches keep by reference, by slot. Rust gives each value a slot, and says when a slot
 * is free. Rust reports on each call in `state`.
 */
class ValueTable {
  values = [];
  state = new Int32Array(new ArrayBuffer(STATE_LENGTH * Int32Array.BYTES_PER_ELEMENT));

  /**
   * Any cache of this table: the one through which Rust is asked for more freed slots.
   *
   * @type {any}
   */
  cache = undefined;

  /** Drops the values of freed slots. */
  release() {
    const { state, values } = this;
    while (state[FREED] > 0) {
      const last = FREED_SLOTS + state[FREED];
      for (let at = FREED_SLOTS; at < last && at < STATE_LENGTH; at += 1) {
        values[state[at]] = undefined;
      }
      state[FREED] = 0;
      if (last <= STATE_LENGTH) return;
      native.release(this.cache);
    }
  }
}

module.exports = { STATE, ValueTable };
