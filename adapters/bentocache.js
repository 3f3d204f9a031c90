'use strict';

// A second tier (L2) of bentocache that all processes share. bentocache itself is not loaded: its driver is an interface.

const { clear, openCache } = require('./cache.js');

class LRUCacheDriver {
  type = 'l2';
  #cache;
  #prefix;

  /** @param {any} cache @param {string} prefix that of the keys, without the colon behind it */
  constructor(cache, prefix) {
    this.#cache = cache;
    this.#prefix = prefix;
  }

  #key(key) {
    return this.#prefix === '' ? key : `${this.#prefix}:${key}`;
  }

  /** A driver of the keys below a name. */
  namespace(name) {
    return new LRUCacheDriver(this.#cache, this.#key(name));
  }

  get(key) {
    return this.#cache.get(this.#key(key));
  }

  /** The value, which is removed in the same step. */
  pull(key) {
    return this.#cache.getAndDelete(this.#key(key));
  }

  /** `ttl` is in milliseconds; without one the value stays. */
  async set(key, value, ttl = Infinity) {
    if (typeof ttl !== 'number' || Number.isNaN(ttl)) {
      throw new TypeError(`ttl must be milliseconds, got ${String(ttl)}`);
    }
    if (ttl > 0) return this.#cache.set(this.#key(key), value, { maxAge: ttl });
    await this.#cache.del(this.#key(key));
    return true;
  }

  delete(key) {
    return this.#cache.delete(this.#key(key));
  }

  async deleteMany(keys) {
    await this.#cache.deleteMany(keys.map((key) => this.#key(key)));
    return true;
  }

  /** Removes the keys of this driver, and of those of its namespaces. */
  async clear() {
    await clear(this.#cache, this.#key(''));
  }

  /** Removes what has expired. Entries leave by themselves, too, where the cache has limits. */
  async prune() {
    await this.#cache.prune();
  }

  /** Lets the cache go, for the drivers of its namespaces, too. The entries stay. */
  disconnect() {
    return this.#cache.close();
  }
}

/** What `bentostore().useL2Layer()` takes. `options` are those of the cache, and the prefix of keys. */
function lruCacheDriver(options = {}) {
  const { prefix: own, ...ofCache } = options;
  return {
    options,
    factory({ prefix = '' }) {
      const cache = openCache({ namespace: 'bentocache' }, ofCache);
      return new LRUCacheDriver(cache, own ?? prefix);
    },
  };
}

module.exports = { lruCacheDriver };
