import type {
  IRateLimiterStoreOptions,
  RateLimiterRes,
  RateLimiterStoreAbstract,
} from 'rate-limiter-flexible';
import LRUCache = require('../index.js');

/** A limiter of `rate-limiter-flexible` whose points all processes share. */
declare class RateLimiterLRUCache extends RateLimiterStoreAbstract {
  constructor(options: RateLimiterLRUCache.LimiterOptions);

  /** Lets this limiter go: later calls reject. The points stay. */
  close(): Promise<void>;
}

declare namespace RateLimiterLRUCache {
  /** Options of a limiter with a store, and those of the cache. */
  interface LimiterOptions extends Omit<IRateLimiterStoreOptions, 'storeClient'> {
    /** Options of the cache. Limiters count apart where their `keyPrefix` or the `namespace` here differs. */
    cache?: Omit<LRUCache.Options, 'failsafe'> | undefined;
  }
}

export = RateLimiterLRUCache;
