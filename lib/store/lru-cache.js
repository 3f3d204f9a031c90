'use strict';

/**
 * The synchronous cache of this process. A call passes its arguments to Rust. Rust returns the result, and writes the kind
 * of the result into the `state` of the value table.
 */

const { types } = require('util');
const { isSystemClock } = require('../clock');
const native = require('../native/loader');

// The calls that must be fast: a constant is, a property of the addon's exports is not.
const { commands, del, get, getMany, has, incr, keep, peek, put, set } = native;

const { define } = require('../define');
const { CODES, makeError } = require('../errors');
const { KIND } = require('../kinds');
const {
  AGE_OPTIONS,
  ageOf,
  agesOf,
  allTermsJson,
  entryList,
  hitOptions,
  isOptions,
  listOf,
  lruCacheOptions,
  optionJson,
  prefixOf,
  prefixOption,
  scanOptions,
  tagList,
  termsJson,
} = require('../options');
const { statsOf } = require('../stats');
const { MISS: NEAR_MISS, flat } = require('../near/near-cache');
const {
  ListReader,
  MISS,
  decode,
  encode,
  isEncoded,
  isJson,
  isReference,
  placeOf,
  sharedKey,
} = require('./copies');
const { STATE, ValueTable } = require('./value-table');

const { FREED, OUTCOME, SLOT, USED, WANTED } = STATE;

/** Places of values that are passed to Rust: the value itself is passed, or the value is kept by reference. */
const PLAIN = placeOf(KIND.PLAIN);
const STAYS = placeOf(KIND.SLOT);

/** An array for the places of the values of a list, which Rust writes. `undefined` while a call uses it. @type {Int32Array | undefined} */
let spare = new Int32Array(128);

/** As `spare`, for one value: a new array is memory of its own as soon as Rust sees it. @type {Int32Array | undefined} */
let single = new Int32Array(1);

function takePlaces(count) {
  const places = spare && spare.length >= count ? spare : new Int32Array(2 * count);
  spare = undefined;
  return places;
}

/** The time for a call. `NaN`: Rust reads the system's clock, only where an entry has an age. */
function now() {
  return isSystemClock() ? NaN : Date.now();
}

/** Keys as one string, which crosses to Rust faster than many; `undefined` where they are not all strings. */
function join(keys) {
  if (types.isProxy(keys)) return undefined;
  for (let index = 0; index < keys.length; index += 1) {
    if (typeof keys[index] !== 'string') return undefined;
  }
  return keys.length > 0 ? keys.join('\0') : undefined;
}

/**
 * How a cache reads: through which near cache, if there is one, and whether objects are frozen.
 *
 * @typedef {{ cache: import('../near/near-cache').NearCache | undefined }} Near
 * @typedef {{ near?: Near, uses?: Near, frozen: boolean }} Reads `uses`: what records uses, though nothing is remembered
 */

/** What Rust writes of a lease beside a value. */
const leaseNumbers = new Float64Array(5);

/** Stands for near reads where there are none. @type {{ cache: any }} */
const NO_NEAR = Object.freeze({ cache: undefined });

/** @type {Reads} */
const PLAIN_READS = Object.freeze({ frozen: false });

/** What a cache is made over. */
class Backing {
  /**
   * @param {import('../native/loader').NativeCache} owner keeps the cache alive in Rust
   * @param {ValueTable} table the values that are kept by reference
   * @param {'json' | 'advanced'} [copies] how values are copied; without, they are kept by reference
   * @param {Reads} [reads] how values are read
   */
  constructor(owner, table, copies, reads = PLAIN_READS) {
    this.owner = owner;
    this.table = table;
    this.copies = copies;
    this.reads = reads;
  }
}

/**
 * A cache over one that Rust has already. The arguments are those of `Backing`.
 *
 * @param {'json' | 'advanced'} [copies]
 * @param {Reads} [reads]
 */
