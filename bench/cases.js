'use strict';

/**
 * The calls that are measured, and the data they work on. A case is the same code for every
 * implementation, and checks every answer: an implementation that answers wrongly fails, it never wins.
 */

const assert = require('node:assert');
const { inspect } = require('node:util');

/** Keys in rotation in each case. */
const KEYS = 1000;
/** Calls under way at once in the "in flight" cases, and keys in one `mGet`. */
const WAVE = 100;

/** A value whose JSON is exactly 99 bytes. `n` < 9 000 000 tells values apart, `rev` (0 or 1) versions of one. */
function smallValue(n, rev = 0) {
  const id = 1000000 + n;
  return { id, rev, name: `Ada ${id}`, mail: `u${id}@example.com`, tags: ['a'], hits: 12345 };
}

/** A value whose JSON is exactly 10 000 bytes: a list of 50 small values and a text. */
function largeValue(n, rev = 0) {
  const rows = Array.from({ length: 50 }, (_, row) => smallValue(n * 50 + row, rev));
  const value = { id: 1000000 + n, rev, rows, html: '' };
  const sentence = '<p>Sphinx of black quartz, judge my vow.</p>\n';
  const missing = 10000 - JSON.stringify(value).length;
  while (JSON.stringify(value.html).length - 2 < missing) value.html += sentence;
  // A line break is two bytes of JSON: cut at a sentence's end and fill up with spaces.
  value.html = value.html.slice(0, value.html.lastIndexOf('<p>'));
  value.html += ' '.repeat(10000 - JSON.stringify(value).length);
  return value;
}

/** A string of 99 characters; as `smallValue`. */
function text(n, rev = 0) {
  return `${1000000 + n} ${rev} `.padEnd(99, 'Sphinx of black quartz, judge my vow. ');
}

assert.strictEqual(JSON.stringify(smallValue(0)).length, 99);
assert.strictEqual(text(0).length, 99);
assert.strictEqual(JSON.stringify(largeValue(0)).length, 10000);

/** The cheap check inside a measured loop; `deepCheck` is the thorough one, outside. */
function check(got, expected) {
  if (typeof expected === 'string') return checkIs(got, expected);
  if (
    got === null ||
    typeof got !== 'object' ||
    got.id !== expected.id ||
    got.rev !== expected.rev
  ) {
    throw new Error(`expected value ${expected.id}/${expected.rev}, got ${inspect(got)}`);
  }
}

function checkIs(got, expected) {
  if (got !== expected) throw new Error(`expected ${expected}, got ${inspect(got)}`);
}

async function deepCheck(cache, keys, values) {
  for (let i = 0; i < keys.length; i++) {
    assert.deepStrictEqual(await cache.get(keys[i]), values[i], `wrong value at ${keys[i]}`);
  }
}

async function fill(cache, keys, values) {
  for (let i = 0; i < keys.length; i++) await cache.set(keys[i], values[i]);
}

const keysOf = (prefix) => Array.from({ length: KEYS }, (_, i) => `${prefix}:${1000 + i}`);
const valuesOf = (make, rev) => Array.from({ length: KEYS }, (_, i) => make(i, rev));

/** Reads existing entries; `width` calls are under way at once. */
function gets(make, width) {
  return (cache, prefix) => {
    const keys = keysOf(prefix);
    const values = valuesOf(make, 0);
    let at = 0;
    return {
      setup: () => fill(cache, keys, values),
      async batch() {
        if (width === 1) {
          for (let n = 0; n < WAVE; n++, at = (at + 1) % KEYS) {
            check(await cache.get(keys[at]), values[at]);
          }
        } else {
          const wave = new Array(width);
          for (let n = 0; n < width; n++) wave[n] = cache.get(keys[(at + n) % KEYS]);
          const got = await Promise.all(wave);
          for (let n = 0; n < width; n++) check(got[n], values[(at + n) % KEYS]);
          at = (at + width) % KEYS;
        }
        return WAVE;
      },
      verify: () => deepCheck(cache, keys, values),
    };
  };
}

