'use strict';

// Stores of Keyv whose entries all processes share: `KeyvStore` for Keyv 5, `Keyv6Store` for Keyv 6.

const { EventEmitter } = require('events');
const { clear, openCache } = require('./cache.js');

/** Keys that an iterator reads at a time. */
const SLICE = 1000;

/** Milliseconds: a span that is longer is a time, and a time that is earlier is a span. */
const LONGEST_SPAN = 1e12;
const EARLIEST_TIME = 1e11;

/** The cache of a store. Structured clones, so that a `BigInt` and a `Buffer` survive where Keyv does not serialize. */
function open(options) {
  return openCache({ namespace: 'keyv', serialization: 'advanced' }, options);
}

function reject(name, value, what) {
  throw new TypeError(`${name} must be ${what}, got ${String(value)}`);
}

/** The age of an entry, from a span; `undefined` is none. */
function ageOfSpan(ttl) {
  if (ttl === undefined || ttl === null || ttl === Infinity) return Infinity;
  if (typeof ttl === 'number' && ttl > 0 && ttl <= LONGEST_SPAN) return ttl;
  return reject('ttl', ttl, `milliseconds, more than 0 and at most ${LONGEST_SPAN}`);
}

/** The age of an entry, from the time at which it ends; `undefined` is never. 0 or less: it has ended. */
function ageOfTime(expires) {
  if (expires === undefined || expires === null || expires === Infinity) return Infinity;
  if (typeof expires === 'number' && expires >= EARLIEST_TIME) return expires - Date.now();
  return reject('expires', expires, 'a time in milliseconds since 1970, not a span');
}

/** Keys and values, in slices. */
async function* read(cache, prefix) {
  let cursor;
  do {
    const slice = await cache.scan({ prefix, cursor, count: SLICE });
    const keys = slice.keys.filter((key) => typeof key === 'string');
    const values = await cache.getMany(keys);
    for (const [index, value] of values.entries()) {
      // It may have ended meanwhile.
      if (value !== undefined) yield [keys[index], value];
    }
    ({ cursor } = slice);
  } while (cursor !== undefined);
}

/**
 * A store of Keyv 5, which gives keys with its namespace as their prefix, and ages in milliseconds. Keyv 6 bridges it.
 * It has no property `namespace` of its own: Keyv 6 would give keys without prefix to one that has.
 */
class KeyvStore extends EventEmitter {
  #cache;

  constructor(options) {
    super();
    this.#cache = open(options);
    // Keyv 5 iterates over stores of the dialects it knows.
    this.opts = { ...options, dialect: 'redis' };
  }

  get #prefix() {
    return this.namespace ? `${this.namespace}:` : '';
  }

  async get(key) {
    return this.#cache.get(key);
  }

  async getMany(keys) {
    return this.#cache.getMany(keys);
  }

  async set(key, value, ttl) {
    return this.#cache.set(key, value, { maxAge: ageOfSpan(ttl) });
  }

  async setMany(entries) {
    const pairs = entries.map(({ key, value, ttl }) => [key, value, { maxAge: ageOfSpan(ttl) }]);
    await this.#cache.setMany(pairs);
  }

  async delete(key) {
    return this.#cache.delete(key);
  }

  /** Whether any of them was there. */
  async deleteMany(keys) {
    return (await this.#cache.deleteMany(keys)).includes(true);
  }

  async has(key) {
    return this.#cache.has(key);
  }

  async hasMany(keys) {
    return this.#cache.hasMany(keys);
  }

  /** Removes the entries of the Keyv that this store is given to: those with its namespace. */
  async clear() {
    await clear(this.#cache, this.#prefix);
  }

  iterator(namespace) {
    return read(this.#cache, namespace ? `${namespace}:` : '');
  }

  async disconnect() {
    await this.#cache.close();
  }
}

/** A store of Keyv 6, which leaves namespaces to the store, and gives the times at which entries end. */
class Keyv6Store extends EventEmitter {
  #cache;

  /** Set by Keyv. @type {string | undefined} */
  namespace = undefined;

  constructor(options) {
    super();
    this.#cache = open(options);
  }

  /** Tells Keyv that ages are given as times. */
  get capabilities() {
    return { expires: true };
  }

  /** With its length: no prefix of a namespace is that of another. */
  get #prefix() {
    const { namespace } = this;
    return namespace ? `${namespace.length}:${namespace}:` : '';
  }

  #key(key) {
    return `${this.#prefix}${key}`;
  }

  #keys(keys) {
    const prefix = this.#prefix;
    return keys.map((key) => `${prefix}${key}`);
  }

  async get(key) {
    return this.#cache.get(this.#key(key));
  }

  async getMany(keys) {
    return this.#cache.getMany(this.#keys(keys));
  }

  async set(key, value, expires) {
    const maxAge = ageOfTime(expires);
    if (maxAge > 0) return this.#cache.set(this.#key(key), value, { maxAge });
    // It has ended already.
    await this.#cache.delete(this.#key(key));
    return true;
  }

  async setMany(entries) {
    return Promise.all(entries.map(({ key, value, expires }) => this.set(key, value, expires)));
  }

  async delete(key) {
    return this.#cache.delete(this.#key(key));
  }

  async deleteMany(keys) {
    return this.#cache.deleteMany(this.#keys(keys));
  }

  async has(key) {
    return this.#cache.has(this.#key(key));
  }

  async hasMany(keys) {
    return this.#cache.hasMany(this.#keys(keys));
  }

  /** Removes the entries of the namespace; all of them without one. */
  async clear() {
    await clear(this.#cache, this.#prefix);
  }

  async *iterator() {
    const prefix = this.#prefix;
    for await (const [key, value] of read(this.#cache, prefix)) {
      yield [key.slice(prefix.length), value];
    }
  }

  async disconnect() {
    await this.#cache.close();
  }
}

module.exports = { KeyvStore, Keyv6Store };
