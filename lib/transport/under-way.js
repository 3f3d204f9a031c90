'use strict';

/**
 * The calls of one worker on one namespace that are under way as messages. Which other calls must wait behind them?
 * Calls on the same key, so that calls on one key are made in the order in which the worker made them. No I/O here.
 *
 * `keys` says what a call concerns: a list of keys, or `undefined` for the whole cache.
 */
class UnderWay {
  /** In the order in which they are sent. */
  #calls = new Set();
  /** How many of them concern a key. */
  #counts = new Map();
  /** How many of them concern the whole cache. */
  #whole = 0;

  get size() {
    return this.#calls.size;
  }

  /** A call is to be sent. `sent` and `drop` take what this returns. */
  begin(keys) {
    const call = { keys, id: Infinity };
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

  /** Every call is answered that was sent up to this id; with `Infinity`, none will be answered any more. */
  answered(id) {
    for (const call of this.#calls) {
      if (call.id > id) break;
      this.drop(call);
    }
  }

  /** Whether a call on these keys must wait behind one that is under way. */
  blocks(keys) {
    if (this.#calls.size === 0) return false;
    if (this.#whole > 0 || keys === undefined) return true;
    return keys.some((key) => this.#counts.has(key));
  }
}

module.exports = { UnderWay };
