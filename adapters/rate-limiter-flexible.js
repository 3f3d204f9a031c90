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

/** rate-limiter-flexible, which the application installs. Only its types, not its index, have the abstract class. */
function peer() {
  let version;
  try {
    ({ version } = require('rate-limiter-flexible/package.json'));
    if (parseInt(version, 10) >= 5) {
      const RateLimiterStoreAbstract = require('rate-limiter-flexible/lib/RateLimiterStoreAbstract');
      return { ...require('rate-limiter-flexible'), RateLimiterStoreAbstract };
    }
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
  }
  throw new Error(
    `lru-cache-for-clusters-as-promised/rate-limiter-flexible needs the package rate-limiter-flexible, version 5 to 11 (found: ${version ?? 'none'}): npm install rate-limiter-flexible`,
  );
}

module.exports = { RateLimiterLRUCache };
