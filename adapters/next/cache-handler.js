'use strict';

// What the option `cacheHandler` of Next.js takes: pages, route handlers and the data of `fetch`, shared by all processes.

const { EXPIRED, STALE, Store } = require('./store.js');

const TAGS_HEADER = 'x-next-cache-tags';

/** A handler class over a cache with these options. Next.js makes an object of it for each request. */
function withOptions(options) {
  let store;

  return class LRUCacheHandler {
    static withOptions = withOptions;

    /** When this request first asked for a key that it has not stored since: its data is not older. */
    #asked = new Map();

    constructor() {
      store ??= new Store('next', options);
    }

    async get(key, context) {
      if (!this.#asked.has(key)) this.#asked.set(key, Date.now());
      try {
        const entry = await store.get(key);
        if (entry === undefined) return null;
        const { tags, begun, ...given } = entry;
        const { tags: asked = [], softTags = [] } = context;
        const state = await store.stateOf([...tags, ...asked, ...softTags], begun);
        if (state === EXPIRED) return null;
        return state === STALE ? stale(given, context) : given;
      } catch (error) {
        console.warn('Failed to read the cache for', key, error);
        return null;
      }
    }

    // Next.js reports what this rejects with, and goes on.
    async set(key, value, context) {
      const lastModified = Date.now();
      const begun = this.#asked.get(key) ?? lastModified;
      this.#asked.delete(key);
      const header = value?.headers?.[TAGS_HEADER];
      const tags = typeof header === 'string' ? header.split(',') : (context.tags ?? []);
      const { cacheControl } = context;
      await store.set(key, { value, lastModified, cacheControl, tags, begun });
    }

    async revalidateTag(tags, durations) {
      await store.invalidate([tags].flat(), durations);
    }

    resetRequestCache() {}
  };
}

/** An entry of such an age that Next.js gives it once more, and makes it anew. */
function stale({ value, lastModified, cacheControl }, context) {
  if (value?.kind === 'FETCH') {
    const revalidate = context.revalidate || value.revalidate || 0;
    return { value, lastModified: Date.now() - (revalidate + 1) * 1000 };
  }
  return {
    value,
    lastModified: Math.min(lastModified, Date.now() - 2000),
    // Without a time to revalidate, Next.js would take it for fresh at any age. The page that is made anew brings its own.
    cacheControl: { expire: undefined, ...cacheControl, revalidate: 1 },
  };
}

module.exports = withOptions();
// Said once more, so that Node.js finds the name for `import { withOptions }`.
module.exports.withOptions = withOptions;
