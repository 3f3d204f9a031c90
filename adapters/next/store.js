'use strict';

// What the two handlers of Next.js have in common: entries with tags, and when tags were invalidated.

const v8 = require('node:v8');

const { openCache } = require('../cache.js');

const VALID = 'valid';
const STALE = 'stale';
const EXPIRED = 'expired';

const MAX_SIZE = 256 * 1024 * 1024;

/** What each worker keeps near: a page is long, and Next.js's own handler keeps 50 MiB in each. */
const NEAR = 32 * 1024 * 1024;

class Store {
  #cache;
  /** In a namespace of their own without limits: an evicted time would make entries valid that are not. */
  #tags;

  constructor(defaultNamespace, { namespace = defaultNamespace, timeout = 2000, ...options } = {}) {
    this.#cache = openCache({ maxSize: MAX_SIZE, near: NEAR }, { ...options, namespace, timeout });
    this.#tags = openCache({}, { namespace: `${namespace}:tags`, timeout });
  }

  async get(key) {
    const text = await this.#cache.get(key);
    return text === undefined ? undefined : v8.deserialize(Buffer.from(text, 'latin1'));
  }

  /** Stores an entry as a text: of objects that a primary keeps by reference nobody knows the size. */
  async set(key, entry, maxAge = Infinity) {
    await this.#cache.set(key, v8.serialize(entry).toString('latin1'), { maxAge });
  }

  /**
   * Makes entries with these tags that are there now invalid: expired; with `durations` stale, and expired `durations.expire` seconds
   * later, if that is given.
   */
  async invalidate(tags, durations) {
    const now = Date.now();
    // What was begun within this millisecond counts as older.
    const before = now + 1;
    await Promise.all(
      tags.map((tag) =>
        // `times`: what was begun before `expired` is expired; what was begun before `stale` is stale, and from `expires` on expired.
        this.#tags.update(tag, (times = {}) => {
          if (!durations) return { ...times, expired: Math.max(times.expired ?? 0, before) };
          const stale = Math.max(times.stale ?? 0, before);
          return { expired: times.expired, stale, expires: now + durations.expire * 1000 };
        }),
      ),
    );
  }

  /** What an entry with these tags is whose making was begun at `begun`. */
  async stateOf(tags, begun) {
    if (tags.length === 0) return VALID;
    let state = VALID;
    for (const times of await this.#tags.getMany(tags)) {
      if (times === undefined) continue;
      const isStale = times.stale > begun;
      // Without `durations.expire` the time is `NaN`, or `null` where it was JSON.
      const isOver = typeof times.expires === 'number' && times.expires <= Date.now();
      if (times.expired > begun || (isStale && isOver)) return EXPIRED;
      if (isStale) state = STALE;
    }
    return state;
  }
}

module.exports = { EXPIRED, STALE, Store };
