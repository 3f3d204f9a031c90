'use strict';

// A limiter of `rate-limiter-flexible` whose points all processes share.

const { openCache, requirePeer } = require('./cache.js');

// Its index has the class of results, and only its types have the abstract class.
const { RateLimiterRes, RateLimiterStoreAbstract } = requirePeer(
  'rate-limiter-flexible',
  'rate-limiter-flexible',
  '5 to 11',
  () => require('rate-limiter-flexible/package.json'),
  (major) => {
    if (!(major >= 5)) return undefined;
    const RateLimiterStoreAbstract = require('rate-limiter-flexible/lib/RateLimiterStoreAbstract');
    return { ...require('rate-limiter-flexible'), RateLimiterStoreAbstract };
  },
);

class RateLimiterLRUCache extends RateLimiterStoreAbstract {
  #cache;

  constructor({ cache, ...options } = {}) {
    super(options);
    // Expired keys are removed every minute: without limits nothing else removes those that are not asked for again.
    const defaults = { namespace: 'rate-limiter-flexible', prune: '0 * * * * *' };
    this.#cache = openCache(defaults, cache);
  }

  /** Lets this limiter go: later calls reject. The points stay. */
  close() {
    return this.#cache.close();
  }

  // The results of these three are a `Hit`; `_getRateLimiterRes` makes of it what callers get.

  async _upsert(key, points, duration, forceExpire = false) {
    const window = duration > 0 ? duration : Infinity;
    if (!forceExpire) return this.#cache.hit(key, window, { amount: points });
    await this.#cache.set(key, points, { maxAge: window });
    return { count: points, resetIn: window, first: true };
  }

  async _get(key) {
    const entry = await this.#cache.getEntry(key);
    if (entry === undefined) return null;
    return { count: entry.value, resetIn: Math.max(0, entry.expires - Date.now()), first: false };
  }

  _delete(key) {
    return this.#cache.delete(key);
  }

  _getRateLimiterRes(key, changedPoints, { count, resetIn, first }) {
    const remaining = Math.max(0, this.points - count);
    // -1: never.
    return new RateLimiterRes(remaining, resetIn === Infinity ? -1 : resetIn, count, first);
  }
}

module.exports = { RateLimiterLRUCache };
