'use strict';

/**
 * Near reads of one namespace: what this process has read, each entry with the version it had. The versions of all rows
 * lie in shared memory. A remembered value is the present one if its row still has the remembered version: one load,
 * without a native call. Whoever changes an entry ends its version before the change is acknowledged, and a version
 * never repeats.
 *
 * What this file does not know is a miss: then the native call is to be made. So is every doubt.
 */

const { Budget, DEFAULT_BYTES, Shelf } = require('./budget');
const { Ring } = require('./ring');
const { copy, prepare, sizeOf } = require('./tree');
const { freeze } = require('../freeze');

/**
 * The memory that is shared with the native side, for one namespace and JS thread.
 *
 * @typedef {object} Port
 * @property {Int32Array} control words at `GATE`, at `EPOCH`, and at 16, see `Ring`
 * @property {(piece: number) => Float64Array | undefined} versions versions of rows `piece * 2^20` and on, called once a
 *   piece; `undefined` where they cannot be had now
 * @property {ArrayBuffer} [ring] what was used when; without it there is no near `get`
 * @property {() => void} apply applies the rings, if the lock is free
 * @property {any[]} [values] the values that are kept by reference, by slot
 * @property {Float64Array} found what the last native call found: row, version and expiry, for each of its keys.
 *   Version 0: nothing is to be remembered. Expiry: the last millisecond at which the entry is fresh, or `Infinity`
 */

/** Word of `control` that is odd while a change of several steps is under way. */
const GATE = 0;
/** Word of `control` that is odd while limits or ages change, and has another value afterwards. */
const EPOCH = 1;

/** Rows of a piece of the versions: 2^20. */
const PIECE_BITS = 20;
const PIECE_MASK = (1 << PIECE_BITS) - 1;

/** That a value has to be read by a native call. `undefined` can be a value. */
const MISS = Symbol('near miss');

/** What the value of an entry is: the value itself. */
const PLAIN = 0;
/** JSON text of an object that was not asked for yet. */
const TEXT = 1;
/** An object that is ready to be copied. */
const TREE = 2;
/** JSON text of an object that is better parsed than copied. */
const PARSED = 3;
/** The slot of a value that is kept by reference: the value itself is not held here. */
const SLOT = 4;

/** Estimated bytes of an entry without its key and value: the entry, three numbers, its place in the map. */
const ENTRY_BYTES = 180;
/** Estimated bytes of a string without its characters. */
const STRING_BYTES = 24;

/** Estimated bytes of a string: 1 a character, or 2 where there is one beyond ASCII. */
function stringBytes(text) {
  const { length } = text;
  return STRING_BYTES + (Buffer.byteLength(text) === length ? length : length * 2);
}

/** Estimated bytes of a value that is kept as it is. Numbers and the rest are in the entry, or small. */
function valueBytes(value) {
  return typeof value === 'string' ? stringBytes(value) : 16;
}

/** Whether a value is kept as it is: whoever has it cannot change it. */
function isPlain(value) {
  const type = typeof value;
  return (
    type === 'string' ||
    type === 'number' ||
    type === 'boolean' ||
    type === 'undefined' ||
    value === null
  );
}

/** What is remembered of one key. What each read looks at comes first, so that it lies together. */
class Entry {
  constructor(key, kind, value, column, row, version, expires, bytes) {
    /** The value, its text, or its `Tree`, as `kind` says. */
    this.value = value;
    this.kind = kind;
    /** The versions of the piece of its row. */
    this.column = column;
    this.row = row;
    this.version = version;
    /** The last millisecond at which it is fresh; `undefined` for ever. */
    this.expires = expires === Infinity ? undefined : expires;
    /** Whether it was read since it was put into its queue. */
    this.used = false;
    /** The object that is given to those who want frozen ones. @type {any} */
    this.frozen = undefined;
    this.key = key;
    this.bytes = bytes;
    /** Its place on the shelf. @type {any} */
    this.queue = undefined;
    /** @type {any} */
    this.older = undefined;
    /** @type {any} */
    this.newer = undefined;
  }
}

