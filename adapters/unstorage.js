'use strict';

// A driver of unstorage whose items all processes share.

const { clear, openCache } = require('./cache.js');

const SLICE = 1000;

/** Items below a base have it, and a colon, before their names. */
function prefixOf(base) {
  return base && !base.endsWith(':') ? `${base}:` : (base ?? '');
}

function lruCacheDriver({ ttl: ttlOfAll, ...options } = {}) {
  // Structured clones, so that raw items keep their form.
  const cache = openCache({ namespace: 'unstorage', serialization: 'advanced' }, options);

  /** The age of an item, from seconds. */
  const termsOf = ({ ttl = ttlOfAll } = {}) => {
    if (ttl === undefined || ttl === null || ttl === 0) return { maxAge: Infinity };
    if (!(ttl > 0)) throw new TypeError(`ttl must be seconds, 0 or more, got ${String(ttl)}`);
    return { maxAge: ttl * 1000 };
  };

  const getItem = async (key) => (await cache.get(key)) ?? null;
  const setItem = async (key, value, given) => {
    await cache.set(key, value, termsOf(given));
  };

  return {
    name: 'lru-cache-for-clusters-as-promised',
    flags: { ttl: true },
    options,
    getInstance: () => cache,
    hasItem: (key) => cache.has(key),
    getItem,
    getItemRaw: getItem,
    async getItems(items) {
      const values = await cache.getMany(items.map(({ key }) => key));
      return items.map(({ key }, index) => ({ key, value: values[index] ?? null }));
    },
    setItem,
    setItemRaw: setItem,
    async setItems(items, given) {
      const entries = items.map((item) => [
        item.key,
        item.value,
        termsOf({ ...given, ...item.options }),
      ]);
      await cache.setMany(entries);
    },
    async removeItem(key) {
      await cache.del(key);
    },
    /** When an item was set, if it has an age, and for how many seconds it stays. */
    async getMeta(key) {
      const entry = await cache.getEntry(key);
      if (entry === undefined) return null;
      const { setAt, expires } = entry;
      return {
        ...(setAt > 0 && { mtime: new Date(setAt) }),
        ...(expires !== Infinity && { ttl: Math.max(0, (expires - Date.now()) / 1000) }),
      };
    },
    async getKeys(base) {
      const prefix = prefixOf(base);
      const found = new Set();
      let cursor;
      do {
        const slice = await cache.scan({ prefix, cursor, count: SLICE });
        for (const key of slice.keys) if (typeof key === 'string') found.add(key);
        ({ cursor } = slice);
      } while (cursor !== undefined);
      return [...found];
    },
    clear: (base) => clear(cache, prefixOf(base)),
    dispose: () => cache.close(),
  };
}

module.exports = { lruCacheDriver };
