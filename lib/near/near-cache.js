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
const { Clock } = require('./clock');
const { PIECE_BITS, PIECE_MASK } = require('./pieces');
const { Ring } = require('./ring');
const { copy, prepare, sizeOf } = require('./tree');
const { Uses } = require('./uses');
const { define } = require('../define');
const { freeze } = require('../freeze');

/**
 * The memory that is shared with the native side, for one namespace and JS thread.
 *
 * @typedef {object} Port
 * @property {Int32Array} control words at `GATE`, at `EPOCH`, at `TAGS`, and at 16, see `Ring`
 * @property {(piece: number) => Float64Array | undefined} versions versions of rows `piece * 2^20` and on, called once a
 *   piece; `undefined` where they cannot be had now
 * @property {ArrayBuffer} [ring] what was used when, of a cache in a segment
 * @property {ArrayBuffer} [uses] the same of a cache on the heap; without either there is no near `get`
 * @property {() => void} apply has the native side look at what was used, if the lock is free
 * @property {any[]} [values] the values that are kept by reference, by slot
 * @property {Float64Array} found what the last native call found: row, version, expiry, tags and when it was set, for each of its keys.
 *   Version 0: nothing is to be remembered. Expiry: the last millisecond at which the entry is fresh, or `Infinity`. Tags: the word
 *   at `TAGS` under which an entry with tags was read, or -1 for an entry without
 */

/** Word of `control` that is odd while a change of several steps is under way. */
const GATE = 0;
/** Word of `control` that is odd while limits or ages change, and has another value afterwards. */
const EPOCH = 1;

/** Word of `control` that has a new value after each invalidation of tags. */
const TAGS = 2;
/** Numbers in `found` for each key. */
const NUMBERS = 5;

/** That a value has to be read by a native call. `undefined` can be a value. */
const MISS = Symbol('near miss');

/**
 * In which form `getAll` gives values: objects as copies of the caller's own; objects frozen; what `JSON.parse` makes of
 * values that are strings.
 */
const FORMS = Object.freeze({ OWN: 0, FROZEN: 1, DECODED: 2 });

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

/** Estimated bytes of an entry without its key and value: the entry, four numbers, its place in the map. */
const ENTRY_BYTES = 212;
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

/** From this length on a string may be a slice, which keeps the string it was cut from in memory. */
const SLICE = 13;

/** Always empty. */
const names = Object.create(null);

/**
 * Makes V8 let go of the string that a key was cut from. A name of a property is a string of its own, and each string that
 * was used as a name refers to that one from then on. A copy would do, too, but a `Map` finds it later than the key itself.
 */
function release(key) {
  if (typeof key !== 'string' || key.length < SLICE) return;
  names[key] = undefined;
  delete names[key];
}

/** A string that was not cut from a longer one; other values as they are. */
function flat(value) {
  return typeof value === 'string' && value.length >= SLICE ? ` ${value}`.slice(1) : value;
}

/** While there is no room, one in this many reads is remembered. */
const ADMITTED = 16;
/** The part of a bound that is left where there is no room: a sixteenth. */
const ROOM = 1 / 16;
/** So many writes of keys that nobody reads here, and no more are looked up. */
const COLD_WRITES = 64;
/** The most keys whose entries have ended that are known. */
const MOST_ENDED = 128;