function openCache(owner, table, copies, reads) {
  return new LRUCache(new Backing(owner, table, copies, reads));
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
  #near;
  #uses;
  #frozen;

  constructor(options) {
    const { owner, table, copies, reads } = options instanceof Backing ? options : create(options);
    this.#owner = owner;
    this.#cache = owner.id;
    this.#table = table;
    this.#copies = copies;
    this.#near = reads.near ?? NO_NEAR;
    this.#uses = reads.uses ?? NO_NEAR;
    this.#frozen = reads.frozen;
    this.#table.cache ??= this.#cache;
  }

  /** Ends a call: drops freed values, throws an error. */
  #finish(result) {
    const table = this.#table;
    const outcome = table.state[OUTCOME];
    if (table.state[FREED] > 0) table.release();
    if (outcome === KIND.ERROR) throw makeError(result);
    return result;
  }

  /** The result of a call that `#finish` has still to end. An error is thrown. */
  #checked(result) {
    return this.#table.state[OUTCOME] === KIND.ERROR ? this.#finish(result) : result;
  }

  /** Ends a call that gave a value, or what a command gives beside values. */
  #value(result) {
    const { state, values } = this.#table;
    const kind = state[OUTCOME];
    const value = kind === KIND.SLOT ? values[state[SLOT]] : result;
    if (state[FREED] > 0) this.#table.release();
    switch (kind) {
      case KIND.JSON:
      case KIND.CLONE:
        return decode(kind, result, this.#frozen);
      case KIND.MISS:
        return undefined;
      case KIND.ERROR:
        throw makeError(result);
      default:
        return value;
    }
  }

  /** Ends a call that gave a list. */
  #list(listed) {
    const [payloads, places = [], keys = [], numbers = []] = this.#checked(listed);
    const reader = new ListReader(this.#cache, this.#table, payloads, this.#frozen);
    const values = Array.from(places, (place) => reader.read(place));
    this.#finish(listed);
    return { keys: Array.from(keys), values, numbers };
  }

  get(key) {
    const near = this.#near.cache;
    if (near !== undefined) return this.#read(near, get, key);
    const result = get(this.#cache, key, now());
    if (this.#table.state[USED] !== 0) this.#use();
    return this.#value(result);
  }

  /** Records the use of an entry that Rust has read without the lock. */
  #use() {
    const { found, state } = this.#table;
    state[USED] = 0;
    this.#uses.cache?.use(found[0], found[1]);
  }

  peek(key) {
    const near = this.#near.cache;
    if (near === undefined) return this.#value(peek(this.#cache, key, now()));
    return this.#read(near, peek, key);
  }

  /** What the next native call finds or stores is to be remembered. Returns what `begin` of near reads does. */
  #begin(near) {
    this.#table.state[WANTED] = 1;
    return near.begin();
  }

  /** Reads an entry by a native call, and remembers what it gave: near reads have been asked before. */
  #read(near, run, key) {
    const begun = this.#begin(near);
    const result = run(this.#cache, key, now());
    const { state } = this.#table;
    if (state[USED] !== 0) this.#use();
    // Near reads may make calls that change the state.
    const kind = state[OUTCOME];
    const slot = state[SLOT];
    const isFrozen = kind === KIND.JSON && this.#frozen;
    const value = isFrozen ? near.rememberFrozen(begun, key, result) : this.#value(result);
    if (isFrozen) {
      if (state[FREED] > 0) this.#table.release();
    } else if (kind === KIND.JSON) {
      near.rememberJson(begun, key, result);
    } else if (kind === KIND.SLOT) {
      near.rememberSlot(begun, key, slot);
    } else if (kind !== KIND.MISS && kind !== KIND.CLONE) {
      near.remember(begun, key, value);
    }
    return value;
  }

  has(key) {
    return this.#finish(has(this.#cache, key, now()));
  }

  set(key, value, maxAge = 0) {
    if (typeof maxAge === 'object' && maxAge !== null) {
      const [age, keepsAge, tags] = ageOf('set', maxAge);
      const terms = termsJson(keepsAge, tags);
      if (terms !== undefined) {
        const run = (payload, place, time) =>
          commands.set(this.#cache, time, key, payload, place, age || 0, terms);
        return this.#store(value, run);
      }
      maxAge = age ?? 0;
    }
    const { state, values } = this.#table;
    if (this.#copies !== undefined) return this.#put(key, value, maxAge);
    const run = isReference(value) ? keep : set;
    const near = this.#near.cache;
    const begun = near?.isHot(key) ? this.#begin(near) : undefined;
    const result = run(this.#cache, key, value, maxAge, now());
    const kind = state[OUTCOME];
    if (kind === KIND.SLOT) {
      values[state[SLOT]] = value;
      if (begun !== undefined) near.rememberSlot(begun, key, state[SLOT]);
    } else if (begun !== undefined && kind === KIND.PLAIN) {
      near.remember(begun, key, value);
    }
    this.#finish(result);
    return kind !== KIND.MISS;
  }

  /** `set` of a copy. */
  #put(key, value, maxAge) {
    /** @type {number} */
    let kind = KIND.PLAIN;
    let payload = value;
    // What JSON has no form for is null, as in an array.
    if (isEncoded(value)) [kind, payload] = encode(value, this.#copies) ?? [KIND.PLAIN, null];
    const near = this.#near.cache;
    const begun = near?.isHot(key) ? this.#begin(near) : undefined;
    const result = put(this.#cache, key, payload, maxAge || 0, now(), kind);
    const outcome = this.#table.state[OUTCOME];
    if (begun !== undefined && outcome === KIND.PLAIN) {
      if (kind === KIND.JSON) near.rememberJson(begun, key, payload);
      else if (kind === KIND.PLAIN) near.remember(begun, key, flat(payload));
    }
    this.#finish(result);
    return outcome !== KIND.MISS;
  }

  setIfAbsent(key, value, options) {
    const [maxAge, , tags] = ageOf('setIfAbsent', options);
    const terms = termsJson(false, tags);
    return this.#store(value, (payload, place, time) =>
      commands.setIfAbsent(this.#cache, time, key, payload, place, maxAge || 0, terms),
    );
  }

  getEntry(key) {
    const found = this.#checked(commands.getEntry(this.#cache, now(), key));
    if (found === undefined) return this.#finish(undefined);
    const { values, numbers } = this.#list(found);
    const [value, ...tags] = values;
    return { value, version: numbers[0], setAt: numbers[1], expires: numbers[2], tags };
  }

  compareAndSet(key, version, value, options) {
    return this.#compareAndSet(key, version, value, options) === true;
  }

  /** As `compareAndSet`; `undefined` where the value can never fit. */
  #compareAndSet(key, version, value, options) {
    const [maxAge, keepsAge, tags] = ageOf('compareAndSet', options);
    const terms = termsJson(keepsAge, tags);
    return this.#store(value, (payload, place, time) =>
      commands.compareAndSet(this.#cache, time, key, version, payload, place, maxAge || 0, terms),
    );
  }

  compareAndDelete(key, version) {
    return this.#finish(commands.compareAndDelete(this.#cache, now(), key, version));
  }

  /** How a value crosses: its kind and its payload. */
  #crossing(value) {
    if (this.#copies === undefined) return [isReference(value) ? KIND.SLOT : KIND.PLAIN, value];
    // What JSON has no form for is null, as in an array.
    return encode(value, this.#copies) ?? [KIND.PLAIN, null];
  }

  /** Runs a command that may store a value: `run` is given its payload, its place and the time. */
  #store(value, run) {
    const [kind, payload] = this.#crossing(value);
    const time = now();
    const places = single ?? new Int32Array(1);
    single = undefined;
    places[0] = placeOf(kind);
    const result = run(payload, places, time);
    if (places[0] >= 0) this.#table.values[places[0]] = value;
    single = places;
    return this.#finish(result);
  }

  setMany(entries, options) {
    const list = entryList('setMany', entries);
    const ages = agesOf('setMany', list, options);
    const crossing = list.map(([, value]) => this.#crossing(value));
    const places = Int32Array.from(crossing, ([kind]) => placeOf(kind));
    const payloads = crossing.map(([, payload]) => payload);
    const keys = list.map(([key]) => key);
    const result = this.#mSet(commands.setMany, keys, payloads, places, ages);
    this.#keep(
      places,
      list.map(([, value]) => value),
    );
    return this.#list(result).values;
  }

  getAndDelete(key) {
    return this.#value(commands.getAndDelete(this.#cache, now(), key));
  }

  touch(key, maxAge) {
    const [age, keepsAge] = ageOf('touch', maxAge, AGE_OPTIONS);
    const flag = keepsAge ? 'true' : undefined;
    return this.#finish(commands.touch(this.#cache, now(), key, age || 0, flag));
  }

  getRemainingTTL(key) {
    return this.#finish(commands.getRemainingTTL(this.#cache, now(), key));
  }

  hit(key, window, options) {
    const { amount, ifPresent, limit, whenOver } = hitOptions(options);
    const flag = String(ifPresent === true);
    const over = whenOver === undefined ? undefined : optionJson(whenOver);
    const { numbers, values } = this.#list(
      commands.hit(this.#cache, now(), key, window, amount, flag, limit, over),
    );
    return { count: numbers[0], resetIn: numbers[1], first: values[0] };
  }

  getMany(keys) {
    return this.#many(commands.getMany, 'getMany', keys);
  }

  hasMany(keys) {
    return this.#many(commands.hasMany, 'hasMany', keys);
  }

  deleteMany(keys) {
    return this.#many(commands.deleteMany, 'deleteMany', keys);
  }

  deletePrefix(prefix) {
    prefixOf('deletePrefix', prefix);
    return this.#finish(commands.deletePrefix(this.#cache, now(), prefix));
  }

  scan(options) {
    const { keys, cursor } = this.#scan(options, false);
    return { keys, cursor };
  }

  /** A part of a scan: keys, values if they are wanted, and the cursor. */
  #scan(options, withValues) {
    const { prefix, cursor, count } = scanOptions(options);
    const flag = String(withValues);
    const scanned = commands.scan(this.#cache, now(), prefix, cursor, count, flag);
    const { keys, values } = this.#list(scanned);
    // The last value is the cursor.
    return { keys, cursor: values.pop(), values };
  }

  entries(options) {
    const prefix = prefixOption('entries', options);
    const { keys, values } = this.#list(commands.entries(this.#cache, now(), prefix));
    return keys.map((key, index) => [key, values[index]]);
  }

  /** What a command gives of each key. */
  #many(command, name, keys) {
    const time = now();
    const run = (crossing, count) => command(this.#cache, time, crossing, count);
    return this.#list(this.#withKeys(listOf(name, keys), run)).values;
  }

  del(key) {
    this.#near.cache?.forget(key);
    this.#finish(del(this.#cache, key));
  }

  reset() {
    this.#near.cache?.clear();
    this.#finish(commands.reset(this.#cache, NaN));
  }

  invalidateTags(tags) {
    const list = JSON.stringify(tagList('invalidateTags', tags));
    this.#finish(commands.invalidateTags(this.#cache, NaN, list));
  }

  prune() {
    this.#finish(commands.prune(this.#cache, now()));
  }

  keys(options) {
    if (!isOptions(options)) return this.#list(commands.keys(this.#cache, NaN)).keys;
    const prefix = prefixOption('keys', options);
    return this.#list(commands.keys(this.#cache, now(), 'true', prefix)).keys;
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

  stats() {
    return statsOf(this.#list(commands.stats(this.#cache, NaN)).numbers);
  }

  get calculatedSize() {
    return this.#finish(native.size(this.#cache));
  }

  get itemCount() {
    return this.length;
  }

  /** Visits the entries of these keys. An entry that was removed meanwhile is passed over. */
  #visit(keys, fn, thisp = this) {
    const table = this.#table;
    for (const key of keys) {
      const result = peek(this.#cache, key, now());
      const found = table.state[OUTCOME] !== KIND.MISS;
      const value = this.#value(result);
      if (found) fn.call(thisp, value, key, this);
    }
  }

  /** Passes keys to Rust, as one string where they are all strings. */
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
    const copy = [...keys];
    return this.#copies === undefined || !copy.includes(undefined) ? copy : copy.map(sharedKey);
  }

  /** `setMany` of copies. */
  #putMany(keys, values, { maxAge, ages, keeps, tags, own }) {
    const there = [];
    const places = [];
    const payloads = [];
    const ownAges = ages && [];
    const ownKeeps = keeps && [];
    const ownTags = own && [];
    for (let index = 0; index < keys.length; index += 1) {
      const value = values[index];
      // In an object JSON leaves out what it has no form for.
      const isLeftOut = value === undefined && this.#copies === 'json';
      const encoded = isLeftOut ? undefined : encode(value, this.#copies);
      if (encoded === undefined) continue;
      there.push(keys[index]);
      places.push(placeOf(encoded[0]));
      payloads.push(encoded[1]);
      ownAges?.push(ages[index]);
      ownKeeps?.push(keeps[index]);
      ownTags?.push(own[index]);
    }
    const stored = { maxAge, ages: ownAges, keeps: ownKeeps, tags, own: ownTags };
    this.#finish(this.#mSet(commands.mSet, there, payloads, Int32Array.from(places), stored));
  }

  /** As `bulk.getMany`, with what near reads remember; `undefined` where the keys have to be read by one native call. */
  #getManyNear(near, keys) {
    const batch = near.getMany(keys, this.#frozen);
    const { missing, values } = batch;
    if (missing.length > 0) {
      const table = this.#table;
      const found = missing.map((index) => keys[index]);
      const places = takePlaces(found.length);
      const time = now();
      const begun = this.#begin(near);
      const run = (crossing, count) => getMany(this.#cache, crossing, count, places, time);
      const payloads = this.#checked(this.#withKeys(found, run));
      // What near reads freeze they keep.
      const reader = new ListReader(this.#cache, table, payloads, false);
      for (let at = 0; at < found.length; at += 1) {
        const place = places[at];
        const value = place === MISS ? NEAR_MISS : reader.read(place);
        values[missing[at]] = value;
        if (place >= 0) near.rememberSlot(begun, found[at], place, at);
        else if (isJson(place))
          values[missing[at]] = near.rememberDecoded(begun, found[at], value, this.#frozen, at);
        else if (place !== MISS) near.remember(begun, found[at], value, at);
      }
      spare = places;
      const holds = near.recheck(batch);
      if (table.state[FREED] > 0) table.release();
      if (!holds) return undefined;
    }
    const pairs = {};
    for (let index = 0; index < keys.length; index += 1) {
      const value = values[index];
      if (value === NEAR_MISS) continue;
      const key = keys[index];
      if (key === '__proto__') define(pairs, key, value);
      else pairs[key] = value;
    }
    return pairs;
  }

  /** Runs a command that stores entries, with their ages and tags as `agesOf` gives them. */
  #mSet(command, keys, payloads, places, given) {
    const { maxAge, ages } = given;
    const time = now();
    const terms = allTermsJson(given);
    const run = (crossing) =>
      command(this.#cache, time, crossing, payloads, places, maxAge || 0, ages, terms);
    return this.#withKeys(keys, run);
  }

  /** A place for each value of a cache without copies: `STAYS` for a value that is kept by reference, else `PLAIN`. */
  #placesOf(values) {
    return Int32Array.from(values, (value) => (isReference(value) ? STAYS : PLAIN));
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
        const near = cache.#near.cache;
        if (near !== undefined) {
          const pairs = cache.#getManyNear(near, cache.#keys(keys));
          if (pairs !== undefined) return pairs;
        }
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
            reader ??= new ListReader(id, table, payloads, cache.#frozen);
            value = reader.read(place);
          }
          if (plain) pairs[keys[index]] = value;
          else define(pairs, keys[index], value);
        }
        spare = places;
        cache.#finish(payloads);
        return pairs;
      },
      /** Sets entries, with their ages as `agesOf` gives them. */
      setMany(cache, keys, values, ages) {
        if (cache.#copies !== undefined) return cache.#putMany(keys, values, ages);
        const places = cache.#placesOf(values);
        const result = cache.#mSet(commands.mSet, keys, values, places, ages);
        cache.#keep(places, values);
        return cache.#finish(result);
      },
      /** `compareAndSet`, with `undefined` where the value can never fit. */
      compareAndSet: (cache, key, version, value, options) =>
        cache.#compareAndSet(key, version, value, options),
      /** A part of a scan, with the values. */
      scanEntries(cache, options) {
        const { keys, cursor, values } = cache.#scan(options, true);
        return { entries: keys.map((key, index) => [key, values[index]]), cursor };
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
      /** Calls on leases, for `lib/store/leases.js`. `claim` and `look` give what Rust writes into `leaseNumbers`, and a value. */
      leases: {
        claim(cache, key, fresh, renews, timeout, process) {
          const run = (id, given, time) =>
            native.leaseClaim(id, given, time, leaseNumbers, fresh, renews, timeout, process);
          const near = cache.#near.cache;
          const value =
            near === undefined
              ? cache.#value(run(cache.#cache, key, now()))
              : cache.#read(near, run, key);
          const [state, token, setAt, expires, isPast] = leaseNumbers;
          return { state, token, value, setAt, expires, isPast: isPast === 1 };
        },
        /** 1 where the value was stored, 2 where one of the tags was invalidated after the claim, else 0. */
        settle(cache, key, token, value, maxAge, grace, tags) {
          const id = cache.#cache;
          const list = tags && JSON.stringify(tagList('fetch', tags));
          return cache.#store(value, (payload, place, time) =>
            native.leaseSettle(id, time, key, payload, place, token, maxAge || 0, grace, list),
          );
        },
        /** Leaves a value, or the text of an error. It is for other processes, so it is a copy. */
        leave(cache, key, token, value, isError, { ttl = 0, rest = 0, tags }) {
          const [kind, payload] = encode(value, cache.#copies ?? 'json') ?? [KIND.PLAIN, null];
          const place = Int32Array.of(placeOf(kind));
          const id = cache.#cache;
          const terms = isError ? ttl : tags && JSON.stringify(tagList('fetch', tags));
          return cache.#finish(
            native.leaseLeave(id, now(), key, payload, place, token, isError, terms, rest),
          );
        },
        release: (cache, key, token) =>
          cache.#finish(native.leaseRelease(cache.#cache, key, token)),
        /** For how many milliseconds the lease runs, 0 where it does not; and whether its end will be told. */
        join(cache, key, token, again = false) {
          cache.#finish(native.leaseJoin(cache.#cache, key, token, leaseNumbers, again));
          const [left, isTold] = leaseNumbers;
          return { left, isTold: isTold === 1 };
        },
        quit: (cache, key, token) => cache.#finish(native.leaseQuit(cache.#cache, key, token)),
        /** `reads`: the entry is read, too. `quits`: where the lease has ended, this process waits no more. */
        look(cache, key, token, reads, quits) {
          const run = (id, given, time) =>
            native.leaseLook(id, given, token, time, leaseNumbers, reads, quits);
          const near = reads ? cache.#near.cache : undefined;
          const value =
            near === undefined
              ? cache.#value(run(cache.#cache, key, now()))
              : cache.#read(near, run, key);
          return {
            state: leaseNumbers[0],
            value,
            isRead: leaseNumbers[1] === 1,
            setAt: leaseNumbers[2],
            expires: leaseNumbers[3],
          };
        },
        /** How many processes wait for a lease; below 0 where it does not run. */
        waiters: (cache, key, token) =>
          cache.#finish(native.leaseWaiters(cache.#cache, key, token)),
        /** A function that gives what a later `get` gives of a value that is stored. */
        copier(cache, value) {
          if (cache.#copies === undefined) return () => value;
          const [kind, payload] = cache.#crossing(value);
          return () => decode(kind, payload, cache.#frozen);
        },
      },
      /** Whether the application in the primary has this cache, and may have put functions on it. */
      isExposed: (cache) => cache.#finish(native.isExposed(cache.#cache)),
      /** Whether the namespace was destroyed. */
      isGone: (cache) => cache.#finish(native.isGone(cache.#cache)),
      /** How many entries calls of this process have evicted since the last time. */
      takeEvicted: (cache) => cache.#finish(native.takeEvicted(cache.#cache)),
      /** Runs a function; no other process's call comes between its calls on this cache, up to its first `await`. */
      atomically(cache, run) {
        cache.#finish(native.hold(cache.#cache));
        try {
          return run();
        } finally {
          cache.#finish(native.unhold(cache.#cache));
        }
      },
      /** `incr` or `decr`, as `name` says. */
      incr(cache, name, key, amount, given) {
        const [maxAge, keepsAge, tags] = ageOf(name, given);
        const terms = termsJson(keepsAge, tags);
        if (terms !== undefined) {
          const command = commands[name];
          return cache.#finish(command(cache.#cache, now(), key, amount, maxAge || 0, terms));
        }
        const by = name === 'decr' && typeof amount === 'number' ? -amount : amount;
        return cache.#finish(incr(cache.#cache, key, by, maxAge || 0, now()));
      },
    };
  }
}

module.exports = { LRUCache, bulk, openCache };
