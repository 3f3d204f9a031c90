'use strict';

/**
 * How much memory near reads may use in this process, and what is let go first where they need more.
 *
 * A shelf holds the entries of one namespace in two queues, oldest first. An entry begins in `probation`. When its turn
 * comes there, it goes on to `proven` if it was read again meanwhile, else it is let go: so a scan of keys that are read
 * once passes through a tenth of the shelf. In `proven` an entry that was read since its last turn has another turn.
 * (S3-FIFO without ghosts.) Each step clears the mark of a read: letting one go costs O(1) on average.
 */

/** Bytes for all namespaces of a process, where no instance asks for more. */
const DEFAULT_BYTES = 8 * 1024 * 1024;

/** The part of a shelf that is on probation: a tenth. */
const PROBATION = 0.1;

/**
 * What a shelf keeps. Others add what they need.
 *
 * @typedef {object} Item
 * @property {number} bytes its estimated size
 * @property {boolean} used whether it was read since it was put into its queue
 * @property {Queue | undefined} queue
 * @property {Item | undefined} older
 * @property {Item | undefined} newer
 */

/** A list of items that lets any of them go in O(1). */
class Queue {
  bytes = 0;
  /** @type {any} */
  oldest = undefined;
  /** @type {any} */
  newest = undefined;

  /** @param {Item} item */
  push(item) {
    item.queue = this;
    item.older = this.newest;
    item.newer = undefined;
    if (this.newest === undefined) this.oldest = item;
    else this.newest.newer = item;
    this.newest = item;
    this.bytes += item.bytes;
  }

  /** @param {Item} item */
  remove(item) {
    if (item.older === undefined) this.oldest = item.newer;
    else item.older.newer = item.newer;
    if (item.newer === undefined) this.newest = item.older;
    else item.newer.older = item.older;
    item.queue = undefined;
    item.older = undefined;
    item.newer = undefined;
    this.bytes -= item.bytes;
  }
}

/** What one namespace keeps, and which of it is let go first. */
class Shelf {
  #probation = new Queue();
  #proven = new Queue();

  get bytes() {
    return this.#probation.bytes + this.#proven.bytes;
  }

  /** @param {Item} item */
  add(item) {
    this.#probation.push(item);
  }

  /** An item has another size now. */
  resize(item, bytes) {
    item.queue.bytes += bytes - item.bytes;
    item.bytes = bytes;
  }

  /** @param {any} item */
  remove(item) {
    item.queue.remove(item);
  }

  /** Lets one item go: returns it, or `undefined` where there is none. */
  evict() {
    const probation = this.#probation;
    const proven = this.#proven;
    for (;;) {
      const isFull = probation.bytes > this.bytes * PROBATION;
      const queue =
        (isFull || proven.oldest === undefined) && probation.oldest ? probation : proven;
      const item = queue.oldest;
      if (item === undefined) return undefined;
      queue.remove(item);
      if (!item.used) return item;
      item.used = false;
      proven.push(item);
    }
  }

  clear() {
    this.#probation = new Queue();
    this.#proven = new Queue();
  }
}

/**
 * Who shares a budget.
 *
 * @typedef {object} Sharer
 * @property {number} bytes what it keeps
 * @property {number} limit what it may keep
 * @property {() => boolean} evict lets one of its entries go, if there is one
 */

/** The budget of a process. */
class Budget {
  /** @type {Sharer[]} */
  #sharers = [];
  #hand = 0;
  #bytes = 0;
  /** What all sharers together may keep. */
  limit;

  constructor(limit = DEFAULT_BYTES) {
    this.limit = limit;
  }

  /** What all sharers together keep. */
  get bytes() {
    return this.#bytes;
  }

  /** @param {Sharer} sharer */
  join(sharer) {
    this.#sharers.push(sharer);
    this.limit = Math.max(this.limit, sharer.limit);
  }

  /** A sharer that keeps nothing any more leaves. @param {Sharer} sharer */
  leave(sharer) {
    const index = this.#sharers.indexOf(sharer);
    if (index >= 0) this.#sharers.splice(index, 1);
  }

  /** A sharer keeps more, or less where `bytes` is negative. */
  count(bytes) {
    this.#bytes += bytes;
  }

  /** Makes room, after a sharer has begun to keep more. @param {Sharer} sharer */
  trim(sharer) {
    while (sharer.bytes > sharer.limit && sharer.evict());
    while (this.#bytes > this.limit && this.#largest().evict());
  }

  /** A sharer that keeps more than its share. There is one, since not all can have less than the average. */
  #largest() {
    const sharers = this.#sharers;
    const share = this.#bytes / sharers.length;
    for (let count = 1; count < sharers.length; count += 1) {
      if (this.#hand >= sharers.length) this.#hand = 0;
      if (sharers[this.#hand].bytes > share) break;
      this.#hand += 1;
    }
    return sharers[this.#hand] ?? sharers[(this.#hand = 0)];
  }
}

module.exports = { Budget, DEFAULT_BYTES, Shelf };