/** The answers to a list of keys, and what is left to do. */
class Batch {
  constructor(keys, epoch) {
    this.keys = keys;
    /** Under which it is answered. */
    this.epoch = epoch;
    /** In the order of `keys`; `MISS` where a native call has to answer. */
    this.values = new Array(keys.length);
    /** Indices of `keys` that a native call has to answer, rising. @type {number[]} */
    this.missing = [];
    /** Of each key what it was answered from. @type {(Entry | undefined)[]} */
    this.entries = new Array(keys.length);
  }
}

/** Stands for the memory of a namespace that is let go: its gate is shut for ever. */
const CLOSED = new Int32Array(32);
CLOSED[GATE] = 1;
CLOSED[EPOCH] = 1;

/** The budget of this process. */
const budget = new Budget();

class NearCache {
  /** @type {Port | undefined} */
  #port;
  #control;
  #found;
  /** @type {Float64Array[]} */
  #pieces = [];
  /** @type {Map<any, Entry>} */
  #entries = new Map();
  /** The value of `EPOCH` under which all entries were read. */
  #epoch;
  #shelf = new Shelf();
  #budget;
  #limit;

  /** @type {Ring | undefined} */
  #ring;
  /** Hits that the ring does not count, and uses that it counts but were no hits. */
  #peeks = 0;
  #uncounted = 0;

  /**
   * @param {Port} port
   * @param {{ bytes?: number, shared?: Budget, atEndOfTurn?: (end: () => void) => void }} [options] `bytes`: what this
   *   namespace may keep, by estimate; `shared`: the budget, and `atEndOfTurn`: see `Ring`, in tests
   */
  constructor(port, { bytes = DEFAULT_BYTES, shared = budget, atEndOfTurn } = {}) {
    this.#port = port;
    this.#control = port.control;
    this.#found = port.found;
    this.#epoch = port.control[EPOCH];
    this.#limit = bytes;
    this.#budget = shared;
    if (port.ring !== undefined) {
      this.#ring = new Ring(port.ring, port.control, () => port.apply(), atEndOfTurn);
    }
    shared.join(this);
  }

  /** What `stats()` shows, and what the budget asks for. */
  get hits() {
    return this.#peeks + (this.#ring?.uses ?? 0) - this.#uncounted;
  }
  get entries() {
    return this.#entries.size;
  }
  get bytes() {
    return this.#shelf.bytes;
  }
  get limit() {
    return this.#limit;
  }

  /** Another instance asks for this many bytes. */
  raise(bytes) {
    this.#limit = Math.max(this.#limit, bytes);
    this.#budget.limit = Math.max(this.#budget.limit, bytes);
  }

