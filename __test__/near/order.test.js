'use strict';

// The order of recency over several processes: three workers and the primary take turns with random calls, no two of
// which overlap, while the cache is full. What is evicted, and the order of the keys, is the same as in `lru-cache` 6 in one
// process. STRESS=1: 10,000 runs. A seed decides a run: SEED is that of the first.

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');
const Cache = require('../..');
const { STRESS, describeShared, processes, unique } = require('../helpers');
const { Random } = require('../differential/random');

const LRU = createRequire(require.resolve('lru-cache-for-clusters-1.7.4'))('lru-cache');

const RUNS = STRESS ? 10_000 : 200;
const TURNS = 20;
const FIRST = Number(process.env.SEED ?? 1);

const KEYS = Array.from({ length: 14 }, (_, at) => (at % 4 === 0 ? at : `key:${at}`));

/** A call by the class, and what it is in `lru-cache` 6. */
const REFERENCE = {
  get: (lru, key) => lru.get(key),
  peek: (lru, key) => lru.peek(key),
  has: (lru, key) => lru.has(key),
  set: (lru, key, value) => lru.set(key, value),
  del: (lru, key) => void lru.del(key),
  mGet(lru, keys) {
    const found = keys.map((key) => [key, lru.get(key)]);
    return Object.fromEntries(found.filter(([, value]) => value !== undefined));
  },
  mSet(lru, pairs) {
    for (const [key, value] of pairs) lru.set(key, value);
    return true;
  },
  incr(lru, key, amount) {
    const value = (lru.get(key) ?? 0) + amount;
    lru.set(key, value);
    return value;
  },
};

function drawCall(random) {
  const name = random.weighted({
    get: 14,
    mGet: 3,
    peek: 2,
    has: 1,
    set: 5,
    mSet: 1,
    del: 1,
    incr: 1,
  });
  const value = () => random.pick([random.below(100), `text ${random.below(100)}`, { n: [1] }]);
  switch (name) {
    case 'set':
      return { name, args: [random.pick(KEYS), value()] };
    case 'mGet':
      return { name, args: [random.sample(KEYS, 1 + random.below(5))] };
    case 'mSet':
      return {
        name,
        args: [random.sample(KEYS, 1 + random.below(4)).map((key) => [key, value()])],
      };
    case 'incr':
      // A key that no other call gives a value.
      return { name, args: ['count', 1 + random.below(3)] };
    default:
      return { name, args: [random.pick(KEYS)] };
  }
}

async function openAll({ Cache: Class, state }, names) {
  state.open = {};
  for (const namespace of names) {
    const options = { namespace, timeout: 10_000, failsafe: 'reject' };
    state.open[namespace] = [
      await Class.getInstance(options),
      await Class.getInstance({ ...options, near: false }),
    ];
  }
}

async function take({ state }, namespace, calls) {
  const results = [];
  for (const { name, args, native } of calls) {
    results.push(await state.open[namespace][native ? 1 : 0][name](...args));
  }
  return results;
}

describeShared('the order of recency of processes that take turns', () => {
  const { worker: start } = processes();
  const namespaces = Array.from({ length: 4 }, () => unique('order'));
  const here = { state: {}, Cache };
  let actors;

  before(async () => {
    await openAll(here, namespaces);
    const workers = [1, 2, 3].map(() => start({ transport: 'shared-memory' }));
    actors = [
      (...args) => take(here, ...args),
      ...(await Promise.all(workers)).map(
        (worker) =>
          (...args) =>
            worker.run(take, ...args),
      ),
    ];
    for (const worker of await Promise.all(workers)) await worker.run(openAll, namespaces);
  });

  it(`is that of lru-cache 6: ${RUNS} runs`, async () => {
    let calls = 0;
    let evicted = 0;
    const since = performance.now();
    for (let seed = FIRST; seed < FIRST + RUNS; seed += 1) {
      const random = new Random(seed);
      const namespace = random.pick(namespaces);
      const max = 2 + random.below(8);
      const [cache] = here.state.open[namespace];
      await cache.reset();
      await cache.max(max);
      const lru = new LRU({ max, dispose: () => (evicted += 1), noDisposeOnSet: true });
      for (let turn = 0; turn < TURNS; turn += 1) {
        // The primary takes few: it needs no message.
        const actor = random.chance(0.1) ? 0 : 1 + random.below(3);
        const made = random.some(6, () => ({ ...drawCall(random), native: random.chance(0.2) }));
        const context = `seed ${seed}, turn ${turn} of actor ${actor}: ${JSON.stringify(made)}`;
        const expected = made.map(({ name, args }) => REFERENCE[name](lru, ...args));
        assert.deepEqual(await actors[actor](namespace, made), expected, context);
        calls += made.length;
        // Not after each turn: so uses of several processes are put in order at once.
        if (random.chance(0.2)) assert.deepEqual(await cache.keys(), lru.keys(), context);
      }
      assert.deepEqual(await cache.keys(), lru.keys(), `seed ${seed}`);
      assert.deepEqual(await cache.values(), lru.values(), `seed ${seed}`);
    }
    const seconds = ((performance.now() - since) / 1000).toFixed(1);
    if (STRESS) console.log({ runs: RUNS, calls, evicted, seconds });
  }).timeout(STRESS ? 1_800_000 : 60_000);
});
