'use strict';

// A store of `express-rate-limit` whose counters all processes share.

const { clear, openCache } = require('./cache.js');

class LRUCacheStore {
  #cache;
  #window;

  /** Other limiters, and other processes, count in the same cache. */
  localKeys = false;

  constructor({ prefix, ...options } = {}) {
    // Expired counters are removed every minute: without limits nothing else removes those that are not asked for again.
    const defaults = { namespace: 'express-rate-limit', prune: '0 * * * * *' };
    this.#cache = openCache(defaults, options);
    // express-rate-limit takes two keys for one where the prefixes are the same, so the namespace is part of it.
    this.prefix = prefix ?? `${this.#cache.namespace}:`;
  }

  init({ windowMs }) {
    this.#window = windowMs;
  }

  async increment(key) {
    const { count, resetIn } = await this.#cache.hit(this.prefix + key, this.#window);
    return infoOf(count, Date.now() + resetIn);
  }

  async decrement(key) {
    await this.#cache.hit(this.prefix + key, this.#window, { amount: -1, ifPresent: true });
  }

  async get(key) {
    const entry = await this.#cache.getEntry(this.prefix + key);
    return entry && infoOf(entry.value, entry.expires);
  }

  async resetKey(key) {
    await this.#cache.del(this.prefix + key);
  }

  async resetAll() {
    await clear(this.#cache, this.prefix);
  }

  shutdown() {
    return this.#cache.close();
  }
}

/** A window without an end has no time at which it is reset. */
function infoOf(totalHits, expires) {
  return { totalHits, resetTime: expires === Infinity ? undefined : new Date(expires) };
}

module.exports = { LRUCacheStore };
