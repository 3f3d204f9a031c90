'use strict';

/**
 * A view of a cache whose values are encoded on their way in and decoded on their way out, as 2.x of `lru-cache-clustered` has it.
 * `encode` and `decode` may be asynchronous. Calls that concern no value are those of the cache.
 *
 * @param {any} cache
 * @param {{ encode: (value: any) => any, decode: (raw: any) => any }} codec
 */
function wrap(cache, { encode, decode }) {
  const decoded = async (raw) => (raw === undefined ? undefined : decode(raw));
  const all = (list) => Promise.all(list);
  return {
    cache,
    namespace: cache.namespace,
    get ready() {
      return cache.ready;
    },

    get: async (key, options) => decoded(await cache.get(key, options)),
    peek: async (key, options) => decoded(await cache.peek(key, options)),
    has: (key, options) => cache.has(key, options),
    set: async (key, value, options) => cache.set(key, await encode(value), options),
    setIfAbsent: async (key, value, options) =>
      cache.setIfAbsent(key, await encode(value), options),
    delete: (key) => cache.delete(key),
    getRemainingTTL: (key) => cache.getRemainingTTL(key),

    async mGet(keys, options) {
      const found = await cache.mGet(keys, options);
      const pairs = found instanceof Map ? [...found] : Object.entries(found ?? {});
      return new Map(await all(pairs.map(async ([key, raw]) => [key, await decoded(raw)])));
    },
    async mSet(entries, options) {
      const encoded = Array.from(entries, async ([key, value, ...own]) => [
        key,
        await encode(value),
        ...own,
      ]);
      return cache.mSet(await all(encoded), options);
    },
    mDelete: (keys) => cache.mDelete(keys),

    keys: () => cache.keys(),
    values: async () => all(((await cache.values()) ?? []).map(decoded)),
    async entries() {
      const entries = (await cache.entries()) ?? [];
      return all(entries.map(async ([key, raw]) => [key, await decode(raw)]));
    },
    async *[Symbol.asyncIterator]() {
      yield* await this.entries();
    },
    size: () => cache.size(),

    clear: () => cache.clear(),
    destroy: () => cache.destroy(),
    healthCheck: () => cache.healthCheck(),
    purgeStale: () => cache.purgeStale(),
    stats: () => cache.stats(),
  };
}

module.exports = { wrap };
