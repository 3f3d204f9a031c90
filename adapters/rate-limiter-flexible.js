'use strict';

// A limiter of `rate-limiter-flexible` whose points all processes share.

const LRUCache = require('../index.js');
const { RateLimiterRes, RateLimiterStoreAbstract } = peer();

class RateLimiterLRUCache extends RateLimiterStoreAbstract {
  #cache;

  constructor({ cache, ...options } = {}) {
    super(options);
    // Expired keys are removed every minute: without limits nothing else removes those that are not asked for again.
    const defaults = { namespace: 'rate-limiter-flexible', timeout: 2000, prune: '0 * * * * *' };
    this.#cache = new LRUCache({ ...defaults, ...cache, failsafe: 'reject' });
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

/** What is needed of `rate-limiter-flexible`. Its index has the class of results, and only its types have the abstract class. */
function peer() {
  try {
    const { RateLimiterRes } = require('rate-limiter-flexible');
    const RateLimiterStoreAbstract = require('rate-limiter-flexible/lib/RateLimiterStoreAbstract');
    return { RateLimiterRes, RateLimiterStoreAbstract };
  } catch (cause) {
    const message =
      'lru-cache-for-clusters-as-promised/rate-limiter-flexible needs rate-limiter-flexible 5 to 11: npm install rate-limiter-flexible';
    throw Object.assign(new Error(message, { cause }), { code: cause.code });
  }
}

module.exports = RateLimiterLRUCache;
