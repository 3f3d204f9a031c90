'use strict';

const { types } = require('util');
const v8 = require('v8');
const native = require('../native/loader');

// The calls that must be fast: a constant is, a property of the addon's exports is not.
const { get, getMany, has, incr, keep, peek, put, set, setMany } = native;

const { define } = require('../define');
const { CODES, makeError } = require('../errors');
const { lruCacheOptions, optionJson } = require('../options');

/** What is in a table's `state`; see `src/addon/caches.rs`. */
const OUTCOME = 0;
const SLOT = 1;
const FREED = 2;
const FREED_SLOTS = 3;
const STATE_LENGTH = 64;

/** What a call's result is; see `Outcome` in `src/addon/caches.rs`. */
const IS = Object.freeze({
  MISS: 0,
  SLOT: 1,
  VALUE: 2,
  JSON: 3,
  CLONE: 4,
  ERROR: 5,
  SPLIT: 6,
  JOINED: 7,
});

/** Says of a list's value that there is none, or that it is the next of the joined JSON. */
const MISS = -1 - IS.MISS;
const JOINED = -1 - IS.JOINED;

/** The JavaScript values of some caches. Rust says which slot is whose, and when one is free. */
class Table {
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

/** Room in which Rust says where the values of a list lie; taken while it is in use. @type {Int32Array | undefined} */
let spare = new Int32Array(128);

function takePlaces(count) {
  const places = spare && spare.length >= count ? spare : new Int32Array(2 * count);
  spare = undefined;
  return places;
}

/** A value that lies in Rust. */
function decode(outcome, payload) {
  if (outcome === IS.JSON) return JSON.parse(payload);
  return outcome === IS.CLONE ? v8.deserialize(payload) : payload;
}

/** The clock of the system, which Rust can read itself. Something else may stand there under a test suite. */
const systemClock = String(Date.now).includes('[native code]') ? Date.now : undefined;

/** The time for a call: `NaN` leaves it to Rust to ask the system, where an age is at stake. */
function now() {
  return Date.now === systemClock ? NaN : Date.now();
}

/** Whether a value is kept by reference; the others lie in Rust. */
function staysHere(value) {
  switch (typeof value) {
    case 'number':
    case 'boolean':
    case 'undefined':
      return false;
    default:
      return value !== null;
  }
}

/** Keys as one string, which crosses to Rust faster than many; `undefined` where they are not all strings. */
function join(keys) {
  if (types.isProxy(keys)) return undefined;
  for (let index = 0; index < keys.length; index += 1) {
    if (typeof keys[index] !== 'string') return undefined;
  }
  return keys.length > 0 ? keys.join('\0') : undefined;
}

/** As `decode`, for a list: a value that cannot be read (a damaged clone) is `undefined`, and hides no other. */
function decodeListed(place, payload) {
  try {
    return decode(-1 - place, payload);
  } catch {
    return undefined;
  }
}

/**
 * A value as a store has it that keeps copies: what it is, and the payload; `undefined` where JSON has no form for
 * it.
 */
function encode(value, how) {
  if (!staysHere(value) || typeof value === 'string') return [IS.VALUE, value];
  if (how === 'advanced') return [IS.CLONE, v8.serialize(value)];
  const json = JSON.stringify(value);
  if (json === undefined) return undefined;
  // A Date is a string and a boxed number a number: as such they are stored.
  return json[0] === '{' || json[0] === '[' ? [IS.JSON, json] : [IS.VALUE, JSON.parse(json)];
}

/** A key where a store is reached from a worker: `undefined` and `null` are one there. */
const sharedKey = (key) => (key === undefined ? null : key);

/** The values of a list in turn, as Rust gave them. */
class Reader {
  #values;
  #payloads;
  #joined;
  #next = 0;
  #nextJoined = 0;

  /** `unread` finds the value at an index anew, where JSON is damaged and nobody can say whose it is. */
  constructor(table, payloads, unread) {
    this.#values = table.values;
    this.#payloads = payloads;
    this.unread = unread;
    const count = table.state[SLOT];
    if (count === 0) return;
    try {
      const joined = JSON.parse(payloads[payloads.length - 1]);
      if (joined.length === count) this.#joined = joined;
    } catch {
      // Each on its own, then.
    }
  }

