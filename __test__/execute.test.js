'use strict';

// Functions that the application puts on the object of getCache(), and their calls by name.

const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const Cache = require('..');
const { TRANSPORTS, describeShared, unique, processes } = require('./helpers');

const PATIENT = { timeout: 30_000, failsafe: 'reject' };

/** The functions that these tests put on the cache of a namespace. */
function prepare(cache) {
  const store = cache.getCache();
  store.transfer = function transfer(from, to, amount) {
    assert.equal(this, store);
    const left = (this.get(from) ?? 0) - amount;
    if (left < 0) throw Object.assign(new RangeError(`${from} has too little`), { code: 'EPOOR' });
    this.set(from, left);
    this.set(to, (this.get(to) ?? 0) + amount);
    return { left };
  };
  store.later = async (...args) => {
    await sleep(20);
    return args;
  };
  store.fails = async () => {
    await sleep(1);
    throw new TypeError('later');
  };
  store.has = () => 'the own one';
  store.nothing = () => undefined;
  store.big = () => 1n;
  store.notAFunction = 5;
  return store;
}

/** What holds of `execute` in every process. */
function describeExecute(open) {
  it('calls a function that the application put on the cache, with the cache as this', async () => {
    const { primary, cache } = await open();
    await primary.set('ann', 5);
    assert.deepEqual(await cache.execute('transfer', 'ann', 'bob', 3), { left: 2 });
    assert.deepEqual(await primary.mGet(['ann', 'bob']), { ann: 2, bob: 3 });
    assert.equal(await cache.execute('nothing'), undefined);
  });

  it('gives what the Promise of such a function gives, later calls first', async () => {
    const { cache } = await open();
    const order = [];
    const calls = [
      cache
        .execute('later', 1, [2], { three: 3 }, null)
        .then((value) => (order.push('later'), value)),
      cache.get('k').then(() => order.push('get')),
    ];
    assert.deepEqual((await Promise.all(calls))[0], [1, [2], { three: 3 }, null]);
    assert.deepEqual(order, ['get', 'later']);
  });

  it('rejects with what such a function throws, at once or later', async () => {
    const { cache } = await open();
    await assert.rejects(cache.execute('transfer', 'ann', 'bob', 3), {
      name: 'RangeError',
      message: 'ann has too little',
      code: 'EPOOR',
    });
    await assert.rejects(cache.execute('fails'), { name: 'TypeError', message: 'later' });
  });

  it('prefers such a function to a command of that name', async () => {
    const { cache } = await open();
    assert.equal(await cache.execute('has', { any: 'argument' }), 'the own one');
    assert.equal(await cache.has('k'), false);
  });

  it('reaches nothing that is inherited or is no function', async () => {
    const { cache } = await open();
    for (const name of ['constructor', '__proto__', 'toString', 'notAFunction', 'execute', '']) {
      await assert.rejects(cache.execute(name), {
        message: `LRUCache.${name}() is not a valid function`,
      });
    }
  });

  it('keeps its place among other calls', async () => {
    const { cache } = await open();
    const calls = [
      cache.set('a', 10),
      cache.execute('transfer', 'a', 'b', 4),
      cache.get('a'),
      cache.execute('set', 'a', 1),
      cache.execute('incr', 'a', 2),
      cache.get('a'),
    ];
    assert.deepEqual(await Promise.all(calls), [true, { left: 6 }, 6, true, 3, 3]);
  });
}

describe('functions of the application on getCache()', () => {
  describe('in the primary', () => {
    describeExecute(async () => {
      const cache = new Cache({ namespace: unique('own') });
      prepare(cache);
      return { primary: cache, cache };
    });
  });

  for (const transport of TRANSPORTS) {
    describe(`from a worker, ${transport}`, () => {
      const { worker: start } = processes();
      let worker;
      before(async () => {
        worker = await start({ transport });
      });

      async function open(options) {
        const namespace = unique('own');
        const primary = new Cache({ namespace });
        prepare(primary);
        return { primary, cache: await worker.open({ namespace, ...PATIENT, ...options }) };
      }

      describeExecute(open);

      it('carries structured clones, where values travel so', async () => {
        const { cache } = await open({ serialization: 'advanced' });
        const args = [new Date(5), new Map([[1, 2n]])];
        assert.deepEqual(await cache.execute('later', ...args), args);
      });

      it('says what cannot be sent, and what is wrong with the arguments of a command', async () => {
        const { cache } = await open();
        await assert.rejects(cache.execute('later', 1n), { name: 'TypeError', message: /JSON/ });
        await assert.rejects(cache.execute('big'), { name: 'TypeError', message: /BigInt/ });
        await assert.rejects(cache.execute('set', {}, 1), { message: /a key must be/ });
        await assert.rejects(cache.execute('load', 'dump'), { message: /array of entries/ });
        assert.equal(await cache.execute('set', 5n, 1), true);
        assert.deepEqual(await cache.execute('mGet', [5n, 'miss']), { 5: 1 });
      });
    });
  }

  describeShared('while others call', () => {
    const { worker: start } = processes();

    it('are one step for all processes', async () => {
      const namespace = unique('own');
      const primary = new Cache({ namespace });
      const store = primary.getCache();
      // Long enough for others to come between its calls, where they could.
      store.step = function step() {
        const before = this.get('n');
        const end = performance.now() + 0.2;
        while (performance.now() < end);
        this.set('n', before + 1);
        return this.get('n') === before + 1;
      };
      await primary.set('n', 0);
      const workers = await Promise.all([
        start({ transport: 'shared-memory' }),
        start({ transport: 'shared-memory' }),
      ]);
      const counting = workers.map(async (worker, index) => {
        await worker.open({ namespace, ...PATIENT });
        return worker.run(
          async ({ Cache: Own }, options, own) => {
            const cache = await Own.getInstance(options);
            for (let round = 0; round < 300; round += 1) {
              if (own && !(await cache.execute('step'))) return 'another call came between';
              if (!own) await cache.incr('n');
            }
            return 'done';
          },
          { namespace, ...PATIENT },
          index === 0,
        );
      });
      const steps = Array.from({ length: 100 }, () => primary.execute('step'));
      assert.deepEqual(await Promise.all(counting), ['done', 'done']);
      assert.ok((await Promise.all(steps)).every(Boolean));
      assert.equal(await primary.get('n'), 700);
    });

    it('give the store back when they throw', async () => {
      const namespace = unique('own');
      const primary = new Cache({ namespace });
      primary.getCache().fails = () => {
        throw new Error('own');
      };
      const worker = await start({ transport: 'shared-memory' });
      const cache = await worker.open({ namespace, ...PATIENT });
      await assert.rejects(primary.execute('fails'), { message: 'own' });
      assert.equal(await cache.set('k', 1), true);
      assert.deepEqual(await cache.transport(), { kind: 'shared-memory' });
    });
  });
});
