'use strict';

/**
 * `LRUCacheClustered`: the class with the results of `lru-cache-clustered` 2.x where they differ from those of 1.x.
 * `docs/from-2.x.md` says what differs. `index.js` passes its class, so that neither file needs the other.
 */

const { EventEmitter } = require('events');
const { CODES, makeError } = require('./errors');
const { DEFAULT_MAX } = require('./options');

/** The `max` of a cache without any bound, as 2.x has it. */
const MAX = 1000;

/** Options of 2.x whose value `false` says what this package does anyway. */
const OFF_ANYWAY = ['updateAgeOnGet', 'updateAgeOnHas', 'noDeleteOnStaleGet', 'ttlAutopurge'];

/** Refuses what 2.x refuses. */
function present(what, value) {
  if (value !== undefined && value !== null) return value;
  throw makeError([
    'TypeError',
    `cache ${what} must not be null or undefined`,
    CODES.INVALID_ARG_TYPE,
  ]);
}

const presentKeys = (keys) => Array.from(keys, (key) => present('key', key));

/** The options of a call that stores, as the class takes them. A `ttl` of 0 is no age; entries are counted by their bytes, not by `size`. */
function storing(options) {
  if (typeof options === 'number') return options === 0 ? Infinity : options;
  const { ttl, maxAge = ttl, noUpdateTTL, tags } = options ?? {};
  return { ttl: maxAge === 0 ? Infinity : maxAge, noUpdateTTL, tags };
}

/** The options of a counter, whose window runs on. @param {any} options */
function counting(options) {
  const given = typeof options === 'number' ? { ttl: options } : options;
  return { .../** @type {object} */ (storing(given)), noUpdateTTL: true };
}

/** Entries as `load` of 1.x takes them, from those of 1.x or from pairs of 2.x, the least recent first. */
function dumpOf(entries) {
  if (!Array.isArray(entries) || !entries.every(Array.isArray)) return entries;
  return entries.map(entryOf).reverse();
}

/** An entry of 1.x from a pair. @param {any[]} pair */
function entryOf([key, { value, ttl, start = Date.now() }]) {
  return { k: key, v: value, e: ttl > 0 && ttl < Infinity ? start + ttl : 0 };
}

/** A pair from an entry of 1.x. Of an age only what is left is known: it begins now. */
function pairOf({ k, v, e }) {
  const start = Date.now();
  return [k, e > 0 && e < Infinity ? { value: v, ttl: e - start, start } : { value: v }];
}

/** Which reads may be near ones, by the option `localL1`. */
function localOf(localL1) {
  const isOn = typeof localL1 === 'object' && localL1 !== null && localL1.enabled !== false;
  const { get = false, has = false } = (isOn && localL1.methods) || { get: true, has: true };
  return { isOn, get, has };
}

/** What `localStats` counts in this instance. */
const freshStats = () => ({ hits: 0, misses: 0, sets: 0, invalidations: 0 });

/**
 * The class over `Base`, the class of 1.x. `clientOf` gives the client of an instance.
 *
 * @param {any} Base
 * @param {(instance: any) => any} clientOf
 */
