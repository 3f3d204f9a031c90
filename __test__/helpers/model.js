'use strict';

/**
 * What the calls beyond 1.x do, in plain JavaScript: one `Map`, least recent first. An entry that has expired, or whose tag was
 * invalidated, is not in it. Where a number of entries is the limit, no entry may have an age or a tag: then the cache has no others
 * than the model.
 */
class Model {
  #entries = new Map();
  #versions = 0;

  /**
   * @param {{ max?: number, maxAge?: number }} limits
   * @param {() => number} clock
   */
  constructor({ max = Infinity, maxAge = 0 }, clock) {
    this.max = max;
    this.maxAge = maxAge;
    this.clock = clock;
  }

  /** The entry of a key, if there is one that has not expired. */
  #find(key) {
    const entry = this.#entries.get(key);
    if (!entry || entry.maxAge === 0 || this.clock() - entry.setAt <= entry.maxAge) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  #use(key) {
    const entry = this.#find(key);
    if (entry) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  #times(maxAge) {
    return { maxAge, setAt: maxAge === 0 ? 0 : this.clock() };
  }

  /** @param {{ maxAge: number, setAt: number }} times */
  #store(key, value, times, tags = []) {
    this.#entries.delete(key);
    this.#versions += 1;
    const { maxAge, setAt } = times;
    this.#entries.set(key, { value, maxAge, setAt, tags, version: this.#versions });
    if (this.#entries.size > this.max) this.#entries.delete(this.#entries.keys().next().value);
  }

  /** All keys and entries that have not expired, most recent first. */
  #all({ prefix } = {}) {
    const fits = (key) =>
      prefix === undefined || (typeof key === 'string' && key.startsWith(prefix));
    const keys = [...this.#entries.keys()].filter((key) => fits(key) && this.#find(key));
    return keys.reverse().map((key) => [key, this.#entries.get(key)]);
  }

  /** What was given as an age or options. */
  static terms(given = {}) {
    if (typeof given === 'number') return { maxAge: given };
    const { maxAge, ttl, noUpdateTTL: keeps, tags } = given;
    return { maxAge: maxAge ?? ttl, keeps, tags: typeof tags === 'string' ? [tags] : tags };
  }

  /** @param given in `setMany`, that of the call: it counts where the entry's own says nothing */
  set(key, value, own, given) {
    const ours = Model.terms(own);
    const theirs = Model.terms(given);
    const maxAge = ours.maxAge ?? theirs.maxAge;
    const keeps = ours.keeps ?? theirs.keeps;
    const tags = ours.tags ?? theirs.tags;
    const running = keeps ? this.#find(key) : undefined;
    this.#store(key, value, running ?? this.#times(maxAge || this.maxAge), tags);
    return true;
  }

  get(key) {
    return this.#use(key)?.value;
  }

  peek(key) {
    return this.#find(key)?.value;
  }

  has(key) {
    return this.#find(key) !== undefined;
  }

  setIfAbsent(key, value, given) {
    return !this.#find(key) && this.set(key, value, given);
  }

  getEntry(key) {
    const entry = this.#use(key);
    if (!entry) return undefined;
    const { value, version, setAt, maxAge, tags } = entry;
    return { value, version, setAt, expires: maxAge === 0 ? Infinity : setAt + maxAge, tags };
  }

  #hasVersion(key, version) {
    return (this.#find(key)?.version ?? 0) === version;
  }

  compareAndSet(key, version, value, given) {
    return this.#hasVersion(key, version) && this.set(key, value, given);
  }

  compareAndDelete(key, version) {
    if (!this.#hasVersion(key, version)) return false;
    this.#entries.delete(key);
    return true;
  }

  update(key, fn, given) {
    const current = this.get(key);
    const value = fn(current);
    if (value === undefined) return current;
    this.set(key, value, given);
    return value;
  }

  getAndDelete(key) {
    const value = this.#find(key)?.value;
    this.#entries.delete(key);
    return value;
  }

  touch(key, given) {
    const { maxAge, keeps } = Model.terms(given);
    const entry = this.#use(key);
    if (!entry) return false;
    if (keeps) return true;
    this.#store(key, entry.value, this.#times(maxAge || entry.maxAge), entry.tags);
    return true;
  }

  getRemainingTTL(key) {
    const entry = this.#find(key);
    if (!entry) return 0;
    return entry.maxAge === 0 ? Infinity : entry.maxAge - (this.clock() - entry.setAt);
  }

  incr(key, amount = 1, given) {
    const { maxAge, keeps, tags } = Model.terms(given);
    const entry = this.#find(key);
    const counter = typeof entry?.value === 'number' ? entry : undefined;
    const sum = (counter?.value ?? 0) + amount;
    const running = keeps || maxAge ? counter : undefined;
    this.#store(key, sum, running ?? this.#times(maxAge || this.maxAge), tags);
    return sum;
  }

  hit(key, window, { amount = 1, ifPresent = false, limit = Infinity, whenOver } = {}) {
    const entry = this.#find(key);
    const running = typeof entry?.value === 'number' && entry.maxAge !== 0 ? entry : undefined;
    if (!running && ifPresent) return { count: 0, resetIn: 0, first: false };
    const before = running?.value ?? 0;
    const count = ifPresent ? Math.max(0, before + amount) : before + amount;
    let times = running ?? this.#times(window);
    if (count > limit && whenOver !== undefined) {
      if (whenOver === 'restart') times = this.#times(window);
      else if (whenOver === 'double') times = this.#times(window * 2 ** (count - limit - 1));
      else if (before <= limit) times = this.#times(whenOver);
    }
    this.#store(key, count, times);
    return { count, resetIn: this.getRemainingTTL(key), first: running === undefined };
  }

  getMany(keys) {
    return keys.map((key) => this.get(key));
  }

  hasMany(keys) {
    return keys.map((key) => this.has(key));
  }

  deleteMany(keys) {
    return keys.map((key) => this.has(key) && this.#entries.delete(key));
  }

  setMany(entries, given) {
    return entries.map(([key, value, own]) => this.set(key, value, own, given));
  }

  deletePrefix(prefix) {
    return this.deleteMany(this.keys({ prefix })).length;
  }

  entries(options) {
    return this.#all(options).map(([key, { value }]) => [key, value]);
  }

  keys(options) {
    return this.#all(options).map(([key]) => key);
  }

  invalidateTags(given) {
    const { tags } = Model.terms({ tags: given });
    for (const [key, entry] of this.#all())
      if (entry.tags.some((tag) => tags.includes(tag))) this.#entries.delete(key);
  }
}

module.exports = { Model };
