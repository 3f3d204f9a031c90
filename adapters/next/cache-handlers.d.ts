import type { CacheHandler } from 'next/dist/server/lib/cache-handlers/types';
import LRUCache = require('../../index.js');

/** What the option `cacheHandlers` of Next.js takes. */
declare const handler: handler.Handler;

declare namespace handler {
  /** A handler of Next.js 16. */
  interface Handler extends CacheHandler {
    /** A handler over a cache with options, to be exported by a file of the application. */
    withOptions(options?: HandlerOptions): Handler;
  }

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

export = handler;
