'use strict';

const native = require('../native/loader');

/** Indexes of a table's `state`, and `NUMBERS`; see `src/addon/caches.rs`. */
const STATE = Object.freeze({
  OUTCOME: 0,
  SLOT: 1,
  FREED: 2,
  USED: 3,
  WANTED: 4,
  DESTROYED: 5,
  FREED_SLOTS: 6,
  FOUND: 64,
  NUMBERS: 5,
});
/** The entries of a list of which Rust says what can be remembered: so many times `NUMBERS` numbers of 64 bits. */
const MOST_FOUND = 128;

const { FOUND, FREED, FREED_SLOTS, NUMBERS } = STATE;

/**
 * The JavaScript values that some caches keep by reference, by slot. Rust gives each value a slot, and says when a slot
 * is free. Rust reports on each call in `state`.
 */
class ValueTable {
  values = [];
  state = new Int32Array(new ArrayBuffer(4 * FOUND + 8 * NUMBERS * MOST_FOUND));
  /** The end of `state`: what the last call found or stored: of each entry row, version, expiry, word for tags, and when it was set. */
  found = new Float64Array(this.state.buffer, 4 * FOUND);

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
      for (let at = FREED_SLOTS; at < last && at < FOUND; at += 1) {
        values[state[at]] = undefined;
      }
      state[FREED] = 0;
      if (last <= FOUND) return;
      native.release(this.cache);
    }
  }
}

module.exports = { STATE, ValueTable };