  read(place, index) {
    if (place >= 0) return this.#values[place];
    if (place !== JOINED) return decodeListed(place, this.#payloads[this.#next++]);
    if (this.#joined !== undefined) return this.#joined[this.#nextJoined++];
    try {
      return this.unread(index);
    } catch {
      return undefined;
    }
  }
}

/** A cache of a registry, to be wrapped. */
class Opened {
  /**
   * @param {'json' | 'advanced'} [copies] how values are copied into it; without, they are kept by reference
   */
  constructor(owner, table, copies) {
    this.owner = owner;
    this.table = table;
    this.copies = copies;
  }
}

/** A cache of its own. */
function create(options) {
  const table = new Table();
  const given = typeof options === 'number' ? { max: options } : (options ?? {});
  const owner = native.createCache(table.state, lruCacheOptions(given));
  if (Array.isArray(owner)) throw makeError(owner);
  return new Opened(owner, table);
}

/** Calls that the promised API has and the synchronous class has not. */
let bulk;

/**
 * A synchronous LRU cache: what the primary holds per namespace, and what `new LRUCache()` makes. Its calls
 * and their results are those of `lru-cache` 6.
 */
class LRUCache {
  /** Keeps the cache alive in Rust. */
  #owner;
  #cache;
  #table;
  #copies;

  constructor(options) {
    const opened = options instanceof Opened ? options : create(options);
    this.#owner = opened.owner;
    this.#cache = opened.owner.id;
    this.#table = opened.table;
    this.#copies = opened.copies;
    this.#table.cache ??= this.#cache;
  }

  /** Finishes a call: freed values are dropped, an error is thrown. */
  #finish(result) {
    const table = this.#table;
    const outcome = table.state[OUTCOME];
    if (table.state[FREED] > 0) table.release();
    if (outcome === IS.ERROR) throw makeError(result);
    return result;
  }

  /** A result that is not finished yet; throws what is none. */
  #checked(result) {
    return this.#table.state[OUTCOME] === IS.ERROR ? this.#finish(result) : result;
  }

  /** Finishes a call that gave a value. */
  #value(result) {
    const { state, values } = this.#table;
    const outcome = state[OUTCOME];
    const value = outcome === IS.SLOT ? values[state[SLOT]] : result;
    if (state[FREED] > 0) this.#table.release();
    switch (outcome) {
      case IS.SLOT:
      case IS.VALUE:
        return value;
      case IS.MISS:
        return undefined;
      case IS.ERROR:
        throw makeError(result);
      default:
        return decode(outcome, result);
    }
  }

  get(key) {
    return this.#value(get(this.#cache, key, now()));
  }

  peek(key) {
    return this.#value(peek(this.#cache, key, now()));
  }

  has(key) {
    return this.#finish(has(this.#cache, key, now()));
  }