/** What is remembered of one key. What each read looks at comes first, so that it lies together. */
class Entry {
  constructor(key, kind, value, column, row, version, expires, tags, setAt, bytes) {
    /** The value, its text, or its `Tree`, as `kind` says. */
    this.value = value;
    this.kind = kind;
    /** The versions of the piece of its row. */
    this.column = column;
    this.row = row;
    this.version = version;
    /** The last millisecond at which it is fresh; `undefined`: for ever, and it has no tags. */
    this.expires = expires === Infinity && tags < 0 ? undefined : expires;
    /** The word at `TAGS` under which it was read; -1 where it has no tags. */
    this.tags = tags;
    /** When it was set; 0 where no age applied at that time. */
    this.setAt = setAt;
    /** Whether it was read since it was put into its queue. */
    this.used = false;
    /** The object that is given to those who want frozen ones. @type {any} */
    this.frozen = undefined;
    /** Of a string: what `JSON.parse` makes of it, ready to be copied; `null` where parsing is better. @type {any} */
    this.parsed = undefined;
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

/** Whether an entry is a string that `getObject` parses: an empty one it does not. @param {Entry} entry */
function isText({ kind, value }) {
  return kind === PLAIN && typeof value === 'string' && value !== '';
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

/** The budget of this thread, and its clock. */
const budget = new Budget();
const clock = new Clock();

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
  /** Keys that were known until their entries changed: they are remembered again, room or not. */
  #ended = new Set();
  /** A sequence of numbers that follows no order of keys. */
  #number = 1;

  /** What records uses. @type {Ring | Uses | undefined} */
  #recorder;
  /** Hits that the recorder does not count, and uses that it counts but were no hits. */
  #peeks = 0;
  #uncounted = 0;
  /** Writes since the last one of a key that was read here, and how many hits there were then. */
  #cold = 0;
  #hitsWhenCold = 0;

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
    const apply = () => port.apply();
    if (port.uses !== undefined) this.#recorder = new Uses(port.uses, apply);
    else if (port.ring !== undefined) {
      this.#recorder = new Ring(port.ring, port.control, apply, atEndOfTurn);
    }
    shared.join(this);
  }

  /** What `stats()` shows, and what the budget asks for. */
  get hits() {
    return this.#peeks + (this.#recorder?.uses ?? 0) - this.#uncounted;
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
   * The value of a key, as its most recent use. `MISS`: make the native call.
   *
   * @param {any} key
   * @param {boolean} [frozen] objects as the one frozen object that there is until the entry changes, else as a copy of
   *   the caller's own
   * @returns {any}
   */
  get(key, frozen = false) {
    const entry = this.#entries.get(key);
    const recorder = this.#recorder;
    if (entry === undefined || recorder === undefined || !this.#holds(entry)) return MISS;
    entry.used = true;
    recorder.use(entry.row, entry.version, entry.column);
    return entry.kind === PLAIN ? entry.value : this.#object(entry, frozen);
  }

  /** As `get`, of an entry that was set no more than so many milliseconds ago, or without an age. @returns {any} */
  getYoung(key, age, frozen = false) {
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.setAt > 0 && Date.now() - entry.setAt > age) return MISS;
    return this.get(key, frozen);
  }

  /** As `get`, but no use. @returns {any} */
  peek(key, frozen = false) {
    const entry = this.#hit(key);
    if (entry === undefined) return MISS;
    return entry.kind === PLAIN ? entry.value : this.#object(entry, frozen);
  }

  /**
   * What `JSON.parse` makes of the string of a key, as its most recent use. `MISS`: read the value, and parse it.
   *
   * @returns {any}
   */
  getParsed(key) {
    const entry = this.#entries.get(key);
    const recorder = this.#recorder;
    if (entry === undefined || recorder === undefined || !this.#holds(entry)) return MISS;
    if (!isText(entry)) return MISS;
    entry.used = true;
    // It was read, though its text may be no JSON.
    recorder.use(entry.row, entry.version, entry.column);
    return this.#parse(entry);
  }

  /** What `JSON.parse` makes of a string. @param {Entry} entry @returns {any} */
  #parse(entry) {
    if (entry.parsed) return copy(entry.parsed);
    const value = JSON.parse(entry.value);
    if (entry.parsed === null || typeof value !== 'object' || value === null) return value;
    if (!this.#admits()) return value;
    const bytes = sizeOf(value);
    const tree = this.#fits(bytes) ? prepare(value) : undefined;
    entry.parsed = tree ?? null;
    if (tree === undefined) return value;
    this.#resize(entry, entry.bytes + bytes);
    return copy(tree);
  }

  /**
   * The object of an entry, as `frozen` says. `MISS` where its text is no JSON, because the segment is damaged: the native
   * call says what is wrong.
   *
   * @param {Entry} entry
   * @returns {any}
   */
  #object(entry, frozen) {
    try {
      if (!frozen) return this.#own(entry);
      return entry.frozen === undefined ? this.#freeze(entry) : entry.frozen;
    } catch {
      this.#remove(entry);
      return MISS;
    }
  }

  /** Whether there is surely an entry. `false`: make the native call. No use. */
  has(key) {
    return this.#hit(key) !== undefined;
  }

  /** Records a use of an entry that was read by a native call without the lock. */
  use(row, version) {
    this.#uncounted += 1;
    this.#recorder?.use(row, version);
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
      (entry.expires === undefined || this.#isFresh(entry, now))
    ) {
      return true;
    }
    this.#fail(entry);
    return false;
  }

  /** Whether an entry with an age or with tags has not expired, and none of its tags was invalidated. */
  #isFresh(entry, now) {
    return (
      (entry.tags < 0 || entry.tags === this.#control[TAGS] >>> 0) &&
      (entry.expires === Infinity ||
        (now === undefined ? clock.isBefore(entry.expires) : now <= entry.expires))
    );
  }

  /** An entry cannot be given. @param {Entry} entry */
  #fail(entry) {
    if (this.#control[EPOCH] !== this.#epoch) this.#renew();
    // While the gate is odd nothing is known of the entry.
    else if ((this.#control[GATE] & 1) === 0) {
      // Some tag was invalidated, this entry's or another's: the native call knows, and it renews what is known here.
      if (entry.tags >= 0 && entry.tags !== this.#control[TAGS] >>> 0 && this.#isCurrent(entry)) {
        return;
      }
      if (this.#isFull()) {
        if (this.#ended.size >= MOST_ENDED) this.#ended.clear();
        this.#ended.add(entry.key);
      }
      this.#remove(entry);
    }
  }

  /** Whether the row of an entry has the version of the entry. @param {Entry} entry */
  #isCurrent(entry) {
    return entry.column[entry.row & PIECE_MASK] === entry.version;
  }

  #isFull() {
    const { bytes, limit } = this.#budget;
    return this.bytes > this.#limit * (1 - ROOM) || bytes > limit * (1 - ROOM);
  }

  /**
   * Whether it is worth the work to remember more. While there is no room, one in `ADMITTED` times: so keys that are read
   * in turns, and do not fit together, do not displace each other at each read, and what is read often is remembered soon.
   */
  #admits() {
    if (!this.#isFull()) return true;
    this.#number = (Math.imul(this.#number, 1664525) + 1013904223) | 0;
    return this.#number >>> 16 < 0x10000 / ADMITTED;
  }

  /** Whether a read of a key is to be remembered. What was given frozen is given again. */
  #admitsKey(key, frozen = false) {
    return (
      this.#admits() ||
      (this.#ended.size > 0 && this.#ended.has(key)) ||
      (frozen && this.#entries.has(key))
    );
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
    if (!this.#admits()) return value;
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
    if (isPlain(value) && this.#admitsKey(key)) this.#put(begun, key, PLAIN, value, place);
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
    if (this.#admitsKey(key)) this.#put(begun, key, TEXT, text, place);
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
    const entry = this.#admitsKey(key, true) ? this.#put(begun, key, TEXT, text, place) : undefined;
    const object = entry === undefined ? MISS : this.#object(entry, true);
    return object === MISS ? freeze(JSON.parse(text)) : object;
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
    if (this.#admitsKey(key)) this.#put(begun, key, SLOT, slot, place);
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
    if (!this.#admitsKey(key, frozen)) return frozen ? freeze(value) : value;
    const bytes = sizeOf(value);
    const tree = this.#fits(bytes) ? prepare(value) : undefined;
    const entry = tree && this.#put(begun, key, TREE, tree, place, bytes);
    if (!frozen) return entry?.value === tree && tree !== undefined ? copy(tree) : value;
    return entry === undefined ? freeze(value) : this.#object(entry, true);
  }

  /**
   * Whether a key was found here since it was last remembered: then what a write leaves is worth remembering, too. After
   * `COLD_WRITES` writes of other keys nothing is looked up until the next hit: whoever only writes need not pay for it.
   */
  isHot(key) {
    if (this.#cold >= COLD_WRITES) {
      if (this.hits === this.#hitsWhenCold) return false;
      this.#cold = 0;
    }
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.used) {
      this.#cold = 0;
      return true;
    }
    this.#cold += 1;
    this.#hitsWhenCold = this.hits;
    return false;
  }

  /** Forgets a key, whose entry this process has removed. */
  forget(key) {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  /** @returns {Entry | undefined} what is remembered now */
  #put(begun, key, kind, value, place, size) {
    const epoch = this.#control[EPOCH];
    if (epoch !== this.#epoch) this.#renew();
    if (begun !== epoch || (epoch & 1) !== 0) return undefined;
    const found = this.#found;
    const version = found[place * NUMBERS + 1];
    if (!(version > 0)) return undefined;
    const before = this.#entries.get(key);
    if (before !== undefined) {
      // What is known of this version already is more: a copy is prepared, or a frozen object was given.
      if (before.version === version) {
        before.tags = found[place * NUMBERS + 3];
        return before;
      }
      this.#remove(before);
    }
    const bytes = ENTRY_BYTES + valueBytes(key) + (size ?? valueBytes(value));
    if (!this.#fits(bytes)) return undefined;
    const row = found[place * NUMBERS];
    const expires = found[place * NUMBERS + 2];
    const tags = found[place * NUMBERS + 3];
    const setAt = found[place * NUMBERS + 4];
    const column = this.#piece(row >>> PIECE_BITS);
    if (column === undefined) return undefined;
    release(key);
    this.#ended.delete(key);
    const entry = new Entry(key, kind, value, column, row, version, expires, tags, setAt, bytes);
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
   * As `getMany`, for lists of which everything is known here: `{ key: value }`, or `MISS`.
   *
   * All values were there when the first one was looked at: each entry was known then, and holds after that.
   *
   * @param {any[]} keys
   * @param {number} [form] one of `FORMS`
   * @returns {any}
   */
  getAll(keys, form = FORMS.OWN) {
    const control = this.#control;
    const known = this.#entries;
    const recorder = this.#recorder;
    if (recorder === undefined || (Atomics.load(control, GATE) & 1) !== 0) return MISS;
    // From here on no code of the user runs, such as a getter of the list.
    const list = [...keys];
    const { length } = list;
    const entries = new Array(length);
    const pairs = {};
    let now = 0;
    for (let index = 0; index < length; index += 1) {
      const key = list[index];
      const entry = known.get(key);
      if (entry === undefined || (typeof key !== 'string' && typeof key !== 'number')) return MISS;
      if (now === 0 && entry.expires !== undefined) now = Date.now();
      if (!this.#holds(entry, now)) return MISS;
      entries[index] = entry;
      let { value } = entry;
      if (form === FORMS.DECODED) {
        if (!isText(entry)) return MISS;
        value = this.#parse(entry);
      } else if (entry.kind !== PLAIN) value = this.#object(entry, form === FORMS.FROZEN);
      if (value === MISS) return MISS;
      if (key === '__proto__') define(pairs, key, value);
      else pairs[key] = value;
    }
    if ((Atomics.load(control, GATE) & 1) !== 0 || control[EPOCH] !== this.#epoch) return MISS;
    for (let index = 0; index < length; index += 1) {
      const entry = entries[index];
      entry.used = true;
      recorder.use(entry.row, entry.version, entry.column);
    }
    return pairs;
  }

  /**
   * Reads many keys, each as `get`. Where the answer has no `missing`, it is whole: all its values were there at one
   * moment. Else make a native call for the keys at `missing`, then `recheck`. Uses are recorded when all is known.
   *
   * @param {any[]} keys
   * @param {boolean} [frozen] whether objects are given frozen
   */
  getMany(keys, frozen = false) {
    if (this.#control[EPOCH] !== this.#epoch) this.#renew();
    const batch = new Batch(keys, this.#epoch);
    const { values, missing, entries } = batch;
    const known = this.#entries;
    const recorder = this.#recorder;
    if (recorder === undefined || !this.#isOpen(batch)) {
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
      values[index] = entry.kind === PLAIN ? entry.value : this.#object(entry, frozen);
      if (values[index] === MISS) missing.push(index);
      else entries[index] = entry;
    }
    // Of more keys than `found` has room for, nothing is known with which `recheck` could put them in their order.
    const isTooMuch = missing.length * NUMBERS > this.#found.length;
    if (isTooMuch || (missing.length === 0 && !this.#isOpen(batch))) this.#giveUp(batch);
    else if (missing.length === 0) this.#record(batch);
    return batch;
  }

  /** So many of the uses that were recorded are no hits. */
  #uncount(uses) {
    this.#uncounted += uses;
    /** @type {Ring | Uses} */ (this.#recorder).uncount(uses);
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
      if (entry !== undefined) {
        holds =
          this.#isCurrent(entry) && (entry.tags < 0 || entry.tags === this.#control[TAGS] >>> 0);
      }
    }
    if (!holds || !this.#isOpen(batch)) return false;
    if (missing.length > 0) this.#record(batch);
    return true;
  }

  /**
   * Records the uses of a batch in the order of its keys. What the native call has found is recorded once more: there it
   * came before the rest.
   *
   * @param {Batch} batch
   */
  #record({ entries }) {
    const recorder = /** @type {Ring | Uses} */ (this.#recorder);
    const found = this.#found;
    let place = 0;
    for (let index = 0; index < entries.length; index += 1) {
      const entry = entries[index];
      if (entry !== undefined) {
        entry.used = true;
        recorder.use(entry.row, entry.version, entry.column);
        continue;
      }
      const version = found[place * NUMBERS + 1];
      if (version > 0) {
        this.#uncount(1);
        const row = found[place * NUMBERS];
        recorder.use(row, version, this.#piece(row >>> PIECE_BITS));
      }
      place += 1;
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
    this.#ended.clear();
  }

  /** Forgets everything, and lets go of the memory: every later read is a miss. */
  close() {
    this.clear();
    this.#budget.leave(this);
    this.#control = CLOSED;
    this.#epoch = 0;
    this.#peeks = this.hits;
    this.#uncounted = 0;
    this.#recorder = undefined;
    this.#pieces = [];
    this.#port = undefined;
  }
}

module.exports = { FORMS, MISS, NearCache, flat };
