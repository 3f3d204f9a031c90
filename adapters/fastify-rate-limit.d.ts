import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit';
import LRUCache = require('../index.js');

/** Makes a store class for `@fastify/rate-limit` whose counters all processes share. */
declare function createStore(options?: Omit<LRUCache.Options, 'failsafe'>): createStore.StoreClass;

declare namespace createStore {
  /** What the option `store` of `@fastify/rate-limit` takes. */
  interface StoreClass extends FastifyRateLimitStoreCtor {
    new (options: { continueExceeding?: boolean; exponentialBackoff?: boolean }): RateLimitStore;
  }

  /** A store as `@fastify/rate-limit` uses it. */
  interface RateLimitStore extends FastifyRateLimitStore {
    /** What was counted, for `{ increment: false }`; it counts nothing. */
    read(
      key: string,
      callback: (error: Error | null, result?: { current: number; ttl: number }) => void,
      timeWindow?: number,
      max?: number,
    ): void;
  }
}

export = createStore;
