import type { Driver } from 'unstorage';
import LRUCache = require('../index.js');

/** Options of the cache, and an age for all items. */
export interface LRUCacheDriverOptions extends Omit<LRUCache.Options, 'failsafe' | 'ttl'> {
  /** Seconds that an item stays that is set without a `ttl`. Without either it stays. */
  ttl?: number | undefined;
}

/**
 * A driver of unstorage whose items all processes share. The default of `namespace` is `'unstorage'`.
 *
 * `ttl` of a call is in seconds. `getMeta` gives `mtime` of items that have an age, and for how many seconds they stay.
 */
export function lruCacheDriver(
  options?: LRUCacheDriverOptions,
): Driver<Omit<LRUCache.Options, 'failsafe'>, LRUCache>;
