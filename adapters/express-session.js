'use strict';

// A store of express-session whose sessions all processes share.

const LRUCache = require('../index.js');
const { Store } = peer();

/** Milliseconds that a session stays whose cookie has no end. */
const DAY = 86_400_000;

class LRUCacheStore extends Store {
  #cache;
  #prefix;

  constructor({ prefix = 'sess:', ...options } = {}) {
    super();
    const maxAge = options.maxAge ?? options.ttl ?? DAY;
    // Expired sessions are removed every minute: nobody asks for them any more.
    const defaults = { namespace: 'express-session', timeout: 2000, prune: '0 * * * * *' };
    // A session that has expired is never given: no `stale`.
    const fixed = { maxAge, stale: false, failsafe: 'reject' };
    this.#cache = new LRUCache({ ...defaults, ...options, ...fixed });
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
    answer(this.#clear(), callback);
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

  async #clear() {
    if (this.#prefix === '') await this.#cache.reset();
    else await this.#cache.deletePrefix(this.#prefix);
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

/** express-session, which the application installs. */
function peer() {
  let version;
  try {
    ({ version } = require('express-session/package.json'));
    if (parseInt(version, 10) === 1) return require('express-session');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
  }
  throw new Error(
    `lru-cache-for-clusters-as-promised/express-session needs the package express-session, version 1 (found: ${version ?? 'none'}): npm install express-session`,
  );
}

module.exports = { LRUCacheStore };