  /**
   * The value of a key, as its most recent use; objects as a copy of their own. `MISS`: make the native call.
   *
   * @returns {any}
   */
  get(key) {
    const entry = this.#entries.get(key);
    const ring = this.#ring;
    if (entry === undefined || ring === undefined || !this.#holds(entry)) return MISS;
    entry.used = true;
    ring.use(entry.row, entry.version);
    return entry.kind === PLAIN ? entry.value : this.#own(entry);
  }

  /**
   * As `get`; objects as the one frozen object that there is until the entry changes.
   *
   * @returns {any}
   */
  getFrozen(key) {
    const entry = this.#entries.get(key);
    const ring = this.#ring;
    if (entry === undefined || ring === undefined || !this.#holds(entry)) return MISS;
    entry.used = true;
    ring.use(entry.row, entry.version);
    if (entry.kind === PLAIN) return entry.value;
    return entry.frozen === undefined ? this.#freeze(entry) : entry.frozen;
  }

  /** As `get`, but no use. @returns {any} */
  peek(key) {
    const entry = this.#hit(key);
    if (entry === undefined) return MISS;
    return entry.kind === PLAIN ? entry.value : this.#own(entry);
  }

  /** As `getFrozen`, but no use. @returns {any} */
  peekFrozen(key) {
    const entry = this.#hit(key);
    if (entry === undefined) return MISS;
    if (entry.kind === PLAIN) return entry.value;
    return entry.frozen === undefined ? this.#freeze(entry) : entry.frozen;
  }

  /** Whether there is surely an entry. `false`: make the native call. No use. */
  has(key) {
    return this.#hit(key) !== undefined;
  }

  #hit(key) {
    const entry = this.#entries.get(key);
    if (entry === undefined || !this.#holds(entry)) return undefined;
    entry.used = true;
    this.#peeks += 1;
    return entry;
  }

  /**
   * Whether an entry is the present one, and fresh. Lets it go if not.
   *
   * @param {Entry} entry
   * @param {number} [now] the time, where it was looked up already
   */
  #holds(entry, now) {
    const control = this.#control;
    if (
      (control[GATE] & 1) === 0 &&
      control[EPOCH] === this.#epoch &&
      entry.column[entry.row & PIECE_MASK] === entry.version &&
      (entry.expires === undefined || (now ?? Date.now()) <= entry.expires)
    ) {
      return true;
    }
    this.#fail(entry);
    return false;
  }

  /** An entry cannot be given. @param {Entry} entry */
  #fail(entry) {
    if (this.#control[EPOCH] !== this.#epoch) this.#renew();
    // While the gate is odd nothing is known of the entry.
    else if ((this.#control[GATE] & 1) === 0) this.#remove(entry);
  }

  /** Nothing stays after a change of the epoch. */
  #renew() {
    this.clear();
    this.#epoch = this.#control[EPOCH];
  }

  /** An object of the caller's own. @param {Entry} entry @returns {any} */
  #own(entry) {
    if (entry.kind === SLOT) return /** @type {any} */ (this.#port).values[entry.value];
    if (entry.kind === TREE) return copy(entry.value);
    const value = JSON.parse(entry.value);
    if (entry.kind === PARSED) return value;
    const text = entry.value;
    const bytes = sizeOf(value);
    const tree = this.#fits(bytes) ? prepare(value) : undefined;
    if (tree === undefined) {
      entry.kind = PARSED;
      return value;
    }
    entry.kind = TREE;
    entry.value = tree;
    this.#resize(entry, entry.bytes - stringBytes(text) + bytes);
    return copy(tree);
  }

  /** The frozen object of an entry, from now on the same. @param {Entry} entry @returns {any} */
  #freeze(entry) {
    if (entry.kind === SLOT) return this.#own(entry);
    const { kind, value } = entry;
    entry.frozen = freeze(kind === TREE ? copy(value) : JSON.parse(value));
    this.#resize(entry, entry.bytes + sizeOf(entry.frozen));
    return entry.frozen;
  }

  /** @param {Entry} entry */
  #resize(entry, bytes) {
    // Making room for others may have let it go.
    if (entry.queue === undefined) return;
    this.#budget.count(bytes - entry.bytes);
    this.#shelf.resize(entry, bytes);
    this.#budget.trim(this);
  }

