'use strict';

// The synchronous class on its own, with the results of lru-cache 6.

const assert = require('node:assert/strict');
const { LRUCache } = require('..');
const native = require('../lib/native/loader');
const { fakeClock } = require('./helpers');

function filled(options) {
  const cache = new LRUCache(options);
  for (const key of ['a', 'b', 'c']) cache.set(key, key.toUpperCase());
  return cache;
}

describe('LRUCache', () => {
  const clock = fakeClock();

  for (const [options, max] of [
    [undefined, Infinity],
    [{}, Infinity],
    [5, 5],
    [0, Infinity],
    [{ max: 5 }, 5],
    [{ max: 0 }, Infinity],
    [{ max: Infinity }, Infinity],
  ]) {
    it(`new LRUCache(${typeof options === 'number' ? options : JSON.stringify(options)}) has max ${max}`, () => {
      const cache = new LRUCache(options);
      assert.deepEqual([cache.max, cache.maxAge, cache.allowStale], [max, 0, false]);
      assert.deepEqual([cache.length, cache.itemCount], [0, 0]);
    });
  }

  for (const options of [
    { max: -1 },
    { max: 'x' },
    { maxAge: 'x' },
    { maxSize: -1 },
    { maxEntrySize: 'x' },
  ]) {
    it(`new LRUCache(${JSON.stringify(options)}) throws a TypeError`, () => {
      const [[name, value]] = Object.entries(options);
      assert.throws(() => new LRUCache(options), {
        name: 'TypeError',
        message: new RegExp(`${name}.*${value}`),
      });
    });
  }

  for (const [name, value] of [
    ['max', -1],
    ['max', 'x'],
    ['maxSize', -1],
    ['maxSize', 'x'],
    ['maxAge', 'x'],
  ]) {
    it(`${name} = ${value} throws a TypeError and changes nothing`, () => {
      const cache = new LRUCache({ max: 3, maxSize: 5, maxAge: 4 });
      assert.throws(() => (cache[name] = value), { name: 'TypeError', message: new RegExp(name) });
      assert.deepEqual([cache.max, cache.maxSize, cache.maxAge], [3, 5, 4]);
    });
  }

  it('two of them share nothing', () => {
    const [one, two] = [new LRUCache(), new LRUCache()];
    one.set('k', 1);
    assert.equal(two.get('k'), undefined);
  });

  it('set gives true, get and peek the value, has whether it is there', () => {
    const cache = new LRUCache();
    assert.equal(cache.set('k', 'v'), true);
    assert.deepEqual([cache.get('k'), cache.peek('k'), cache.has('k')], ['v', 'v', true]);
    assert.deepEqual(
      [cache.get('x'), cache.peek('x'), cache.has('x')],
      [undefined, undefined, false],
    );
  });

  it('del, reset, prune and load give undefined', () => {
    const cache = filled();
    assert.deepEqual(
      [cache.del('a'), cache.del('x'), cache.prune(), cache.load([]), cache.reset()],
      [undefined, undefined, undefined, undefined, undefined],
    );
  });

  it('the least recent entries go when maxSize is passed, or lowered', () => {
    const cache = new LRUCache({ maxSize: 4000 });
    for (const key of ['a', 'b', 'c']) cache.set(key, key.repeat(1000));
    assert.ok(cache.calculatedSize > 3000 && cache.calculatedSize < 3750);
    assert.equal(cache.set('d', 'd'.repeat(2000)), true);
    assert.deepEqual(cache.keys(), ['d', 'c']);
    assert.equal(cache.set('c', 'c'.repeat(4000)), false);
    assert.deepEqual([cache.keys(), cache.get('c')], [['d'], undefined]);
    cache.set('e', 1);
    cache.maxSize = 2000;
    assert.deepEqual([cache.maxSize, cache.keys()], [2000, ['e']]);
    cache.maxSize = 0;
    assert.equal(cache.maxSize, Infinity);
    cache.reset();
    assert.equal(cache.calculatedSize, 0);
  });

  it('an object counts as its key and overhead, a string in full where there is a bound', () => {
    const sizeOf = (value, options) => {
      const cache = new LRUCache(options);
      cache.set('k', value);
      return cache.calculatedSize;
    };
    const bare = sizeOf(null);
    assert.ok(bare > 50 && bare < 250);
    const text = 'ä'.repeat(500);
    for (const options of [{}, { maxSize: 1e6 }, { maxEntrySize: 1e6 }]) {
      assert.equal(sizeOf({ text }, options), bare);
      assert.equal(
        sizeOf(text, options),
        bare + (options.maxSize || options.maxEntrySize ? 1000 : 0),
      );
    }
  });

  it('an object that is set where it no longer fits goes, and so does the one before', () => {
    const cache = new LRUCache();
    cache.set('k', { old: true });
    cache.maxSize = 1e6;
    const key = 'x'.repeat(500);
    assert.equal(cache.set(key, { n: 1 }), true);
    cache.maxSize = 400;
    assert.equal(cache.set(key, { n: 2 }), false);
    assert.equal(cache.get(key), undefined);
    const other = { other: true };
    assert.equal(cache.set('other', other), true);
    assert.equal(cache.get('other'), other);
  });

  it('the least recent entry goes when max is passed, or lowered', () => {
    const cache = filled({ max: 3 });
    cache.get('a');
    cache.set('d', 'D');
    assert.deepEqual(cache.keys(), ['d', 'a', 'c']);
    cache.max = 1;
    assert.deepEqual(cache.keys(), ['d']);
    cache.max = 0;
    assert.equal(cache.max, Infinity);
  });

  it('an entry expires after its age, and once more with the age of the cache', () => {
    const cache = new LRUCache({ maxAge: 100 });
    cache.set('k', 'v');
    cache.set('own', 'v', 50);
    clock.tick(51);
    assert.deepEqual([cache.has('k'), cache.has('own')], [true, false]);
    clock.tick(50);
    assert.equal(cache.get('k'), undefined);
  });

  it('an entry with an age of the cache keeps it when the cache has none any more', () => {
    const cache = new LRUCache({ maxAge: 100 });
    cache.set('k', 'v');
    cache.maxAge = 0;
    clock.tick(101);
    assert.equal(cache.has('k'), false);
  });

  it('allowStale gives an expired value once', () => {
    const cache = new LRUCache({ maxAge: 100, stale: true });
    cache.set('k', 'v');
    clock.tick(101);
    assert.equal(cache.has('k'), false);
    assert.deepEqual([cache.get('k'), cache.get('k')], ['v', undefined]);
    cache.set('k', 'v');
    clock.tick(101);
    cache.allowStale = false;
    assert.equal(cache.get('k'), undefined);
  });

  it('forEach goes from the most recent, rforEach from the least recent entry', () => {
    const cache = filled();
    const seen = [];
    cache.forEach((value, key, self) => seen.push([value, key, self === cache]));
    cache.rforEach((value, key, self) => seen.push([value, key, self === cache]));
    assert.deepEqual(
      seen,
      ['C c', 'B b', 'A a', 'A a', 'B b', 'C c'].map((pair) => [...pair.split(' '), true]),
    );
  });

  it('forEach has the cache for this, or what is given', () => {
    const cache = filled(1);
    const seen = [];
    const look = function () {
      seen.push(this);
    };
    const other = {};
    cache.forEach(look);
    cache.forEach(look, other);
    cache.rforEach(look, other);
    assert.deepEqual([seen[0] === cache, seen[1] === other, seen[2] === other], [true, true, true]);
  });

  it('forEach leaves the order of recency', () => {
    const cache = filled();
    cache.rforEach(() => {});
    assert.deepEqual(cache.keys(), ['c', 'b', 'a']);
  });

  for (const stale of [false, true]) {
    it(`forEach removes expired entries on the way, stale ${stale}`, () => {
      const cache = filled({ stale });
      cache.set('old', 'OLD', 50);
      clock.tick(51);
      const seen = [];
      cache.forEach((value) => seen.push(value));
      assert.deepEqual(seen, stale ? ['OLD', 'C', 'B', 'A'] : ['C', 'B', 'A']);
      assert.equal(cache.length, 3);
    });
  }

  it('forEach survives a visitor that removes and adds entries', () => {
    const cache = filled();
    const seen = [];
    cache.forEach((value, key) => {
      seen.push(key);
      cache.del('b');
      cache.set(`new ${key}`, 1);
    });
    assert.deepEqual(seen, ['c', 'a']);
  });

  it('forEach lets out what a visitor throws', () => {
    const cache = filled();
    assert.throws(
      () =>
        cache.forEach(() => {
          throw new RangeError('stop');
        }),
      RangeError,
    );
    assert.equal(cache.get('a'), 'A');
  });

  it('values and dump have the order of keys', () => {
    const cache = filled();
    cache.get('a');
    assert.deepEqual(cache.keys(), ['a', 'c', 'b']);
    assert.deepEqual(cache.values(), ['A', 'C', 'B']);
    assert.deepEqual(
      cache.dump().map(({ k }) => k),
      ['a', 'c', 'b'],
    );
  });

  it('load takes what dump gave, of another cache too', () => {
    const from = filled({ maxAge: 100 });
    clock.tick(60);
    from.set('d', 'D', 10);
    const dump = from.dump();
    clock.tick(20);
    const to = new LRUCache();
    to.set('gone', 1);
    to.load(dump);
    assert.deepEqual(to.keys(), ['c', 'b', 'a']);
    clock.tick(21);
    assert.equal(to.has('a'), false);
  });

  it('load keeps to max, the most recent entries staying', () => {
    const cache = new LRUCache(2);
    cache.load(filled().dump());
    assert.deepEqual(cache.keys(), ['c', 'b']);
  });

  it('pop takes the least recent entry', () => {
    const cache = new LRUCache();
    const value = {};
    cache.set('a', value, 100);
    cache.set('b', 2);
    assert.deepEqual(cache.pop(), { key: 'a', value, length: 1, now: clock.now, maxAge: 100 });
    assert.deepEqual(cache.pop(), { key: 'b', value: 2, length: 1, now: 0, maxAge: 0 });
    assert.equal(cache.pop(), null);
  });

  for (const [title, key] of [
    ['an object', {}],
    ['a symbol', Symbol('key')],
    ['a function', () => {}],
  ]) {
    it(`${title} as a key throws a TypeError, from every call`, () => {
      const cache = filled();
      for (const name of ['get', 'peek', 'has', 'set', 'del']) {
        assert.throws(() => cache[name](key, 1), { name: 'TypeError', message: new RegExp(title) });
      }
      assert.equal(cache.length, 3);
    });
  }

  it('its methods need a cache for this', () => {
    for (const name of ['get', 'set', 'keys', 'reset']) {
      assert.throws(() => LRUCache.prototype[name].call({}, 'k'), TypeError);
    }
  });

  for (const list of ['values', 'dump']) {
    it(`${list} asks once, however many entries others add meanwhile`, () => {
      const cache = new LRUCache();
      const { [list]: run } = native.commands;
      let calls = 0;
      native.commands[list] = (...args) => {
        calls += 1;
        for (let at = 0; at < 3000 && calls < 5; at += 1) cache.set(`${calls}-${at}`, at);
        return run(...args);
      };
      try {
        assert.equal(cache[list]().length, 3000);
      } finally {
        native.commands[list] = run;
      }
      assert.equal(calls, 1);
    });
  }

  it('many thousand caches live beside each other', () => {
    const caches = Array.from({ length: 5000 }, () => new LRUCache(1));
    caches.forEach((cache, index) => cache.set('k', index));
    assert.ok(caches.every((cache, index) => cache.get('k') === index));
  });
});
