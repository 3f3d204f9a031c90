'use strict';

// Calls that three workers make at once on one adapter: each is one step for all of them.

const assert = require('node:assert/strict');
const { Spread } = require('./helpers/spread');

/** Workers, and two rounds of each. */
const CALLS = 6;
const KEYS = Array.from({ length: 300 }, (_, n) => `key-${n}`);

const range = (length, of) => Array.from({ length }, (_, n) => of(n));
const count = (values, value) => values.filter((one) => one === value).length;

describe('adapters, with calls of three workers at once', () => {
  describe('in shared memory', () => suite({ LRU_CACHE_SHARED: '' }));
  describe('by IPC', () => suite({ LRU_CACHE_SHARED: '0' }));
});

function suite(env) {
  const spread = new Spread();
  before(() => void spread.start(env));
  after(() => spread.stop());

  const METHODS = {
    unstorage: 'setItem getItem getItems setItems hasItem getKeys clear removeItem',
    bentocache: 'get set pull delete deleteMany clear',
  };
  const adapterOf = (kind, options) => spread.adapter(kind, options, METHODS[kind].split(' '));

  const kinds = {
    'Keyv 5': {
      make: (namespace) =>
        Object.assign(spread.keyv('keyv', { namespace: 'at-once-5' }), { namespace }),
      // Keyv 5 puts the namespace before each key.
      key: (store, name) => `${store.namespace}:${name}`,
      set: (store, key, value) => store.set(key, value),
      get: (store, key) => store.get(key),
      remove: (store, key) => store.delete(key),
      clear: (store) => store.clear(),
      list: async (store) => (await store.all(store.namespace)).map(([key]) => key),
    },
    'Keyv 6': {
      make: (namespace) =>
        Object.assign(spread.keyv('keyv6', { namespace: 'at-once-6' }), { namespace }),
      key: (_, name) => name,
      set: (store, key, value) => store.set(key, value),
      get: (store, key) => store.get(key),
      remove: (store, key) => store.delete(key),
      clear: (store) => store.clear(),
      list: async (store) => (await store.all()).map(([key]) => key),
    },
    unstorage: {
      make: (name) => Object.assign(adapterOf('unstorage', { namespace: 'at-once-u' }), { name }),
      key: (driver, name) => `${driver.name}:${name}`,
      set: (driver, key, value) => driver.setItem(key, value),
      get: (driver, key) => driver.getItem(key),
      clear: (driver) => driver.clear(driver.name),
      list: (driver) => driver.getKeys(driver.name),
    },
    bentocache: {
      make: (name) => adapterOf('bentocache', { namespace: 'at-once-b', path: [name] }),
      key: (_, name) => name,
      set: (driver, key, value) => driver.set(key, value),
      get: (driver, key) => driver.get(key),
      remove: (driver, key) => driver.delete(key),
      pull: (driver, key) => driver.pull(key),
      clear: (driver) => driver.clear(),
    },
  };

  for (const [kind, { make, key, set, get, remove, pull, clear, list }] of Object.entries(kinds)) {
    describe(kind, () => {
      let one;
      let other;
      before(() => {
        one = make('one');
        other = make('other');
      });
      beforeEach(async () => {
        await clear(one);
        await clear(other);
      });
      const keys = (store) => KEYS.map((name) => key(store, name));

      it('what each has written is there for all', async () => {
        await Promise.all(keys(one).map((name) => set(one, name, `value of ${name}`)));
        for (let round = 0; round < 3; round += 1) {
          // Another worker reads than has written, and another one in each round.
          const found = await Promise.all(keys(one).map((name) => get(one, name)));
          assert.deepEqual(
            found,
            keys(one).map((name) => `value of ${name}`),
          );
          await get(one, key(one, 'none'));
        }
        if (list) assert.deepEqual((await list(one)).sort(), keys(one).sort());
      });

      it('of writes to one key one stands, whole, and the same for all', async () => {
        for (let round = 0; round < 20; round += 1) {
          const values = range(CALLS, (n) => `${round}-${n}-`.repeat(5000));
          await Promise.all(values.map((value) => set(one, key(one, 'k'), value)));
          const found = await Promise.all(range(CALLS, () => get(one, key(one, 'k'))));
          assert.ok(values.includes(found[0]));
          for (const value of found) assert.ok(value === found[0]);
        }
      });

      it('clear leaves alone what others write beside', async () => {
        await Promise.all(keys(one).map((name) => set(one, name, 'a')));
        await Promise.all([
          ...keys(other).map((name) => set(other, name, 'b')),
          ...range(CALLS, () => clear(one)),
        ]);
        const left = await Promise.all(keys(one).map((name) => get(one, name)));
        assert.equal(left.filter((value) => value === 'a').length, 0);
        const beside = await Promise.all(keys(other).map((name) => get(other, name)));
        assert.equal(count(beside, 'b'), KEYS.length);
      });

      if (remove) {
        it('of removals of one key one has found it', async () => {
          for (let round = 0; round < 20; round += 1) {
            await set(one, key(one, 'k'), 'v');
            const removed = await Promise.all(range(CALLS, () => remove(one, key(one, 'k'))));
            assert.deepEqual([count(removed, true), count(removed, false)], [1, CALLS - 1]);
          }
        });
      }

      if (pull) {
        it('of pulls of one key one gets the value', async () => {
          for (let round = 0; round < 20; round += 1) {
            await set(one, key(one, 'k'), 'v');
            const pulled = await Promise.all(range(CALLS, () => pull(one, key(one, 'k'))));
            assert.deepEqual([count(pulled, 'v'), count(pulled, undefined)], [1, CALLS - 1]);
          }
        });
      }
    });
  }
}
