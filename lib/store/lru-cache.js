'use strict';

/**
 * The synchronous cache of this process. A call passes its arguments to Rust, and Rust says in the `state` of the value
 * table what the result is.
 */

const { types } = require('util');
const native = require('../native/loader');

// The calls that must be fast: a constant is, a property of the addon's exports is not.
const { get, getMany, has, incr, keep, peek, put, set, setMany } = native;

const { define } = require('../define');
const { CODES, makeError } = require('../errors');
const { lruCacheOptions, optionJson } = require('../options');
const { ListReader, MISS, decode, encode, isReference, sharedKey } = require('./copies');
const { IS, STATE, ValueTable } = require('./value-table');

const { OUTCOME, SLOT, FREED } = STATE;

/** An array in which Rust says where the values of a list lie. A call takes it while it runs. @type {Int32Array | undefined} */
let spare = new Int32Array(128);

function takePlaces(count) {
  const places = spare && spare.length >= count ? spare : new Int32Array(2 * count);
  spare = undefined;
  return places;
}

/** The clock of the system, which Rust can read itself. Something else may stand there under a test suite. */
const systemClock = String(Date.now).includes('[native code]') ? Date.now : undefined;

/** The time for a call: `NaN` leaves it to Rust to ask the system, where an age is at stake. */
function now() {
  return Date.now === systemClock ? NaN : Date.now();
}

/** Keys as one string, which crosses to Rust faster than many; `undefined` where they are not all strings. */
function join(keys) {
  if (types.isProxy(keys)) return undefined;
  for (let index = 0; index < keys.length; index += 1) {
    if (typeof keys[index] !== 'string') return undefined;
  }
  return keys.length > 0 ? keys.join('\0') : undefined;
}

/** What a cache is made over. */
class Backing {
  /**
   * @param {import('../native/loader').NativeCache} owner keeps the cache alive in Rust
   * @param {ValueTable} table the values that are kept by reference
   * @param {'json' | 'advanced'} [copies] how values are copied; without, they are kept by reference
   */
  constructor(owner, table, copies) {
    this.owner = owner;
    this.table = table;
    this.copies = copies;
  }
}

/**
 * A cache over one that Rust has already. The arguments are those of `Backing`.
 *
 * @param {'json' | 'advanced'} [copies]
 */
function openCache(owner, table, copies) {
  return new LRUCache(new Backing(owner, table, copies));
}

/** The backing of a new cache that belongs to no namespace. */
function create(options) {
  const table = new ValueTable();
  const given = typeof options === 'number' ? { max: options } : (options ?? {});
  const owner = native.createCache(table.state, lruCacheOptions(given));
  if (Array.isArray(owner)) throw makeError(owner);
  return new Backing(owner, table);
}

/** Calls of the Promise class that the synchronous class does not have. */
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
    const { owner, table, copies } = options instanceof Backing ? options : create(options);
    this.#owner = owner;
    this.#cache = owner.id;
    this.#table = table;
    this.#copies = copies;
    this.#table.cache ??= this.#cache;
  }

  /** Ends a call: drops freed values, throws an error. */
  #finish(result) {
    const table = this.#table;
    const outcome = table.state[OUTCOME];
    if (table.state[FREED] > 0) table.release();
    if (outcome === IS.ERROR) throw makeError(result);
    return result;
  }

  /** The result of a call that `#finish` has still to end. An error is thrown. */
  #checked(result) {
    return this.#table.state[OUTCOME] === IS.ERROR ? this.#finish(result) : result;
  }

  /** Ends a call that gave a value. */
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
    const run = isReference(value) ? keep : set;
    const result = run(this.#cache, key, value, maxAge, now());
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

  /** Keys and values, most recent first. With `dated`, only those that have not expired, and when they expire. */
  #entries(time, dated) {
    const listed = this.#checked(native.entries(this.#cache, time, dated));
    const [keys, payloads, places, expires] = listed;
    const readAgain = (index) => this.peek(keys[index]);
    return { keys, values: this.#read(places, keys.length, payloads, readAgain), expires };
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

  /** Visits the entries of these keys. An entry that was removed meanwhile is passed over. */
  #visit(keys, fn, thisp = this) {
    const table = this.#table;
    for (const key of keys) {
      const result = peek(this.#cache, key, now());
      const found = table.state[OUTCOME] !== IS.MISS;
      const value = this.#value(result);
      if (found) fn.call(thisp, value, key, this);
    }
  }

  /** Passes keys to Rust, as one string where they are all strings. */
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
  #read(places, count, payloads, readAgain) {
    const { values, state } = this.#table;
    const reader = new ListReader(values, payloads, state[SLOT], readAgain);
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
            reader ??= new ListReader(values, payloads, table.state[SLOT], (at) =>
              cache.peek(keys[at]),
            );
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

module.exports = { LRUCache, bulk, openCache };
