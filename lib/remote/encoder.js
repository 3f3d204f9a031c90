'use strict';

/** The entries of an instance, as a write stores them on the server. `format.js` says how they look there. */

const { LONGEST_AGE, ageOf, encodeHead, encodeValue, tagText } = require('./format');
const { numberArgument } = require('./arguments');

/** How long the server keeps what has no age, in milliseconds: a day. */
const TTL = 86_400_000;

class Encoder {
  /** The age of entries that are given none. */
  #maxAge;

  /**
   * @param {object} of
   * @param {number} [of.ttl] how long the server keeps what has no age
   * @param {number} of.maxAge
   * @param {string} of.copies how objects are copied: `json` or `advanced`
   */
  constructor({ ttl = TTL, maxAge, copies }) {
    /** How long the server keeps what has no age, in whole milliseconds. */
    this.ttl = Math.min(Math.ceil(ttl), LONGEST_AGE);
    this.copies = copies;
    this.maxAge = maxAge;
  }

  /** The age of entries that are given none has changed. */
  set maxAge(maxAge) {
    if (typeof maxAge === 'number') this.#maxAge = maxAge > 0 ? maxAge : undefined;
  }

  /** The age, in the first tier, of what has none. Infinity costs each read a look at the clock, so it is only where there is another default. */
  get endless() {
    return this.#maxAge === undefined ? undefined : Infinity;
  }

  /** The age of an entry. What is falsy is the age of entries that are given none, as in 1.x. */
  age(maxAge) {
    return ageOf(maxAge ? numberArgument('maxAge', maxAge) : this.#maxAge, this.ttl);
  }

  /** The five arguments of an entry that is stored. */
  entry(value, age, keepsAge, tags) {
    const [kind, bytes] = encodeValue(value, this.copies);
    const list = tags === undefined ? '' : tags.map((tag) => `${tagText(tag)}\0`).join('');
    return [String(age.px), keepsAge ? '1' : '0', list, encodeHead(kind, age), bytes];
  }

  /**
   * Entries `[key, value, own?]` as they are stored. A caller may change them from here on.
   *
   * @returns {{ key: any, args: (string | Buffer)[] }[]}
   */
  entries(entries, { maxAge, ages, keeps, tags, own }) {
    return entries.map(([key, value], at) => {
      const age = this.age(ages?.[at] ?? maxAge);
      return { key, args: this.entry(value, age, keeps?.[at] ?? false, own?.[at] ?? tags) };
    });
  }

  /** What a loader of `fetch` leaves for those who wait, of a value that is not stored: `V`, and an entry. @returns {Buffer} */
  unstored(value) {
    const [kind, bytes] = encodeValue(value, this.copies);
    const parts = [Buffer.from('V'), encodeHead(kind, ageOf(undefined, 0)), bytes];
    return Buffer.concat(/** @type {Buffer[]} */ (parts));
  }
}

module.exports = { Encoder };
