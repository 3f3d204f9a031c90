'use strict';

// What the option `cacheHandlers` of Next.js takes: results of functions with `'use cache'`, shared by all processes.

const { EXPIRED, STALE, Store } = require('./store.js');

/** A handler over a cache with these options. */
function withOptions(options) {
  /** The calls of `set` in this process that are not done, by key. */
  const pending = new Map();
  let opened;
  const store = () => (opened ??= new Store('next-use-cache', options));

  async function add(key, pendingEntry) {
    try {
      const { value, timestamp, ...entry } = await pendingEntry;
      const chunks = [];
      for await (const chunk of value) chunks.push(chunk);
      const begun = timestamp + clockDifference();
      const maxAge = begun + entry.expire * 1000 - Date.now();
      if (!(maxAge > 0)) return;
      await store().set(key, { ...entry, bytes: Buffer.concat(chunks), begun }, maxAge);
    } catch (error) {
      // What was made is given to those who wait for it all the same.
      console.warn('Failed to update the cache for', key, error);
    }
  }

  return {
    withOptions,

    async get(key, softTags) {
      await pending.get(key);
      try {
        const entry = await store().get(key);
        if (entry === undefined) return undefined;
        const { bytes, begun, revalidate, ...given } = entry;
        const state = await store().stateOf([...given.tags, ...softTags], begun);
        if (state === EXPIRED) return undefined;
        return {
          ...given,
          // Next.js gives what has a negative time once more, and makes it anew.
          revalidate: state === STALE ? -1 : revalidate,
          timestamp: begun - clockDifference(),
          value: streamOf(bytes),
        };
      } catch (error) {
        console.warn('Failed to read the cache for', key, error);
        return undefined;
      }
    },

    async set(key, pendingEntry) {
      const done = add(key, pendingEntry);
      pending.set(key, done);
      await done;
      if (pending.get(key) === done) pending.delete(key);
    },

    // All processes read the same times of tags.
    async refreshTags() {},

    /** `Infinity`: `get` is given the soft tags. */
    async getExpiration() {
      return Infinity;
    },

    async updateTags(tags, durations) {
      await store().invalidate(tags, durations);
    },
  };
}

/**
 * What the clock of the system is ahead of this process's own, which began at the start of the process. Entries of Next.js have times of
 * the own clock; what processes share has the system's.
 */
function clockDifference() {
  return Date.now() - (performance.timeOrigin + performance.now());
}

/** A stream of bytes of its own. */
function streamOf(bytes) {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(bytes));
      controller.close();
    },
  });
}

module.exports = withOptions();
// Said once more, so that Node.js finds the name for `import { withOptions }`.
module.exports.withOptions = withOptions;