/** Overwrites entries, with the other version of the value on each pass over the keys. */
function sets(make, width) {
  return (cache, prefix) => {
    const keys = keysOf(prefix);
    const versions = [valuesOf(make, 0), valuesOf(make, 1)];
    const written = versions[0].slice();
    let at = 0;
    let version = 1;
    const next = () => {
      const i = at;
      written[i] = versions[version][i];
      at = (at + 1) % KEYS;
      if (at === 0) version = 1 - version;
      return i;
    };
    return {
      setup: () => fill(cache, keys, written),
      async batch() {
        if (width === 1) {
          for (let n = 0; n < WAVE; n++) {
            const i = next();
            checkIs(await cache.set(keys[i], written[i]), true);
          }
        } else {
          const wave = new Array(width);
          for (let n = 0; n < width; n++) {
            const i = next();
            wave[n] = cache.set(keys[i], written[i]);
          }
          for (const result of await Promise.all(wave)) checkIs(result, true);
        }
        return WAVE;
      },
      verify: () => deepCheck(cache, keys, written),
    };
  };
}

function increments(cache, prefix) {
  const keys = keysOf(prefix);
  const counts = new Array(KEYS).fill(0);
  let at = 0;
  return {
    setup: async () => {},
    async batch() {
      for (let n = 0; n < WAVE; n++, at = (at + 1) % KEYS) {
        checkIs(await cache.incr(keys[at]), ++counts[at]);
      }
      return WAVE;
    },
    verify: async () => {
      for (let i = 0; i < KEYS; i++) checkIs(await cache.get(keys[i]), counts[i] || undefined);
    },
  };
}

/** One `mGet` of 100 keys counts as one call. */
function bulkGets(cache, prefix) {
  const keys = keysOf(prefix);
  const values = valuesOf(smallValue, 0);
  let at = 0;
  return {
    setup: () => fill(cache, keys, values),
    async batch() {
      for (let n = 0; n < 10; n++, at = (at + WAVE) % KEYS) {
        const got = await cache.mGet(keys.slice(at, at + WAVE));
        for (let i = at; i < at + WAVE; i++) check(got[keys[i]], values[i]);
      }
      return 10;
    },
    verify: async () => {
      assert.deepStrictEqual(
        { ...(await cache.mGet(keys)) },
        Object.fromEntries(keys.map((key, i) => [key, values[i]])),
      );
    },
  };
}

/** A timeout rejects (failsafe 'reject'), so `undefined` is really the cache's answer. */
function misses(cache, prefix) {
  const keys = keysOf(prefix);
  let at = 0;
  return {
    setup: async () => {},
    async batch() {
      for (let n = 0; n < WAVE; n++, at = (at + 1) % KEYS) {
        checkIs(await cache.get(keys[at]), undefined);
      }
      return WAVE;
    },
    verify: async () => {
      for (const key of keys) checkIs(await cache.has(key), false);
    },
  };
}

/**
 * Title of the row and the case. `start(cache, prefix)` gives `setup()`, called once; `batch()`, the
 * measured code, which resolves to the number of calls it made; `verify()`, called after each sample.
 */
const cases = {
  get: { title: 'get, one after another', start: gets(smallValue, 1) },
  set: { title: 'set, one after another', start: sets(smallValue, 1) },
  incr: { title: 'incr, one after another', start: increments },
  getText: { title: 'get of a string', start: gets(text, 1) },
  setText: { title: 'set of a string', start: sets(text, 1) },
  get100: { title: 'get, 100 in flight', start: gets(smallValue, WAVE) },
  set100: { title: 'set, 100 in flight', start: sets(smallValue, WAVE) },
  get10k: { title: 'get of a 10 kB value', start: gets(largeValue, 1) },
  set10k: { title: 'set of a 10 kB value', start: sets(largeValue, 1) },
  mGet: { title: 'mGet of 100 keys', start: bulkGets },
  miss: { title: 'get of a missing key', start: misses },
};

/** A value whose JSON is about 10 kB: a list of 100 objects. */
const treeValue = (n) => Array.from({ length: 100 }, (_, row) => smallValue(n * 100 + row));

/** An age that no run reaches, in milliseconds. */
const HOUR = 3_600_000;

/**
 * Reads of `count` existing entries one after another. In the loop only a property of each answer is compared, the same
 * for every implementation: to compare a string with another one of the same characters costs as much as such a read.
 */
function reads(make, count, property, maxAge) {
  return (cache, prefix) => {
    const keys = keysOf(prefix).slice(0, count);
    const values = keys.map((_, i) => make(i));
    const expected = values.map((value) => value[property]);
    return {
      async setup() {
        for (let i = 0; i < count; i++) await cache.set(keys[i], values[i], maxAge);
      },
      async batch() {
        for (let i = 0; i < count; i++) {
          const got = await cache.get(keys[i]);
          if (got[property] !== expected[i]) checkIs(got, values[i]);
        }
        return count;
      },
      verify: () => deepCheck(cache, keys, values),
    };
  };
}

