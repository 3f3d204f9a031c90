'use strict';

// A store of express-session whose sessions all processes share.

const { clear, openCache, requirePeer } = require('./cache.js');

const { Store } = requirePeer(
  'express-session',
  'express-session',
  '1',
  () => require('express-session/package.json'),
  (major) => (major === 1 ? require('express-session') : undefined),
);

/** Milliseconds that a session stays whose cookie has no end. */
const DAY = 86_400_000;

class LRUCacheStore extends Store {
  #cache;
  #prefix;

  constructor({ prefix = 'sess:', ...options } = {}) {
    super();
    const maxAge = options.maxAge ?? options.ttl ?? DAY;
    // Expired sessions are removed every minute: nobody asks for them any more.
    const defaults = { namespace: 'express-session', prune: '0 * * * * *' };
    // A session that has expired is never given: no `stale`.
    this.#cache = openCache(defaults, { ...options, maxAge, stale: false });
    this.#prefix = prefix;
  }

  get(sid, callback) {
    answer(this.#get(sid), callback);
  }

  set(sid, session, callback) {
    answer(this.#set(sid, session), callback);
  }

  destroy(sid, callback) {
    answer(this.#destroy(sid), callback);
  }

  /** The session stays for the age of its cookie from now on. Nothing is written, so no write of another request is lost. */
  touch(sid, session, callback) {
    answer(this.#touch(sid, session), callback);
  }

  all(callback) {
    answer(this.#all(), callback);
  }

  length(callback) {
    answer(this.#length(), callback);
  }

  clear(callback) {
    answer(clear(this.#cache, this.#prefix), callback);
  }

  async #get(sid) {
    const entry = await this.#cache.getEntry(this.#prefix + sid);
    if (entry === undefined) return null;
    const session = JSON.parse(entry.value);
    // `touch` has changed the age alone. With the old end, which may have passed, `req.session.save()` would destroy the session.
    if (session.cookie?.expires) session.cookie.expires = new Date(entry.expires).toISOString();
    return session;
  }

  async #set(sid, session) {
    const maxAge = ageOf(session);
    if (maxAge <= 0) return this.#destroy(sid);
    // As text: the application goes on with its object, also where the cache keeps values by reference.
    const text = JSON.stringify(session);
    if (await this.#cache.set(this.#prefix + sid, text, { maxAge })) return;
    throw new Error(
      `The session was not stored: its ${text.length} characters are more than maxSize or maxEntrySize allow`,
    );
  }

  async #destroy(sid) {
    await this.#cache.del(this.#prefix + sid);
  }

  async #touch(sid, session) {
    const maxAge = ageOf(session);
    if (maxAge <= 0) await this.#destroy(sid);
    else await this.#cache.touch(this.#prefix + sid, maxAge);
  }

  async #all() {
    const entries = await this.#cache.entries({ prefix: this.#prefix });
    return entries.map(([key, text]) => ({
      id: key.slice(this.#prefix.length),
      ...JSON.parse(text),
    }));
  }

  async #length() {
    const keys = await this.#cache.keys({ prefix: this.#prefix });
    return keys.length;
  }

  /** Lets this store go: later calls fail. The sessions stay. */
  close() {
    return this.#cache.close();
  }
}

/** Milliseconds up to the end of the cookie of a session; `undefined` where it has none: the age of the cache. */
function ageOf({ cookie }) {
  if (!cookie?.expires) return undefined;
  return new Date(cookie.expires).getTime() - Date.now();
}

/** Calls back with what a Promise gives, or with its error. */
function answer(promise, callback = () => {}) {
  promise.then(
    // Not within the Promise: what the callback throws is the application's.
    (value) => process.nextTick(callback, null, value),
    (error) => process.nextTick(callback, error),
  );
}

module.exports = { LRUCacheStore };
