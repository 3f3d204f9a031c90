'use strict';

/** The native side of near reads as tests need it: a store in the memory that `NearCache` reads, with several rings. */

const GATE = 0;
const EPOCH = 1;
const TAGS = 2;
/** Numbers that `found` has of each key. */
const NUMBERS = 5;
const STAMP = 16;
const HEAD_WORDS = 16;
const RECORDS = 1024;
const MOST_RECORDS = 8192;
const CAPACITY = 6;

class Store {
  control = new Int32Array(32);
  versions = new Float64Array(1 << 20);
  /** Whether the lock is free. */
  free = true;
  applications = 0;
  /** By key: `{ row, value, json, used, expires }`. */
  #entries = new Map();
  #rows = [];
  #rings = [];
  #version = 2 ** 33;
  /** Uses beyond 32 bits, in order. */
  #full = 0;

  constructor(stamp = 0) {
    this.control[STAMP] = stamp;
    this.#full = stamp >>> 0;
  }

  /** The port of one more process. */
  attach({ withRing = true, head = 0 } = {}) {
    const ring = new ArrayBuffer(64 + MOST_RECORDS * 16);
    const words = new Int32Array(ring);
    words[0] = head;
    words[1] = head;
    words[CAPACITY] = RECORDS;
    const port = {
      control: this.control,
      versions: () => this.versions,
      ring: withRing ? ring : undefined,
      apply: () => this.apply(),
      found: new Float64Array(NUMBERS * 128),
    };
    if (withRing) this.#rings.push({ words, numbers: new Float64Array(ring) });
    return port;
  }

  /** The records of a ring that wait: `[row, version, stamp]`. */
  static waiting({ ring }) {
    const [words, numbers] = [new Int32Array(ring), new Float64Array(ring)];
    const records = [];
    for (let at = words[1]; at !== words[0]; at = (at + 1) | 0) {
      const place = HEAD_WORDS + (at & (words[CAPACITY] - 1)) * 4;
      records.push([words[place + 2], numbers[place >> 1], words[place + 3]]);
    }
    return records;
  }

  /** The full stamp of a 32-bit one: the latest that is not above the counter. */
  #extend(stamp) {
    const now = this.#now();
    return now - ((now - stamp) >>> 0);
  }

  #now() {
    this.#full += (this.control[STAMP] - this.#full) >>> 0;
    return this.#full;
  }

  apply() {
    this.applications += 1;
    if (!this.free) return;
    // Uses that begin later have stamps above the limit.
    const limit = this.#now();
    Atomics.add(this.control, STAMP, 1);
    const records = [];
    for (const { words, numbers } of this.#rings) {
      for (const [row, version, stamp] of Store.waiting({ ring: words.buffer })) {
        const full = this.#extend(stamp);
        if (full > limit) break;
        records.push({ row, version, stamp: full });
        words[1] = (words[1] + 1) | 0;
      }
      if (words[1] === words[0]) numbers.fill(NaN, HEAD_WORDS / 2);
    }
    records.sort((a, b) => a.stamp - b.stamp);
    for (const { row, version, stamp } of records) {
      const entry = this.#rows[row];
      if (this.versions[row] === version && stamp > entry.used) entry.used = stamp;
    }
  }

  /** One more use, now. */
  #use() {
    Atomics.add(this.control, STAMP, 1);
    return this.#now();
  }

  set(key, value, options = {}) {
    const { json, expires = Infinity, setAt, tags = [], version = (this.#version += 1) } = options;
    const before = this.#entries.get(key);
    const row = before?.row ?? this.#rows.length;
    this.versions[row] = 0;
    const entry = { key, row, value, json, expires, setAt, tags, used: this.#use() };
    this.#rows[row] = entry;
    this.#entries.set(key, entry);
    this.versions[row] = version;
  }

  delete(key) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.versions[entry.row] = 0;
    this.#entries.delete(key);
  }

  /** Ends the entries that have a tag: their versions stay. */
  invalidate(tag) {
    this.control[TAGS] += 1;
    for (const [key, { tags }] of this.#entries) {
      if (tags.includes(tag)) this.#entries.delete(key);
    }
  }

  /** A native read: the entry, which `found` tells about. */
  read({ found }, key, { place = 0, isUse = true } = {}) {
    const entry = this.#entries.get(key);
    found.fill(0, place * (place + 1) * NUMBERS);
    if (entry === undefined) return undefined;
    if (isUse) entry.used = this.#use();
    const tags = entry.tags.length > 0 ? this.control[TAGS] >>> 0 : -1;
    const { row, expires, setAt = 0 } = entry;
    found.set([row, this.versions[row], expires, tags, setAt], place * NUMBERS);
    return entry;
  }

  /** The keys, most recent first. */
  keys() {
    this.apply();
    const entries = [...this.#entries.values()].sort((a, b) => b.used - a.used);
    return entries.map(({ key }) => key);
  }

  /** A change of several steps. */
  many(change) {
    this.control[GATE] += 1;
    change();
    this.control[GATE] += 1;
  }

  /** A change of limits or ages, or a reset. */
  renew(change = () => {}) {
    this.control[EPOCH] += 1;
    change();
    this.control[EPOCH] += 1;
  }
}

/** What a client does: a near read, and where that misses a native one. */
function read(store, near, port, key) {
  const { MISS } = require('../../lib/near/near-cache');
  const value = near.get(key);
  if (value !== MISS) return value;
  const begun = near.begin();
  const entry = store.read(port, key);
  if (entry?.json !== undefined) {
    near.rememberJson(begun, key, entry.json);
    return JSON.parse(entry.json);
  }
  near.remember(begun, key, entry?.value);
  return entry?.value;
}

/** As if each use were a turn of its own: several rings of one thread stand for several processes. */
const atOnce = (end) => end();

module.exports = { atOnce, EPOCH, GATE, STAMP, Store, read };
