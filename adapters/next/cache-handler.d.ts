import type { CacheHandler } from 'next/dist/server/lib/incremental-cache';
import LRUCache = require('../../index.js');

/** What the option `cacheHandler` of Next.js takes. */
declare class LRUCacheHandler extends CacheHandler {
  /** A handler over a cache with options, to be exported by a file of the application. */
  static withOptions(options?: LRUCacheHandler.HandlerOptions): typeof LRUCacheHandler;
}

declare namespace LRUCacheHandler {
  /** Options of the cache. */
  interface HandlerOptions extends Omit<LRUCache.Options, 'failsafe'> {
    /**
     * As in a cache.
     *
     * @defaultValue 256 MiB
     */
    maxSize?: number | undefined;

    /**
     * As in a cache: how many bytes of what it has read lately each worker keeps near.
     *
     * @defaultValue 32 MiB
     */
    near?: number | boolean | undefined;
  }
}

export = LRUCacheHandler;
