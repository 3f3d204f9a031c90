'use strict';

// Makes a store class for `@fastify/rate-limit` whose counters all processes share.

const { openCache, requirePeer } = require('./cache.js');

function createStore(options) {
  // Version 9 calls stores with other arguments: its counts would be wrong.
  requirePeer(
    'fastify-rate-limit',
    '@fastify/rate-limit',
    '10 or 11',
    () => require('@fastify/rate-limit/package.json'),
    (major) => (major >= 10 ? true : undefined),
  );
  // Expired counters are removed every minute: without limits nothing else removes those that are not asked for again.
  const cache = openCache({ namespace: 'fastify-rate-limit', prune: '0 * * * * *' }, options);

  return class FastifyRateLimitStore {
    #whenOver;
    #prefix;
    /** How many children there are of each route. */
    #children = new Map();

    constructor({ continueExceeding, exponentialBackoff }, prefix = '[]') {
      if (continueExceeding) this.#whenOver = 'restart';
      else if (exponentialBackoff) this.#whenOver = 'double';
      this.#prefix = prefix;
    }

    incr(key, callback, window, max) {
      // A window of no time is over at once.
      if (window === 0) return callback(null, { current: 1, ttl: 0 });
      const over = this.#whenOver && { limit: max, whenOver: this.#whenOver };
      cache.hit(this.#prefix + key, window, over).then(
        ({ count, resetIn }) => callback(null, { current: count, ttl: resetIn }),
        (error) => callback(error),
      );
    }

    /** What `incr` has counted. */
    read(key, callback) {
      cache.getEntry(this.#prefix + key).then(
        (entry) => callback(null, stateOf(entry)),
        (error) => callback(error),
      );
    }

    /**
     * The store of a route with options of its own, which counts apart from all others. Limiters of one route, and those without a
     * route (`fastify.createRateLimit(options)`), are told apart by their order, which is the same in all processes.
     */
    child(routeOptions) {
      const { method, url } = routeOptions?.routeInfo ?? {};
      const route = JSON.stringify([method, url]);
      const nth = (this.#children.get(route) ?? 0) + 1;
      this.#children.set(route, nth);
      // No prefix begins with another one, so no key of one store is one of another.
      return new FastifyRateLimitStore(routeOptions ?? {}, JSON.stringify([method, url, nth]));
    }
  };
}

function stateOf(entry) {
  if (entry === undefined) return { current: 0, ttl: 0 };
  return { current: entry.value, ttl: Math.max(0, entry.expires - Date.now()) };
}

module.exports = { createStore };