function clusteredOf(Base, clientOf) {
  return class LRUCacheClustered extends Base {
    #emitter = new EventEmitter();
    #local;
    #stats = freshStats();
    /** What an instance for reads past near reads is made with. */
    #plain;
    #direct;

    /** @param {any} options */
    constructor(options = {}) {
      const { localL1, ...given } = options;
      for (const name of OFF_ANYWAY) if (given[name] === false) delete given[name];
      const local = localOf(localL1);
      if (localL1 !== undefined && !local.isOn) given.near ??= false;
      super({ ...given, [DEFAULT_MAX]: MAX });
      this.#local = local;
      const { timeout, failsafe, serialization, freeze } = given;
      this.#plain = { namespace: this.namespace, timeout, failsafe, serialization, freeze };
    }

    static async getInstance(options) {
      const instance = new LRUCacheClustered(options);
      await clientOf(instance).ready;
      return instance;
    }

    static getAllCaches() {
      return new Map(Object.entries(super.getAllCaches()));
    }

    async get(key, options) {
      return this.#read('get', present('key', key), options);
    }

    async peek(key, options) {
      return this.#read('peek', present('key', key), options);
    }

    async has(key, options) {
      return this.#read('has', present('key', key), options);
    }

    async mGet(keys, options) {
      const list = presentKeys(keys);
      const from = this.#mayRead('get', options) ? this : this.#past();
      const values = await from.#values(list);
      return new Map(list.map((key, at) => [key, values[at]]));
    }

    /** Values in order. Keys of one type are told apart by their texts, so they can be near reads. */
    async #values(keys) {
      if (!keys.every((key) => typeof key === 'string')) return super.getMany(keys);
      const pairs = (await super.mGet(keys)) ?? {};
      return keys.map((key) => (Object.hasOwn(pairs, key) ? pairs[key] : undefined));
    }

    async set(key, value, options) {
      const stored = await super.set(
        present('key', key),
        present('value', value),
        storing(options),
      );
      this.#changed(key);
      return stored;
    }

    async setIfAbsent(key, value, options) {
      const given = storing(options);
      const stored = await super.setIfAbsent(present('key', key), present('value', value), given);
      this.#changed(key);
      return stored;
    }

    /** @param {any} options */
    async mSet(entries, options) {
      /** @type {any} */
      const common = typeof options === 'number' ? { ttl: options } : options;
      const list = Array.from(entries, ([key, value, own]) => {
        const each = typeof own === 'number' ? { ...common, ttl: own } : { ...common, ...own };
        return [present('key', key), present('value', value), storing(each)];
      });
      await super.mSet(list);
      this.#changed('*');
    }

    async delete(key) {
      const deleted = await super.delete(present('key', key));
      this.#changed(key);
      return deleted;
    }

    async mDelete(keys) {
      await super.mDelete(presentKeys(keys));
      this.#changed('*');
    }

    async clear() {
      await super.clear();
      this.#changed('*');
    }

    async incr(key, amount, options) {
      const sum = await super.incr(present('key', key), amount ?? 1, counting(options));
      this.#changed(key);
      return sum;
    }

    async decr(key, amount, options) {
      const sum = await super.decr(present('key', key), amount ?? 1, counting(options));
      this.#changed(key);
      return sum;
    }

    async getRemainingTTL(key) {
      return super.getRemainingTTL(present('key', key));
    }

    async max(max) {
      const now = await super.max(max);
      return now === Infinity ? 0 : now;
    }

    keys(options = {}) {
      return this.#orNone(super.keys(options));
    }

    entries(options) {
      return this.#orNone(super.entries(options));
    }

    async values() {
      return (await this.entries()).map(([, value]) => value);
    }

    async dump() {
      const dump = (await super.dump()) ?? [];
      return dump.map(pairOf).reverse();
    }

    async load(entries) {
      const list = dumpOf(entries);
      for (const { k, v } of list) {
        present('key', k);
        present('value', v);
      }
      await super.load(list);
      this.#changed('*');
    }

    /** `size` is the number of entries, as in 2.x; their bytes are `calculatedSize`. */
    async stats() {
      const stats = await super.stats();
      return { ...stats, size: stats.entries, calculatedSize: stats.size };
    }

    async healthCheck() {
      await super.healthCheck();
    }

    localStats() {
      if (!this.#local.isOn) return undefined;
      const { hits, misses, sets, invalidations } = this.#stats;
      const { entries } = clientOf(this).nearStats;
      const never = { evictions: 0, staleHits: 0 };
      const counted = { hits, misses, sets, invalidations };
      return { enabled: true, ...counted, ...never, size: entries, ipcAvoided: hits };
    }

    clearLocal() {
      clientOf(this).near?.clear();
      this.#changed('*');
    }

    invalidateLocal(key) {
      clientOf(this).near?.forget(key);
      this.#changed(key);
    }

    withoutLocal() {
      return this.#past();
    }

    on(event, listener) {
      this.#emitter.on(event, listener);
      return this;
    }

    off(event, listener) {
      this.#emitter.off(event, listener);
      return this;
    }

    once(event, listener) {
      this.#emitter.once(event, listener);
      return this;
    }

    /** A list; without an answer in time an empty one, as 2.x has it, where `failsafe` says so. */
    async #orNone(listing) {
      try {
        return await listing;
      } catch (error) {
        if (this.failsafe === 'reject' || error?.code !== CODES.TIMED_OUT) throw error;
        return [];
      }
    }

    /** Whether a read may be a near one. */
    #mayRead(name, options) {
      return options?.bypassL1 !== true && (!this.#local.isOn || this.#local[name]);
    }

    /** The instance whose reads go past near reads. */
    #past() {
      this.#direct ??= new LRUCacheClustered({ ...this.#plain, localL1: false, near: false });
      this.#direct.#direct = this.#direct;
      return this.#direct;
    }

    /** A read, and what it was for `localStats` and the events. */
    async #read(name, key, options) {
      const family = name === 'has' ? 'has' : 'get';
      if (!this.#mayRead(family, options)) return Base.prototype[name].call(this.#past(), key);
      if (!this.#local.isOn) return super[name](key);
      // A near read is made before the call returns.
      const before = clientOf(this).near?.hits;
      const reading = super[name](key);
      const isHit = before !== undefined && clientOf(this).near?.hits > before;
      this.#count(isHit ? 'hits' : 'misses', isHit ? 'l1:hit' : 'l1:miss', key);
      const value = await reading;
      if (!isHit && name !== 'has' && value !== undefined) this.#count('sets', 'l1:set', key);
      return value;
    }

    /** A call of this instance changed an entry; `'*'`: any. */
    #changed(key) {
      if (this.#local.isOn) this.#count('invalidations', 'l1:invalidate', key);
    }

    #count(counter, event, key) {
      this.#stats[counter] += 1;
      this.#emitter.emit(event, { namespace: this.namespace, key });
    }
  };
}

module.exports = { clusteredOf, dumpOf };