  set(key, value, maxAge = 0) {
    const { state, values } = this.#table;
    if (this.#copies !== undefined) return this.#put(key, value, maxAge);
    const store = staysHere(value) ? keep : set;
    const result = store(this.#cache, key, value, maxAge, now());
    const outcome = state[OUTCOME];
    if (outcome === IS.SLOT) values[state[SLOT]] = value;
    this.#finish(result);
    return outcome !== IS.MISS;
  }

  /** `set` of a copy. */
  #put(key, value, maxAge) {
    // What JSON has no form for is null, as in an array.
    const [kind, payload] = encode(value, this.#copies) ?? [IS.VALUE, null];
    const result = put(this.#cache, key, payload, maxAge || 0, now(), kind);
    const stored = this.#table.state[OUTCOME] !== IS.MISS;
    this.#finish(result);
    return stored;
  }

  del(key) {
    this.#finish(native.del(this.#cache, key));
  }

  reset() {
    this.#finish(native.reset(this.#cache));
  }

  prune() {
    this.#finish(native.prune(this.#cache, now()));
  }

  keys() {
    return Array.from(this.#finish(native.keys(this.#cache)));
  }

  values() {
    const { values } = this.#entries(0, false);
    return values;
  }

  dump() {
    const { keys, values, expires } = this.#entries(now(), true);
    return Array.from(keys, (k, index) => ({ k, v: values[index], e: expires[index] }));
  }

  /** Keys and values, most recent first; of those that have not expired, with `dated`, and when they will. */
  #entries(time, dated) {
    const listed = this.#checked(native.entries(this.#cache, time, dated));
    const [keys, payloads, places, expires] = listed;
    const unread = (index) => this.peek(keys[index]);
    return { keys, values: this.#read(places, keys.length, payloads, unread), expires };
  }

  load(entries) {
    if (!Array.isArray(entries)) {
      throw makeError([
        'TypeError',
        `load needs an array of entries as dump() gives them, got ${optionJson(entries)}`,
        CODES.INVALID_ARG_TYPE,
      ]);
    }
    const places = new Int32Array(entries.length).fill(-1);
    const values = Array.from(entries, (entry) => entry.v);
    const result = native.load(
      this.#cache,
      Array.from(entries, (entry) => entry.k),
      values,
      Float64Array.from(entries, (entry) => entry.e || 0),
      places,
      now(),
    );
    this.#write(places, values);
    this.#finish(result);
  }

  pop() {
    const place = new Int32Array(1);
    const popped = this.#checked(native.pop(this.#cache, place));
    if (popped === undefined) return null;
    const [key, now, maxAge, values] = popped;
    const [value] = this.#read(place, 1, values, () => undefined);
    this.#finish(popped);
    return { key, value, length: 1, now, maxAge };
  }

  forEach(fn, thisp) {
    this.#visit(this.keys(), fn, thisp);
  }

  rforEach(fn, thisp) {
    this.#visit(this.keys().reverse(), fn, thisp);
  }

  get max() {
    return this.#finish(native.limits(this.#cache))[0];
  }

  set max(max) {
    this.#finish(native.setLimit(this.#cache, 'max', optionJson(max)));
  }

  get maxSize() {
    return this.#finish(native.limits(this.#cache))[3];
  }

  set maxSize(maxSize) {
    this.#finish(native.setLimit(this.#cache, 'maxSize', optionJson(maxSize)));
  }

  get maxAge() {
    return this.#finish(native.limits(this.#cache))[1];
  }

  set maxAge(maxAge) {
    this.#finish(native.setLimit(this.#cache, 'maxAge', optionJson(maxAge)));
  }

  get allowStale() {
    return this.#finish(native.limits(this.#cache))[2];
  }

  set allowStale(stale) {
    this.#finish(native.setLimit(this.#cache, 'stale', optionJson(Boolean(stale))));
  }

  get length() {
    return this.#finish(native.length(this.#cache));
  }

  get calculatedSize() {
    return this.#finish(native.size(this.#cache));
  }

  get itemCount() {
    return this.#finish(native.length(this.#cache));
  }

  /** Visits what is there now; an entry that went meanwhile is passed over. */
  #visit(keys, fn, thisp = this) {
    const table = this.#table;
    for (const key of keys) {
      const result = peek(this.#cache, key, now());
      const found = table.state[OUTCOME] !== IS.MISS;
      const value = this.#value(result);
      if (found) fn.call(thisp, value, key, this);
    }
  }

  /** Passes keys to Rust, as one string if that can be. */
  #withKeys(keys, run) {
    const joined = join(keys);
    if (joined !== undefined) {
      const result = run(joined, keys.length);
      if (this.#table.state[OUTCOME] !== IS.SPLIT) return result;
    }
    const copy = this.#keys(keys);
    return run(copy, copy.length);
  }

  /** A copy of a list of keys. */
  #keys(keys) {
    return this.#copies === undefined ? Array.from(keys) : Array.from(keys, sharedKey);
  }

  /** `setMany` of copies. */
  #putMany(keys, values, maxAge) {
    const there = [];
    const kinds = [];
    const payloads = [];
    for (let index = 0; index < keys.length; index += 1) {
      const value = values[index];
      // In an object JSON leaves out what it has no form for.
      const isLeftOut = value === undefined && this.#copies === 'json';
      const encoded = isLeftOut ? undefined : encode(value, this.#copies);
      if (encoded === undefined) continue;
      there.push(keys[index]);
      kinds.push(encoded[0]);
      payloads.push(encoded[1]);
    }
    const time = now();
    const run = (crossing) =>
      native.putMany(this.#cache, crossing, payloads, Int32Array.from(kinds), maxAge || 0, time);
    this.#finish(this.#withKeys(there, run));
  }

  /** The values of a list that Rust gave. */
  #read(places, count, payloads, unread) {
    const reader = new Reader(this.#table, payloads, unread);
    return Array.from({ length: count }, (_, index) => reader.read(places[index], index));
  }

  /** Keeps the values that Rust gave a slot. */
  #write(places, values) {
    for (let index = 0; index < places.length; index += 1) {
      if (places[index] >= 0) this.#table.values[places[index]] = values[index];
    }
  }

  static {
    bulk = {
      /** `{ key: value }`; a miss has no property. */
      getMany(cache, keys) {
        const id = cache.#cache;
        const table = cache.#table;
        let joined = join(keys);
        // What is no plain list of strings is copied: code of the user may run while it is read.
        if (joined === undefined) keys = cache.#keys(keys);
        const count = keys.length;
        const places = takePlaces(count);
        const time = now();
        let payloads = getMany(id, joined ?? keys, count, places, time);
        if (table.state[OUTCOME] === IS.SPLIT) {
          joined = undefined;
          payloads = getMany(id, keys, count, places, time);
        }
        cache.#checked(payloads);
        const pairs = {};
        const { values } = table;
        const plain = joined !== undefined && !joined.includes('__proto__');
        // What is kept by reference needs none.
        let reader;
        for (let index = 0; index < count; index += 1) {
          const place = places[index];
          if (place === MISS) continue;
          let value;
          if (place >= 0) {
            value = values[place];
          } else {
            reader ??= new Reader(table, payloads, (at) => cache.peek(keys[at]));
            value = reader.read(place, index);
          }
          if (plain) pairs[keys[index]] = value;
          else define(pairs, keys[index], value);
        }
        spare = places;
        cache.#finish(payloads);
        return pairs;
      },
      /** Sets entries; with `ages`, each has its own where that is given. */
      setMany(cache, keys, values, maxAge, ages) {
        if (ages !== undefined) {
          const setOne = (key, index) =>
            bulk.setMany(cache, [key], [values[index]], ages[index] || maxAge);
          return bulk.atomically(cache, () => keys.forEach(setOne));
        }
        if (cache.#copies !== undefined) return cache.#putMany(keys, values, maxAge);
        const places = new Int32Array(keys.length).fill(-1);
        const time = now();
        const run = (crossing) => setMany(cache.#cache, crossing, values, places, maxAge, time);
        const result = cache.#withKeys(keys, run);
        cache.#write(places, values);
        return cache.#finish(result);
      },
      delMany(cache, keys) {
        const del = (crossing, count) => native.delMany(cache.#cache, crossing, count);
        cache.#finish(cache.#withKeys(keys, del));
      },
      /** Whether the application in the primary has this cache, and may have put functions on it. */
      isExposed: (cache) => cache.#finish(native.isExposed(cache.#cache)),
      /** Runs a function; no other process's call comes between its calls on this cache, up to its first `await`. */
      atomically(cache, run) {
        cache.#finish(native.hold(cache.#cache));
        try {
          return run();
        } finally {
          cache.#finish(native.unhold(cache.#cache));
        }
      },
      incr(cache, key, amount, maxAge) {
        return cache.#finish(incr(cache.#cache, key, amount, maxAge, now()));
      },
    };
  }
}

/** What is in a table's `state`, as the tests compare it with Rust. */
const STATE = Object.freeze({ OUTCOME, SLOT, FREED, FREED_SLOTS });

module.exports = { IS, STATE, LRUCache, Table, Opened, bulk, sharedKey };
