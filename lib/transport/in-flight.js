'use strict';

/**
 * The calls of one worker on one namespace that are in flight: they go to the primary as messages. A call must wait
 * behind those on the same key, because the calls on one key run in the order in which the worker made them. No I/O.
 *
 * `keys` says what a call concerns: a list of keys, or `undefined` for the whole cache.
 */
class InFlight {
  /** The calls, in the order in which they are sent. */
  #calls = new Set();
  /** How many calls concern a key, by key. */
  #counts = new Map();
  /** How many calls concern the whole cache. */
  #whole = 0;
  /** How many calls change entries. */
  changes = 0;

  get size() {
    return this.#calls.size;
  }

  /** A call is to be sent. Returns the record that `sent` and `drop` take. `reads`: it changes no entry. */
  begin(keys, reads = false) {
    const call = { keys, reads, id: Infinity };
    if (!reads) this.changes += 1;
    this.#calls.add(call);
    if (keys === undefined) this.#whole += 1;
    else for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    return call;
  }

  /** A call was sent with this id. Ids rise in the order of `begin`. */
  sent(call, id) {
    call.id = id;
  }

  /** Nothing waits behind this call any more: it is never sent, or its outcome does not matter. */
  drop(call) {
    if (!this.#calls.delete(call)) return;
    if (!call.reads) this.changes -= 1;
    if (call.keys === undefined) {
      this.#whole -= 1;
      return;
    }
    for (const key of call.keys) {
      const count = this.#counts.get(key) - 1;
      if (count > 0) this.#counts.set(key, count);
      else this.#counts.delete(key);
    }
  }

  /** The primary has answered every call up to this id. `Infinity` says that no call will be answered any more. */
  answered(id) {
    for (const call of this.#calls) {
      if (call.id > id) break;
      this.drop(call);
    }
  }

  /** Whether a call on these keys must wait behind a call in flight. */
  blocks(keys) {
    if (this.#calls.size === 0) return false;
    if (this.#whole > 0 || keys === undefined) return true;
    return keys.some((key) => this.#counts.has(key));
  }
}

module.exports = { InFlight };
