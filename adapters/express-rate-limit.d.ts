import type { ClientRateLimitInfo, Options, Store } from 'express-rate-limit';
import LRUCache = require('../index.js');

/** Options of the cache, and the prefix of keys. */
export interface LRUCacheStoreOptions extends Omit<LRUCache.Options, 'failsafe'> {
  /**
   * What is put before each key. Limiters with one prefix in one namespace count together.
   *
   * @defaultValue The namespace and a colon
   */
  prefix?: string | undefined;
}

/** A store of `express-rate-limit` whose counters all processes share. The default of `namespace` is `'express-rate-limit'`. */
export class LRUCacheStore implements Store {
  constructor(options?: LRUCacheStoreOptions);

  /** `false`: all processes count in one cache. */
  readonly localKeys: false;

  /** What the store puts before each key. */
  readonly prefix: string;

  /** `express-rate-limit` calls it with its options. */
  init(options: Pick<Options, 'windowMs'>): void;

  /** Counts a hit; one step for all processes. */
  increment(key: string): Promise<ClientRateLimitInfo>;

  /** Takes a hit back. It begins no window, and the count does not go below 0. */
  decrement(key: string): Promise<void>;

  /** The count of a client, and when its window ends; `undefined` without a window. */
  get(key: string): Promise<ClientRateLimitInfo | undefined>;

  /** Ends the window of a client. */
  resetKey(key: string): Promise<void>;

  /** Ends all windows whose keys have this store's prefix. */
  resetAll(): Promise<void>;

  /** Lets this store go: later calls reject. The counters stay. */
  shutdown(): Promise<void>;
}
