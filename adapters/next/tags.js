'use strict';

// When tags were invalidated: what the two handlers of Next.js ask before they give an entry. Tags have a namespace of their own without
// limits, since an evicted time would make entries valid that are not.

const LRUCache = require('../../index.js');

const VALID = 'valid';
const STALE = 'stale';
const EXPIRED = 'expired';

class Tags {
  #cache;

  constructor(namespace, timeout) {
    this.#cache = new LRUCache({ namespace: `${namespace}:tags`, timeout, failsafe: 'reject' });
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
        // `times`: what began before `expired` is expired; what began before `stale` is stale, and from `expires` on expired.
        this.#cache.update(tag, (times = {}) => {
          if (!durations) return { ...times, expired: Math.max(times.expired ?? 0, before) };
          const stale = Math.max(times.stale ?? 0, before);
          return { expired: times.expired, stale, expires: now + durations.expire * 1000 };
        }),
      ),
    );
  }

  /** What an entry with these tags is whose making began at `begun`. */
  async stateOf(tags, begun) {
    if (tags.length === 0) return VALID;
    let state = VALID;
    for (const times of await this.#cache.getMany(tags)) {
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

module.exports = { EXPIRED, STALE, Tags };
