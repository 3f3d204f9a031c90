'use strict';

// The class as a process sees it that is no worker: statics, instances, namespaces, values by reference. Alone, and
// beside a worker that has attached all of it.

const assert = require('node:assert/strict');
const Cache = require('..');
const { describeShared, processes, unique } = require('./helpers');

const { LRUCache } = Cache;

describe('the exports', () => {
  it('are the class itself, by every name', () => {
    assert.equal(Cache.default, Cache);
    assert.equal(Cache.LRUCacheForClustersAsPromised, Cache);
    assert.equal(Cache.name, 'LRUCacheForClustersAsPromised');
    assert.equal(typeof LRUCache, 'function');
  });

  it('init() is true', () => {
    assert.equal(Cache.init(), true);
  });
});

/**
 * @param {string} where the caches lie
 * @param {(namespace: string) => Promise<unknown>} [attach] brings a namespace there
 */
function classTests(where, attach) {
  /** A namespace there. */
  const place = async (namespace = unique('class')) => {
    await attach?.(namespace);
    return namespace;
  };

  describe(`instances, ${where}`, () => {
    it('getInstance gives an instance whose cache exists', async () => {
      const namespace = await place();
      const cache = await Cache.getInstance({ namespace, max: 3 });
      assert.ok(cache instanceof Cache);
      assert.equal(cache.namespace, namespace);
      assert.equal(Cache.getAllCaches()[namespace].max, 3);
    });

    it('of one namespace share one cache', async () => {
      const namespace = await place();
      const [one, two] = [new Cache({ namespace }), await Cache.getInstance({ namespace })];
      await one.set('k', 'v');
      assert.equal(await two.get('k'), 'v');
      assert.equal(one.getCache(), two.getCache());
    });

    it('of two namespaces share nothing', async () => {
      const [one, two] = [
        new Cache({ namespace: await place() }),
        new Cache({ namespace: await place() }),
      ];
      await one.set('k', 'v');
      assert.equal(await two.get('k'), undefined);
      await two.reset();
      assert.equal(await one.get('k'), 'v');
    });

    it('without options and with the namespace default are one', async () => {
      await new Cache().set('k', 'v');
      assert.equal(await new Cache({ namespace: 'default' }).get('k'), 'v');
      await new Cache().reset();
    });

    it('every call gives a promise and runs in order', async () => {
      const cache = new Cache({ namespace: await place() });
      const calls = [cache.set('k', 1), cache.incr('k'), cache.del('k'), cache.incr('k')];
      for (const call of calls) assert.ok(call instanceof Promise);
      assert.deepEqual(await Promise.all(calls), [true, 2, undefined, 1]);
    });

    it('errors are rejections, never thrown by the call', async () => {
      const cache = new Cache({ namespace: await place() });
      const calls = [cache.get({}), cache.mGet([{}]), cache.max(-1), cache.execute('nothing')];
      return Promise.all(calls.map((call) => assert.rejects(call)));
    });

    it('a subclass inherits the calls', async () => {
      class Mine extends Cache {
        async get(key) {
          return `mine: ${await super.get(key)}`;
        }
      }
      const cache = new Mine({ namespace: await place() });
      await cache.set('k', 'v');
      assert.equal(await cache.get('k'), 'mine: v');
    });

    it('execute forEach passes the values', async () => {
      const cache = new Cache({ namespace: await place() });
      await cache.mSet({ a: 1, b: 2 });
      const seen = [];
      await cache.execute('forEach', (value, key) => seen.push([key, value]));
      await cache.execute('rforEach', (value, key) => seen.push([key, value]));
      assert.deepEqual(seen, [
        ['b', 2],
        ['a', 1],
        ['a', 1],
        ['b', 2],
      ]);
    });
  });

  describe(`getCache and getAllCaches, ${where}`, () => {
    it('give the synchronous cache of the namespace, always the same one', async () => {
      const namespace = await place();
      const cache = new Cache({ namespace });
      assert.ok(cache.getCache() instanceof LRUCache);
      assert.equal(cache.getCache(), cache.getCache());
      assert.equal(Cache.getAllCaches()[namespace], cache.getCache());
    });

    it('share their entries with the class', async () => {
      const cache = new Cache({ namespace: await place() });
      await cache.set('promised', 1);
      cache.getCache().set('sync', 2);
      assert.equal(cache.getCache().get('promised'), 1);
      assert.equal(await cache.get('sync'), 2);
    });

    for (const namespace of ['__proto__', 'constructor', 'with "quotes"\n', 'ü😀']) {
      it(`take the namespace ${JSON.stringify(namespace)} like any other`, async () => {
        const cache = new Cache({ namespace: await place(namespace) });
        await cache.set('k', namespace);
        assert.ok(Object.hasOwn(Cache.getAllCaches(), namespace));
        assert.ok(cache.getCache() instanceof LRUCache);
        assert.equal(cache.getCache().get('k'), namespace);
      });
    }

    it('have no namespace that nobody asked for', () => {
      assert.equal(Object.hasOwn(Cache.getAllCaches(), unique('class')), false);
    });

    it('settings are those of the class', async () => {
      const cache = new Cache({ namespace: await place(), max: 5, maxAge: 6, stale: true });
      const sync = cache.getCache();
      assert.deepEqual([sync.max, sync.maxAge, sync.allowStale], [5, 6, true]);
      sync.max = 3;
      await cache.maxAge(4);
      assert.deepEqual([await cache.max(), sync.maxAge], [3, 4]);
    });
  });

  describe(`values in the primary, ${where}`, () => {
    const values = {
      'an object': { a: 1 },
      'an array': [1],
      'a function': () => 1,
      'a class': class {},
      'an instance of a class': new (class Thing {})(),
      'a symbol': Symbol('value'),
      'a bigint': 10n ** 30n,
      'a Date': new Date(),
      'a Map': new Map([[1, {}]]),
      'a Buffer': Buffer.from('x'),
      'a regular expression': /x/g,
      'an Error': new TypeError('x'),
      'an object without a prototype': Object.create(null),
      'a proxy': new Proxy({}, {}),
    };
    values['a circular object'] = { self: null };
    values['a circular object'].self = values['a circular object'];

    for (const [title, value] of Object.entries(values)) {
      it(`${title} comes back as it is, from every call`, async () => {
        const cache = new Cache({ namespace: await place() });
        assert.equal(await cache.set('k', value), true);
        assert.equal(await cache.get('k'), value);
        assert.equal(await cache.peek('k'), value);
        assert.equal((await cache.mGet(['k'])).k, value);
        assert.equal((await cache.values())[0], value);
        assert.equal((await cache.dump())[0].v, value);
        assert.equal(cache.getCache().get('k'), value);
        await cache.mSet({ m: value });
        assert.equal(await cache.get('m'), value);
        await cache.execute('load', await cache.dump());
        assert.equal(await cache.get('k'), value);
        assert.equal((await cache.execute('pop')).value, value);
      });
    }

    it('an object that changes is seen changed', async () => {
      const cache = new Cache({ namespace: await place() });
      const value = { n: 1 };
      await cache.set('k', value);
      value.n = 2;
      assert.deepEqual(await cache.get('k'), { n: 2 });
    });

    it('a stale object comes back as it is', async () => {
      const cache = new Cache({ namespace: await place(), stale: true });
      const value = {};
      await cache.set('k', value, -1);
      assert.equal(await cache.get('k'), value);
      assert.equal(await cache.length(), 0);
    });

    it('a promise is awaited by get, and lies as it is in the synchronous cache', async () => {
      const cache = new Cache({ namespace: await place() });
      const promise = Promise.resolve('later');
      await cache.set('k', promise);
      assert.equal(await cache.get('k'), 'later');
      assert.equal(cache.getCache().get('k'), promise);
      assert.equal((await cache.mGet(['k'])).k, promise);
    });

    it('many entries keep each its own value, through replacing and removing', async () => {
      const cache = new Cache({ namespace: await place() }).getCache();
      const model = new Map();
      for (let round = 0; round < 5000; round += 1) {
        const key = (round * 7919) % 701;
        if (round % 3 === 0) {
          cache.del(key);
          model.delete(key);
        } else {
          const value = round % 5 === 0 ? round : { round };
          cache.set(key, value);
          model.set(key, value);
        }
      }
      assert.equal(cache.length, model.size);
      for (const [key, value] of model) assert.equal(cache.get(key), value);
    });

    it('mSet reads only own enumerable string keys', async () => {
      const cache = new Cache({ namespace: await place() });
      const pairs = Object.create({ inherited: 1 });
      Object.defineProperty(pairs, 'hidden', { value: 1 });
      await cache.mSet(Object.assign(pairs, { own: 1, [Symbol('symbol')]: 1 }));
      assert.deepEqual(await cache.keys(), ['own']);
    });

    it('an error stays an error after a bound was lowered over many objects', async () => {
      const namespace = await place();
      const cache = new Cache({ namespace });
      for (let index = 0; index < 200; index += 1) await cache.set(index, {});
      new Cache({ namespace, max: 1 });
      await assert.rejects(cache.set({}, 1), TypeError);
      assert.deepEqual(await cache.keys(), [199]);
    });
  });
}

classTests('alone');

describeShared('with a worker', () => {
  const { worker: start } = processes();
  const options = { timeout: 10_000, failsafe: 'reject' };
  let worker;
  before(async () => {
    worker = await start({ transport: 'shared-memory' });
  });

  classTests('in the memory that a worker has attached', (namespace) =>
    worker.open({ ...options, namespace }),
  );
});
