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
    this.#cache = new LRUCache({ ...defaults, ...options, maxAge, failsafe: 'reject' });
    this.#prefix = prefix;
  }

  get(sid, callback) {
    const read = this.#cache.get(this.#prefix + sid);
    answer(
      read.then((text) => (text === undefined ? null : JSON.parse(text))),
      callback,
    );
  }

  set(sid, session, callback) {
    const maxAge = ageOf(session);
    if (maxAge !== undefined && !(maxAge > 0)) {
      this.destroy(sid, callback);
      return;
    }
    // As text: the application goes on with its object, also where the cache keeps values by reference.
    const text = JSON.stringify(session);
    answer(this.#cache.set(this.#prefix + sid, text, { maxAge }), callback, nothing);
  }

  destroy(sid, callback) {
    answer(this.#cache.del(this.#prefix + sid), callback, nothing);
  }

  /** The session stays for the age of its cookie from now on. It is written by nobody, so no write is lost. */
  touch(sid, session, callback) {
    const maxAge = ageOf(session);
    if (maxAge !== undefined && !(maxAge > 0)) this.destroy(sid, callback);
    else answer(this.#cache.touch(this.#prefix + sid, maxAge), callback, nothing);
  }

  all(callback) {
    const entries = this.#cache.entries({ prefix: this.#prefix });
    const sessionOf = ([key, text]) => ({
      id: key.slice(this.#prefix.length),
      ...JSON.parse(text),
    });
    answer(
      entries.then((all) => all.map(sessionOf)),
      callback,
    );
  }

  length(callback) {
    const keys = this.#cache.keys({ prefix: this.#prefix });
    answer(
      keys.then((all) => all.length),
      callback,
    );
  }

  clear(callback) {
    const cleared =
      this.#prefix === '' ? this.#cache.reset() : this.#cache.deletePrefix(this.#prefix);
    answer(cleared, callback, nothing);
  }

  /** Lets this store go: later calls fail. The sessions stay. */
  close() {
    return this.#cache.close();
  }
}

/** Milliseconds up to the end of the cookie of a session; `undefined` where it has none. */
function ageOf({ cookie }) {
  const expires = cookie?.expires;
  if (expires === undefined || expires === null || expires === false) return undefined;
  return new Date(expires).getTime() - Date.now();
}

const nothing = () => undefined;

/** Calls back with what a Promise gives, or with its error. */
function answer(promise, callback = nothing, result = (value) => value) {
  promise.then(
    // Not within the Promise: what the callback throws is the application's.
    (value) => process.nextTick(callback, null, result(value)),
    (error) => process.nextTick(callback, error),
  );
}

/** express-session, which the application installs. */
function peer() {
  try {
    return require('express-session');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(
      'lru-cache-for-clusters-as-promised/express-session needs the package express-session: npm install express-session',
      { cause: error },
    );
  }
}

module.exports = { LRUCacheStore };
