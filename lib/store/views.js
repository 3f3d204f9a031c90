'use strict';

/**
 * The caches of this process over one namespace. They differ in how objects are copied, and in how they read: with near
 * reads or without, and with frozen objects or copies. All share what near reads have remembered.
 */

const native = require('../native/loader');
const { KIND } = require('../kinds');
const { FORMS, MISS, NearCache } = require('../near/near-cache');
const { Leases } = require('./leases');
const { openCache } = require('./lru-cache');
const { STATE } = require('./value-table');

// Kept, because test suites replace the globals by timers that stand still.
const { setTimeout } = globalThis;

/** Milliseconds after which near reads are begun once more. */
const RETRY = 16;

/** Bits that say how a cache reads. */
const FROZEN = 1;
const NEAR = 2;

/** How an instance with these options reads. */
function readsOf({ freeze, near }) {
  return (freeze ? FROZEN : 0) | (near === false || near === 0 ? 0 : NEAR);
}

class Views {
  #owner;
  #table;
  /** What near reads have remembered, for all views; clients and views look for it here in each call. */
  near = { cache: /** @type {NearCache | undefined} */ (undefined) };
  /** Whether near reads were asked for, and for how many bytes. */
  #wantsNear = false;
  /** Whether there is a view: then uses are recorded, though nothing may be remembered. */
  #isOpened = false;
  #bytes = 0;
  /** Whether the views are used no more: the namespace was destroyed, or lies elsewhere. */
  isClosed = false;
  /** Hits of near reads before they were begun anew. */
  #hitsBefore = 0;
  /** Views by how they read. */
  #plain = [];
  #json = [];
  #advanced = [];
  /** @type {Leases | undefined} */
  #leases = undefined;

  /**
   * @param {any} owner the cache in Rust
   * @param {import('./value-table').ValueTable} table
   */
  constructor(owner, table) {
    this.#owner = owner;
    this.#table = table;
  }

  /**
   * The view of an instance.
   *
   * @param {'json' | 'advanced' | undefined} copies
   * @param {number} reads what `readsOf` gave
   * @returns {any} a synchronous cache
   */
  get(copies, reads) {
    const views =
      copies === 'json' ? this.#json : copies === undefined ? this.#plain : this.#advanced;
    return (views[reads] ??= this.#make(copies, reads));
  }

  #make(copies, reads) {
    const wantsNear = (reads & NEAR) !== 0;
    if (!this.#isOpened || (wantsNear && !this.#wantsNear)) {
      this.#isOpened = true;
      this.#wantsNear ||= wantsNear;
      this.renewNear();
    }
    const frozen = (reads & FROZEN) !== 0;
    return openCache(this.#owner, this.#table, copies, {
      near: wantsNear ? this.near : undefined,
      uses: this.near,
      frozen,
    });
  }

  /** The leases of the namespace, as this process has them. */
  get leases() {
    return (this.#leases ??= new Leases(this.#owner, this.get('json', 0)));
  }

  /** An instance asks for this many bytes of near reads, where it says how many. */
  raiseNear(bytes) {
    if (typeof bytes !== 'number') return;
    this.#bytes = Math.max(this.#bytes, bytes);
    this.near.cache?.raise(bytes);
  }

  /** Begins near reads anew, as the entries lie elsewhere now. */
  renewNear() {
    if (!this.#isOpened) return;
    this.#end();
    this.near.cache = this.#openNear();
  }

  /** Ends near reads, and the use of the views. */
  close() {
    this.#leases?.close();
    this.#end();
    this.near.cache = undefined;
    this.#wantsNear = false;
    this.#isOpened = false;
    this.isClosed = true;
  }

  #end() {
    const near = this.near.cache;
    near?.close();
    this.#hitsBefore += near?.hits ?? 0;
  }

  /** What near reads have given, and what they keep. */
  get nearStats() {
    const { hits = 0, entries = 0, bytes = 0 } = this.near.cache ?? {};
    return { hits: this.#hitsBefore + hits, entries, bytes };
  }

  /** `undefined` where the memory cannot be had. */
  #openNear() {
    let hasFailed = false;
    const owner = this.#owner;
    const table = this.#table;
    const { state } = table;
    const call = (run, argument) => {
      // Near reads make these calls before the outcome of another call has been read.
      const outcome = state[STATE.OUTCOME];
      const result = run(owner.id, argument);
      const isWrong = state[STATE.OUTCOME] === KIND.ERROR;
      state[STATE.OUTCOME] = outcome;
      hasFailed ||= isWrong;
      return isWrong ? undefined : result;
    };
    const control = call(native.nearControl, this.#wantsNear);
    const ring = control && call(native.nearRing);
    const uses = control && call(native.nearUses);
    if (hasFailed) {
      // Another process has the lock at this moment.
      setTimeout(() => this.renewNear(), RETRY).unref();
      return undefined;
    }
    if (control === undefined) return undefined;
    const port = {
      control: new Int32Array(control),
      ring,
      uses,
      versions(piece) {
        const versions = call(native.nearVersions, piece);
        return versions && new Float64Array(versions);
      },
      apply: () => call(native.refresh),
      found: table.found,
      values: table.values,
    };
    return new NearCache(port, this.#bytes > 0 ? { bytes: this.#bytes } : {});
  }
}

module.exports = { FORMS, MISS, NEAR, Views, readsOf };
