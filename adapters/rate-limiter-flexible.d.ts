import type { IRateLimiterStoreOptions, RateLimiterStoreAbstract } from 'rate-limiter-flexible';
import LRUCache = require('../index.js');

/** Options of a limiter with a store, and those of the cache. */
export interface RateLimiterLRUCacheOptions extends Omit<IRateLimiterStoreOptions, 'storeClient'> {
  /**
   * Options of the cache. The default of `namespace` is `'rate-limiter-flexible'`. Limiters count apart where their `keyPrefix` differs, or the
   * namespace.
   */
  cache?: Omit<LRUCache.Options, 'failsafe'> | undefined;
}

/** A limiter of `rate-limiter-flexible` whose points all processes share. */
export class RateLimiterLRUCache extends RateLimiterStoreAbstract {
  constructor(options: RateLimiterLRUCacheOptions);

  /** Lets this limiter go: later calls reject. The points stay. */
  close(): Promise<void>;
}
