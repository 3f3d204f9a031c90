import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit';
import LRUCache = require('../index.js');

/** A store as `@fastify/rate-limit` uses it. */
export interface RateLimitStore extends FastifyRateLimitStore {
  /** What was counted, for `{ increment: false }`; it counts nothing. */
  read(
    key: string,
    callback: (error: Error | null, result?: { current: number; ttl: number }) => void,
    timeWindow?: number,
    max?: number,
  ): void;
}

/** What the option `store` of `@fastify/rate-limit` takes. */
export interface RateLimitStoreClass extends FastifyRateLimitStoreCtor {
  new (options: { continueExceeding?: boolean; exponentialBackoff?: boolean }): RateLimitStore;
}

/**
 * Makes a store class for `@fastify/rate-limit` whose counters all processes share. The default of `namespace` is `'fastify-rate-limit'`.
 *
 * @param options - Options of the cache.
 */
export function createStore(options?: Omit<LRUCache.Options, 'failsafe'>): RateLimitStoreClass;
