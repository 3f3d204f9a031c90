'use strict';

/**
 * Sixteen workers on eight keys, every command at random; the primary makes calls, too:
 *
 *   node __test__/stress/small.js [seconds]
 *
 * No value may be other than it was written, no call may fail or outlast its timeout, a counter is the sum of what
 * was added, and the segment is valid at the end.
 */

const assert = require('node:assert/strict');
const { startWorker } = require('../helpers/agents');
const { segmentsOf, validate } = require('./segment');

const SECONDS = Number(process.argv[2] ?? 10);
const WORKERS = 16;

async function work({ Cache, require: load }, { seconds, values }) {
  const { seal, flaw } = load(values);
  const { setImmediate: turn } = load('node:timers/promises');
  const options = { timeout: 20_000, failsafe: 'reject' };
  const cache = await Cache.getInstance({ ...options, namespace: 'small' });
  const counts = await Cache.getInstance({ ...options, namespace: 'counts' });
  const random = (below) => Math.floor(Math.random() * below);
  const keys = ['a', 'b', 1, 2, true, null, '', 'a longer key '.repeat(20)];
  const flaws = [];
  const verify = (key, value) => {
    if (value === undefined || typeof value === 'number') return;
    const wrong = flaw(String(key), value);
    if (wrong) flaws.push(`${String(key)}: ${wrong}`);
  };
  const calls = {
    get: async (key) => verify(key, await cache.get(key)),
    peek: async (key) => verify(key, await cache.peek(key)),
    has: (key) => cache.has(key),
    set: (key) => cache.set(key, seal(String(key)), random(3)),
    del: (key) => cache.del(key),
    incr: (key) => cache.incr(key, 1, random(2) * 1000),
    mSet: () => cache.mSet(Object.fromEntries(['a', 'b'].map((key) => [key, seal(key)]))),
    mGet: async () => {
      const found = await cache.mGet(keys);
      for (const key of Object.keys(found)) verify(key, found[key]);
    },
    mDel: () => cache.mDel(keys.slice(random(8))),
    dump: async () => {
      for (const { k, v } of await cache.dump()) verify(k, v);
    },
    values: () => cache.values(),
    keys: async () => {
      const found = await cache.keys();
      if (new Set(found).size !== found.length) flaws.push(`twice among ${found}`);
    },
    load: async () => cache.execute('load', await cache.dump()),
    pop: async () => {
      const popped = await cache.execute('pop');
      if (popped) verify(popped.key, popped.value);
    },
    prune: () => cache.prune(),
    reset: () => cache.reset(),
    length: () => cache.length(),
    max: () => cache.max(1 + random(10)),
    maxAge: () => cache.maxAge(random(3)),
    stale: () => cache.stale(random(2) === 0),
  };
  const names = Object.keys(calls);
  let made = 0;
  let added = 0;
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await calls[names[random(names.length)]](keys[random(keys.length)]);
    await counts.incr('all', 2);
    added += 2;
    made += 2;
    if (made % 100 === 0) await turn();
  }
  return { made, added, flaws: flaws.slice(0, 5), transport: cache.transport().kind };
}

async function main() {
  const Cache = require('../..');
  const workers = await Promise.all(
    Array.from({ length: WORKERS }, (_, at) =>
      startWorker({ env: { LRU_CACHE_SHARED: at < 2 ? '0' : '' } }),
    ),
  );
  const given = { seconds: SECONDS, values: require.resolve('./values') };
  const done = await Promise.all([
    ...workers.map((worker) => worker.run(work, given)),
    work({ Cache, require }, given),
  ]);
  const sum = (field) => done.reduce((total, each) => total + each[field], 0);
  const transports = done.map(({ transport }) => transport).join(' ');
  console.log(`${sum('made')} calls in ${SECONDS} s; transports: ${transports}`);
  assert.deepEqual(
    done.flatMap(({ flaws }) => flaws),
    [],
  );
  assert.equal(await new Cache({ namespace: 'counts', timeout: 5000 }).get('all'), sum('added'));
  for (const segment of segmentsOf(process.pid)) console.log(validate(segment));
  await Promise.all(workers.map((worker) => worker.kill()));
}

main();
