'use strict';

// `memoize`, of an instance and the export, over a cache that records what it is asked for.

const assert = require('node:assert/strict');
const { memoize } = require('../..');
const { memoizeOn } = require('../../lib/fetch/memoize');

/** A cache that keeps what it loads. */
function recorder() {
  const entries = new Map();
  return {
    entries,
    calls: [],
    async fetch(key, load, options) {
      this.calls.push([key, options]);
      if (!entries.has(key) || options?.forceRefresh) entries.set(key, await load(key, {}));
      return entries.get(key);
    },
    async deleteMany(keys) {
      return keys.map((key) => entries.delete(key));
    },
  };
}

const invalid = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };

describe('memoize', () => {
  let cache;
  beforeEach(() => {
    cache = recorder();
  });

  it('keeps what a function gives, by its name and its arguments', async () => {
    let calls = 0;
    const add = memoizeOn(cache, function sum(a, b) {
      calls += 1;
      return a + b;
    });
    assert.deepEqual([await add(1, 2), await add(1, 2), await add(2, 2)], [3, 3, 4]);
    assert.equal(calls, 2);
    assert.deepEqual([...cache.entries.keys()], ['["sum",1,2]', '["sum",2,2]']);
    assert.equal(add.name, 'sum');
  });

  it('takes a name, a key, and options of fetch', async () => {
    const named = memoizeOn(cache, (n) => n, { name: 'other', ttl: 5 });
    await named(1);
    const keyed = memoizeOn(cache, (n) => n, { key: (n) => `own:${n}` });
    await keyed(1);
    assert.deepEqual(cache.calls, [
      ['["other",1]', { ttl: 5 }],
      ['own:1', undefined],
    ]);
  });

  it('hands on this and all arguments', async () => {
    const owner = {
      n: 5,
      times: memoizeOn(cache, function times(a) {
        return this.n * a;
      }),
    };
    assert.equal(await owner.times(2), 10);
  });

  it('delete removes what was kept for arguments', async () => {
    const same = memoizeOn(cache, (n) => n, { name: 'same' });
    await same(1);
    assert.equal(await same.delete(1), true);
    assert.equal(await same.delete(1), false);
    assert.equal(cache.entries.size, 0);
  });

  it('refresh calls the function anew', async () => {
    let n = 0;
    const next = memoizeOn(cache, () => (n += 1), { name: 'next', ttl: 5 });
    assert.deepEqual(
      [await next(), await next(), await next.refresh(), await next()],
      [1, 1, 2, 2],
    );
    assert.deepEqual(cache.calls[2][1], { ttl: 5, forceRefresh: true });
  });

  it('rejects where the arguments make no key', async () => {
    const same = memoizeOn(cache, (n) => n, { name: 'same' });
    await assert.rejects(same(1n), TypeError);
    await assert.rejects(same.refresh(1n), TypeError);
    await assert.rejects(same.delete(1n), TypeError);
  });

  it('throws without a function, and without a name or a key', () => {
    assert.throws(() => memoizeOn(cache, 'text'), invalid);
    assert.throws(() => memoizeOn(cache, (n) => n), invalid);
    assert.throws(() => memoizeOn(cache, (n) => n, { name: '' }), invalid);
    assert.throws(() => memoizeOn(cache, (n) => n, { key: 'text' }), invalid);
  });

  it('the export takes a function and the cache', async () => {
    const same = memoize((n) => n, { cache, name: 'same', ttl: 5 });
    assert.equal(await same(1), 1);
    assert.deepEqual(cache.calls, [['["same",1]', { ttl: 5 }]]);
    assert.throws(() => memoize((n) => n), invalid);
    assert.throws(() => memoize((n) => n, { cache: {} }), invalid);
  });

  it('the export takes the cache, a function, and a key, as 2.x does', async () => {
    const same = memoize(
      cache,
      (n) => n,
      (n) => `own:${n}`,
      { ttl: 5 },
    );
    assert.equal(await same(1), 1);
    assert.deepEqual(cache.calls, [['own:1', { ttl: 5 }]]);
    const named = memoize(cache, async function byName(n) {
      return n;
    });
    assert.equal(await named(1), 1);
    assert.throws(() => memoize({}, (n) => n), invalid);
  });
});