  /** Whether something of this size is kept: at most a quarter of what the namespace may keep. */
  #fits(bytes) {
    return bytes * 4 <= this.#limit;
  }

  /**
   * Call this before a native call whose outcome is to be remembered, and give what it returns to `remember`. Nothing
   * is remembered that was read under another epoch.
   *
   * @returns {number}
   */
  begin() {
    // A call that says nothing of an entry leaves nothing to remember.
    this.#found[1] = 0;
    return this.#control[EPOCH];
  }

  /**
   * Remembers a value that a native call gave, or stored. Strings, numbers, booleans, `null` and `undefined` are kept;
   * others are not. Call it, or one of its kind, before another native call of this namespace is made.
   *
   * @param {number} begun what `begin` returned before that call
   * @param {any} key
   * @param {any} value
   * @param {number} [place] which key of that call it is
   */
  remember(begun, key, value, place = 0) {
    if (isPlain(value)) this.#put(begun, key, PLAIN, value, place);
  }

  /**
   * As `remember`, for an object that was given, or stored, as JSON.
   *
   * @param {number} begun
   * @param {any} key
   * @param {string} text its JSON
   * @param {number} [place]
   */
  rememberJson(begun, key, text, place = 0) {
    this.#put(begun, key, TEXT, text, place);
  }

  /**
   * As `rememberJson`; returns the one frozen object that there is until the entry changes.
   *
   * @param {number} begun
   * @param {any} key
   * @param {string} text
   * @param {number} [place]
   * @returns {any}
   */
  rememberFrozen(begun, key, text, place = 0) {
    const entry = this.#put(begun, key, TEXT, text, place);
    if (entry === undefined) return freeze(JSON.parse(text));
    return entry.frozen === undefined ? this.#freeze(entry) : entry.frozen;
  }

  /**
   * As `remember`, for a value that is kept by reference in this slot. The value is not held here.
   *
   * @param {number} begun
   * @param {any} key
   * @param {number} slot
   * @param {number} [place]
   */
  rememberSlot(begun, key, slot, place = 0) {
    this.#put(begun, key, SLOT, slot, place);
  }

  /**
   * As `rememberJson`, for an object that was made of JSON whose text is not at hand. Returns what the caller may have: an
   * object of its own, or the frozen one.
   *
   * @param {number} begun
   * @param {any} key
   * @param {any} value
   * @param {boolean} frozen
   * @param {number} [place]
   * @returns {any}
   */
  rememberDecoded(begun, key, value, frozen, place = 0) {
    const bytes = sizeOf(value);
    const tree = this.#fits(bytes) ? prepare(value) : undefined;
    const entry = tree && this.#put(begun, key, TREE, tree, place, bytes);
    if (!frozen) return entry?.value === tree && tree !== undefined ? copy(tree) : value;
    if (entry === undefined) return freeze(value);
    return entry.frozen === undefined ? this.#freeze(entry) : entry.frozen;
  }

  /** Whether a key was found here since it was last remembered: then what a write leaves is worth remembering, too. */
  isHot(key) {
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.used;
  }

  /** Forgets a key, whose entry this process has removed. */
  forget(key) {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  /** @returns {Entry | undefined} what is remembered now */
  #put(begun, key, kind, value, place, size = valueBytes(value)) {
    const epoch = this.#control[EPOCH];
    if (epoch !== this.#epoch) this.#renew();
    if (begun !== epoch || (epoch & 1) !== 0) return undefined;
    const found = this.#found;
    const version = found[place * 3 + 1];
    if (!(version > 0)) return undefined;
    const before = this.#entries.get(key);
    if (before !== undefined) {
      // What is known of this version already is more: a copy is prepared, or a frozen object was given.
      if (before.version === version) return before;
      this.#remove(before);
    }
    const bytes = ENTRY_BYTES + valueBytes(key) + size;
    if (!this.#fits(bytes)) return undefined;
    const row = found[place * 3];
    const expires = found[place * 3 + 2];
    const column = this.#piece(row >>> PIECE_BITS);
    if (column === undefined) return undefined;
    const entry = new Entry(key, kind, value, column, row, version, expires, bytes);
    this.#entries.set(key, entry);
    this.#shelf.add(entry);
    this.#budget.count(bytes);
    this.#budget.trim(this);
    return entry;
  }

  /** @returns {Float64Array | undefined} */
  #piece(piece) {
    const known = this.#pieces[piece];
    if (known !== undefined) return known;
    const versions = /** @type {Port} */ (this.#port).versions(piece);
    if (versions !== undefined) this.#pieces[piece] = versions;
    return versions;
  }

  /**
   * Reads many keys, each as `get`. Where the answer has no `missing`, it is whole: all its values were there at one
   * moment. Else make a native call for the keys at `missing`, then `recheck`.
   *
   * @param {any[]} keys
   * @param {boolean} [frozen] whether objects are given frozen
   */
  getMany(keys, frozen = false) {
    if (this.#control[EPOCH] !== this.#epoch) this.#renew();
    const batch = new Batch(keys, this.#epoch);
    const { values, missing, entries } = batch;
    const known = this.#entries;
    const ring = this.#ring;
    if (ring === undefined || !this.#isOpen(batch)) {
      this.#giveUp(batch);
      return batch;
    }
    const now = Date.now();
    for (let index = 0; index < keys.length; index += 1) {
      const entry = known.get(keys[index]);
      if (entry === undefined || !this.#holds(entry, now)) {
        values[index] = MISS;
        missing.push(index);
        continue;
      }
      entry.used = true;
      ring.use(entry.row, entry.version);
      entries[index] = entry;
      if (entry.kind === PLAIN) values[index] = entry.value;
      else if (!frozen) values[index] = this.#own(entry);
      else values[index] = entry.frozen === undefined ? this.#freeze(entry) : entry.frozen;
    }
    // Of more keys than `found` has room for, nothing is known with which `recheck` could put them in their order.
    const isTooMuch = missing.length * 3 > this.#found.length;
    if (isTooMuch || (missing.length === 0 && !this.#isOpen(batch))) {
      this.#uncounted += keys.length - missing.length;
      this.#giveUp(batch);
    }
    return batch;
  }

  /** Whether no change of several steps is under way, nor has the epoch changed since. @param {Batch} batch */
  #isOpen(batch) {
    const control = this.#control;
    return (
      ((Atomics.load(control, GATE) | batch.epoch) & 1) === 0 &&
      Atomics.load(control, EPOCH) === batch.epoch
    );
  }

  /** Nothing of a batch can be given. @param {Batch} batch */
  #giveUp(batch) {
    batch.values.fill(MISS);
    batch.missing = Array.from(batch.keys, (key, index) => index);
    batch.entries.fill(undefined);
  }

  /**
   * After the native call for what was missing, and before another one: whether what was given from here was still
   * there at the moment of that call. If not, read all keys by one native call. If so, all keys are recorded as used in
   * their order.
   *
   * @param {Batch} batch
   * @returns {boolean}
   */
  recheck(batch) {
    const { entries, missing } = batch;
    const hits = entries.length - missing.length;
    if (hits === 0) return true;
    let holds = this.#isOpen(batch);
    for (let index = 0; holds && index < entries.length; index += 1) {
      const entry = entries[index];
      // An age that has ended meanwhile does no harm: the value was fresh when the read began.
      if (entry !== undefined) holds = entry.column[entry.row & PIECE_MASK] === entry.version;
    }
    if (!holds || !this.#isOpen(batch)) {
      this.#uncounted += hits;
      return false;
    }
    if (missing.length > 0) this.#reorder(batch);
    return true;
  }

  /** The keys from the first on that was missing were not recorded in their order. @param {Batch} batch */
  #reorder({ entries, missing }) {
    const ring = /** @type {Ring} */ (this.#ring);
    const { found } = /** @type {Port} */ (this.#port);
    let place = 0;
    for (let index = missing[0]; index < entries.length; index += 1) {
      const entry = entries[index];
      const row = entry === undefined ? found[place * 3] : entry.row;
      const version = entry === undefined ? found[place * 3 + 1] : entry.version;
      if (entry === undefined) place += 1;
      if (!(version > 0)) continue;
      this.#uncounted += 1;
      ring.use(row, version);
    }
  }

  /** Lets one entry go, for the budget. Returns whether there was one. */
  evict() {
    const entry = this.#shelf.evict();
    if (entry === undefined) return false;
    this.#entries.delete(entry.key);
    this.#budget.count(-entry.bytes);
    return true;
  }

  /** @param {Entry} entry */
  #remove(entry) {
    // It may have left already, or another may have its key.
    if (entry.queue === undefined) return;
    this.#entries.delete(entry.key);
    this.#shelf.remove(entry);
    this.#budget.count(-entry.bytes);
  }

  /** Forgets everything. */
  clear() {
    this.#budget.count(-this.#shelf.bytes);
    this.#shelf.clear();
    this.#entries.clear();
  }

  /** Forgets everything, and lets go of the memory: every later read is a miss. */
  close() {
    this.clear();
    this.#budget.leave(this);
    this.#control = CLOSED;
    this.#epoch = 0;
    this.#peeks = this.hits;
    this.#uncounted = 0;
    this.#ring = undefined;
    this.#pieces = [];
    this.#port = undefined;
  }
}

module.exports = { MISS, NearCache };