/** As `reads` of strings, by `fetch`. */
function fetches(cache, prefix) {
  const keys = keysOf(prefix);
  const values = keys.map((_, i) => text(i));
  const load = (key) => checkIs(key, 'nothing to load');
  return {
    async setup() {
      for (let i = 0; i < KEYS; i++) await cache.set(keys[i], values[i]);
    },
    async batch() {
      for (let i = 0; i < KEYS; i++) {
        const got = await cache.fetch(keys[i], load);
        if (got.length !== values[i].length) checkIs(got, values[i]);
      }
      return KEYS;
    },
    verify: () => deepCheck(cache, keys, values),
  };
}

/**
 * A value that is missing is loaded and removed again: by `fetch`, or by `get` and `set`. What a lease costs is the
 * difference.
 */
function loads(byFetch) {
  return (cache, prefix) => {
    const keys = keysOf(prefix);
    const value = text(0);
    const load = () => value;
    async function byHand(key) {
      const found = await cache.get(key);
      if (found !== undefined) return found;
      const loaded = await load(key);
      await cache.set(key, loaded);
      return loaded;
    }
    const read = byFetch ? (key) => cache.fetch(key, load) : byHand;
    return {
      setup: async () => {},
      async batch() {
        for (let i = 0; i < WAVE; i++) {
          checkIs(await read(keys[i]), value);
          await cache.del(keys[i]);
        }
        return WAVE;
      },
      verify: async () => {
        for (const key of keys) checkIs(await cache.has(key), false);
      },
    };
  };
}

/** As `reads`, with `mGet` of 100 keys each. */
function listReads(make, property) {
  return (cache, prefix) => {
    const keys = keysOf(prefix);
    const lists = Array.from({ length: KEYS / WAVE }, (_, n) =>
      keys.slice(n * WAVE, (n + 1) * WAVE),
    );
    const values = keys.map((_, i) => make(i));
    return {
      setup: () => fill(cache, keys, values),
      async batch() {
        for (let n = 0; n < lists.length; n++) {
          const got = await cache.mGet(lists[n]);
          const last = lists[n][WAVE - 1];
          checkIs(got[last][property], values[n * WAVE + WAVE - 1][property]);
        }
        return lists.length;
      },
      verify: () => deepCheck(cache, keys, values),
    };
  };
}

/**
 * Cases of reads that an `lru-cache` of the process's own would answer. `options`: those of the instance that reads.
 */
const nearCases = {
  nearText: { title: 'get of a string', start: reads(text, KEYS, 'length') },
  nearTtl: { title: 'get of a string with an age', start: reads(text, KEYS, 'length', HOUR) },
  nearFrozen: {
    title: 'get, frozen',
    options: { freeze: true },
    start: reads(smallValue, KEYS, 'id'),
  },
  nearCopy: { title: 'get, an object of its own', start: reads(smallValue, KEYS, 'id') },
  nearTree: { title: 'get of 10 kB, 100 objects', start: reads(treeValue, 50, 'length') },
  nearTexts: { title: 'mGet of 100 strings', start: listReads(text, 'length') },
  nearCopies: { title: 'mGet of 100 objects', start: listReads(smallValue, 'id') },
  nearMiss: { title: 'get of a missing key', start: misses },
  nearSet: { title: 'set of an object', start: sets(smallValue, 1) },
  nearFetch: { title: 'fetch of a string that is there', start: fetches },
  nearLoad: { title: 'fetch of a missing string, and del', start: loads(true) },
  nearLoadByHand: { title: 'get, set of a missing string, and del', start: loads(false) },
  nearSetText: { title: 'set of a string', start: sets(text, 1) },
};

/** Cases of several workers at once. */
const manyCases = {
  manyText: { title: 'get of a string', start: reads(text, KEYS, 'length') },
  manyTextNative: {
    title: 'get of a string, near: false',
    options: { near: false },
    start: reads(text, KEYS, 'length'),
  },
  manyCopy: { title: 'get', start: reads(smallValue, KEYS, 'id') },
  manyCopyNative: {
    title: 'get, near: false',
    options: { near: false },
    start: reads(smallValue, KEYS, 'id'),
  },
  manySet: { title: 'set', start: sets(smallValue, 1) },
};

module.exports = { cases, nearCases, manyCases, check, deepCheck, fill, keysOf, smallValue };
