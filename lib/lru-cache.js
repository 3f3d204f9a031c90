'use strict';

const { types } = require('util');
const v8 = require('v8');
const native = require('./native');

// The calls that must be fast: a constant is, a property of the addon's exports is not.
const { commands, del, get, getMany, has, incr, keep, peek, put, set } = native;

const { define } = require('./define');
const { CODES, makeError } = require('./errors');
const { KIND } = require('./kinds');
const { lruCacheOptions, optionJson } = require('./options');

/** What is in a table's `state`; see `src/addon/caches.rs`. */
const OUTCOME = 0;
const SLOT = 1;
const FREED = 2;
const FREED_SLOTS = 3;
const STATE_LENGTH = 64;

/** The place of a value of a list that lies in no slot, by its kind. */
const placeOf = (kind) => -1 - kind;

/** Marks a miss in `places`, or the next of the joined JSON. */
const MISS = placeOf(KIND.MISS);
const JOINED = placeOf(KIND.JOINED);

/** Say of a payload that it is the value itself, or that it stays here. */
const PLAIN = placeOf(KIND.PLAIN);
const STAYS = placeOf(KIND.SLOT);

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
function decode(kind, payload) {
  if (kind === KIND.JSON) return JSON.parse(payload);
  return kind === KIND.CLONE ? v8.deserialize(payload) : payload;
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
function decodeListed(kind, payload) {
  try {
    return decode(kind, payload);
  } catch {
    return undefined;
  }
}

/**
 * A value as a store has it that keeps copies: what it is, and the payload; `undefined` where JSON has no form for
 * it.
 */
function encode(value, how) {
  if (!staysHere(value) || typeof value === 'string') return [KIND.PLAIN, value];
  if (how === 'advanced') return [KIND.CLONE, v8.serialize(value)];
  const json = JSON.stringify(value);
  if (json === undefined) return undefined;
  // A Date is a string and a boxed number a number: as such they are stored.
  return json[0] === '{' || json[0] === '[' ? [KIND.JSON, json] : [KIND.PLAIN, JSON.parse(json)];
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

  constructor(cache, table, payloads) {
    this.#values = table.values;
    this.#payloads = payloads;
    const count = table.state[SLOT];
    if (count === 0) return;
    try {
      const joined = JSON.parse(payloads[payloads.length - 1]);
      if (joined.length === count) {
        this.#joined = joined;
        return;
      }
    } catch {
      // Something of it is damaged.
    }
    const apart = native.apart(cache);
    if (table.state[OUTCOME] === KIND.ERROR) throw makeError(apart);
    this.#payloads = apart;
  }

  /** The next value, whose place this is. */
  read(place) {
    if (place >= 0) return this.#values[place];
    if (place === MISS) return undefined;
    if (place !== JOINED) return decodeListed(placeOf(place), this.#payloads[this.#next++]);
    if (this.#joined !== undefined) return this.#joined[this.#nextJoined++];
    return decodeListed(KIND.JSON, this.#payloads[this.#next++]);
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
    if (outcome === KIND.ERROR) throw makeError(result);
    return result;
  }

  /** A result that is not finished yet; throws what is none. */
  #checked(result) {
    return this.#table.state[OUTCOME] === KIND.ERROR ? this.#finish(result) : result;
  }

  /** Finishes a call that gave a value, or what a command gives beside values. */
  #value(result) {
    const { state, values } = this.#table;
    const kind = state[OUTCOME];
    const value = kind === KIND.SLOT ? values[state[SLOT]] : result;
    if (state[FREED] > 0) this.#table.release();
    switch (kind) {
      case KIND.JSON:
      case KIND.CLONE:
        return decode(kind, result);
      case KIND.MISS:
        return undefined;
      case KIND.ERROR:
        throw makeError(result);
      default:
        return value;
    }
  }

  /** Finishes a call that gave a list. */
  #list(listed) {
    const [payloads, places = [], keys = [], numbers = []] = this.#checked(listed);
    const reader = new Reader(this.#cache, this.#table, payloads);
    const values = Array.from(places, (place) => reader.read(place));
    this.#finish(listed);
    return { keys: Array.from(keys), values, numbers };
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
    const kind = state[OUTCOME];
    if (kind === KIND.SLOT) values[state[SLOT]] = value;
    this.#finish(result);
    return kind !== KIND.MISS;
  }

  /** `set` of a copy. */
  #put(key, value, maxAge) {
    // What JSON has no form for is null, as in an array.
    const [kind, payload] = encode(value, this.#copies) ?? [KIND.PLAIN, null];
    const result = put(this.#cache, key, payload, maxAge || 0, now(), kind);
    const isStored = this.#table.state[OUTCOME] !== KIND.MISS;
    this.#finish(result);
    return isStored;
  }

  del(key) {
    this.#finish(del(this.#cache, key));
  }

  reset() {
    this.#finish(commands.reset(this.#cache, NaN));
  }

  prune() {
    this.#finish(commands.prune(this.#cache, now()));
  }

  keys() {
    return this.#list(commands.keys(this.#cache, NaN)).keys;
  }

  values() {
    return this.#list(commands.values(this.#cache, NaN)).values;
  }

  dump() {
    const { keys, values, numbers } = this.#list(commands.dump(this.#cache, now()));
    return keys.map((k, index) => ({ k, v: values[index], e: numbers[index] }));
  }

  load(entries) {
    if (!Array.isArray(entries)) {
      throw makeError([
        'TypeError',
        `load needs an array of entries as dump() gives them, got ${optionJson(entries)}`,
        CODES.INVALID_ARG_TYPE,
      ]);
    }
    const values = Array.from(entries, (entry) => entry.v);
    const keys = Array.from(entries, (entry) => entry.k);
    const expires = Float64Array.from(entries, (entry) => entry.e || 0);
    const places = this.#placesOf(values);
    const result = commands.load(this.#cache, now(), keys, values, places, expires);
    this.#keep(places, values);
    this.#finish(result);
  }

  pop() {
    const popped = this.#checked(commands.pop(this.#cache, NaN));
    if (popped === undefined) return this.#finish(null);
    const { keys, values, numbers } = this.#list(popped);
    return { key: keys[0], value: values[0], length: 1, now: numbers[0], maxAge: numbers[1] };
  }

  forEach(fn, thisp) {
    this.#visit(this.keys(), fn, thisp);
  }

  rforEach(fn, thisp) {
    this.#visit(this.keys().reverse(), fn, thisp);
  }

  get max() {
    return this.#finish(commands.max(this.#cache, NaN));
  }

  set max(value) {
    this.#finish(commands.max(this.#cache, NaN, optionJson(value)));
  }

  get maxSize() {
    return this.#finish(commands.maxSize(this.#cache, NaN));
  }

  set maxSize(value) {
    this.#finish(commands.maxSize(this.#cache, NaN, optionJson(value)));
  }

  get maxAge() {
    return this.#finish(commands.maxAge(this.#cache, NaN));
  }

  set maxAge(value) {
    this.#finish(commands.maxAge(this.#cache, NaN, optionJson(value)));
  }

  get allowStale() {
    return this.#finish(commands.allowStale(this.#cache, NaN));
  }

  set allowStale(value) {
    this.#finish(commands.allowStale(this.#cache, NaN, optionJson(Boolean(value))));
  }

  get length() {
    return this.#finish(commands.length(this.#cache, NaN));
  }

  get calculatedSize() {
    return this.#finish(native.size(this.#cache));
  }

  get itemCount() {
    return this.length;
  }

  /** Visits what is there now; an entry that went meanwhile is passed over. */
  #visit(keys, fn, thisp = this) {
    const table = this.#table;
    for (const key of keys) {
      const result = peek(this.#cache, key, now());
      const found = table.state[OUTCOME] !== KIND.MISS;
      const value = this.#value(result);
      if (found) fn.call(thisp, value, key, this);
    }
  }

  /** Passes keys to Rust, as one string if that can be. */
  #withKeys(keys, run) {
    const joined = join(keys);
    if (joined !== undefined) {
      const result = run(joined, keys.length);
      if (this.#table.state[OUTCOME] !== KIND.SPLIT) return result;
    }
    const copy = this.#keys(keys);
    return run(copy, copy.length);
  }

  /** A copy of a list of keys. */
  #keys(keys) {
    return this.#copies === undefined ? Array.from(keys) : Array.from(keys, sharedKey);
  }

  /** `setMany` of copies. */
  #putMany(keys, values, maxAge, ages) {
    const there = [];
    const places = [];
    const payloads = [];
    const own = ages && [];
    for (let index = 0; index < keys.length; index += 1) {
      const value = values[index];
      // In an object JSON leaves out what it has no form for.
      const isLeftOut = value === undefined && this.#copies === 'json';
      const encoded = isLeftOut ? undefined : encode(value, this.#copies);
      if (encoded === undefined) continue;
      there.push(keys[index]);
      places.push(placeOf(encoded[0]));
      payloads.push(encoded[1]);
      own?.push(ages[index] || undefined);
    }
    this.#finish(this.#mSet(there, payloads, Int32Array.from(places), maxAge || 0, own));
  }

  #mSet(keys, payloads, places, maxAge, ages) {
    const time = now();
    const run = (crossing) =>
      commands.mSet(this.#cache, time, crossing, payloads, places, maxAge, ages);
    return this.#withKeys(keys, run);
  }

  /** What Rust has to know of values that may stay here. */
  #placesOf(values) {
    return Int32Array.from(values, (value) => (staysHere(value) ? STAYS : PLAIN));
  }

  /** Keeps the values that Rust gave a slot. */
  #keep(places, values) {
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
        if (table.state[OUTCOME] === KIND.SPLIT) {
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
            reader ??= new Reader(id, table, payloads);
            value = reader.read(place);
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
        if (cache.#copies !== undefined) return cache.#putMany(keys, values, maxAge, ages);
        const places = cache.#placesOf(values);
        const own = ages?.map((age) => age || undefined);
        const result = cache.#mSet(keys, values, places, maxAge, own);
        cache.#keep(places, values);
        return cache.#finish(result);
      },
      delMany(cache, keys) {
        const run = (crossing, count) => commands.mDel(cache.#cache, NaN, crossing, count);
        cache.#finish(cache.#withKeys(keys, run));
      },
      /**
       * How a command runs on a cache here whose arguments need no conversion but for keys, numbers and settings as JSON:
       * a function of a cache and these arguments. Of a list it gives `{ keys, values, numbers }`.
       */
      command(name) {
        const run = commands[name];
        return (cache, ...args) => {
          const result = run(cache.#cache, now(), ...args);
          return cache.#table.state[OUTCOME] === KIND.LIST
            ? cache.#list(result)
            : cache.#value(result);
        };
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

module.exports = { STATE, LRUCache, Table, Opened, bulk, sharedKey };
