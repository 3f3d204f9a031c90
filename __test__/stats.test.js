'use strict';

// stats(): what is counted, by every road; that counts survive the death of processes. STRESS=1: 300 kills.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const Cache = require('..');
const { FIELDS } = require('../lib/stats');
const { NearCache } = require('../lib/near/near-cache');
const { Store } = require('./near/store');
const {
  STRESS,
  TRANSPORTS,
  describeShared,
  processes,
  startWorker,
  unique,
  until,
} = require('./helpers');

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'stats-'));
after(() => fs.rmSync(directory, { recursive: true }));

/** Makes calls whose counts are known. */
async function calls(cache) {
  for (let key = 0; key < 5; key += 1) await cache.set(`k${key}`, { key });
  for (let key = 0; key < 5; key += 1) {
    await cache.get(`k${key}`);
    await cache.get(`k${key}`);
  }
  await cache.mGet(['k4', 'none', 'k3', 'k2']);
  await cache.peek('k4');
  await cache.has('none');
  await cache.set('old', 1, -1);
  await cache.get('old');
  await cache.del('k2');
  await cache.del('k2');
  await cache.incr('n');
}

const COUNTS = {
  hits: 9,
  misses: 6,
  staleHits: 0,
  sets: 7,
  deletes: 1,
  evictions: 3,
  expirations: 1,
  entries: 2,
  recoveries: 0,
  droppedEntries: 0,
};

/** What `stats` gives, by the names in `COUNTS`. */
const counted = (stats) =>
  Object.fromEntries(Object.keys(COUNTS).map((field) => [field, stats[field]]));

const options = () => ({ namespace: unique('stats'), max: 3, maxSize: 1e6, timeout: 10_000 });

describe('stats in a process without workers', () => {
  it('counts what the calls did', async () => {
    const given = options();
    const cache = new Cache(given);
    await calls(cache);
    const stats = await cache.stats();
    assert.deepEqual(counted(stats), COUNTS);
    const { namespace, size, bytes, maxSize, processes: count, transport, near } = stats;
    assert.deepEqual(
      { namespace, bytes, maxSize, count, transport },
      {
        namespace: given.namespace,
        bytes: size,
        maxSize: 1e6,
        count: 1,
        transport: { kind: 'local' },
      },
    );
    assert.ok(near.hits > 0 && near.hits <= stats.hits + 2 && near.bytes > 0);
  });

  it('the synchronous class and execute give what processes share', async () => {
    const cache = new Cache(options());
    await calls(cache);
    for (const stats of [cache.getCache().stats(), await cache.execute('stats')]) {
      assert.deepEqual(Object.keys(stats), [...FIELDS, 'fetches']);
      assert.deepEqual(counted(stats), COUNTS);
    }
    const own = new Cache.LRUCache({ max: 1 });
    own.set('a', 1);
    own.set('b', 1);
    own.get('a');
    const { evictions, misses, maxSize } = own.stats();
    assert.deepEqual(
      { evictions, misses, maxSize },
      { evictions: 1, misses: 1, maxSize: Infinity },
    );
  });

  it('of all namespaces: the static method', async () => {
    const cache = new Cache(options());
    await cache.set('key', 1);
    const all = await Cache.stats();
    assert.deepEqual(all[cache.namespace], await cache.stats());
    assert.ok(Object.keys(all).length > 1);
  });

  it('stale values are hits, too', async () => {
    const cache = new Cache({ ...options(), stale: true });
    await cache.set('old', 1, -1);
    assert.equal(await cache.get('old'), 1);
    const { hits, misses, staleHits, expirations } = await cache.stats();
    assert.deepEqual([hits, misses, staleHits, expirations], [1, 0, 1, 1]);
  });

  it('near hits are exact', async () => {
    const cache = new Cache(options());
    await cache.set('key', { a: 1 });
    await cache.get('key');
    const before = (await cache.stats()).near.hits;
    for (let read = 0; read < 5000; read += 1) await cache.get('key');
    const { near, hits } = await cache.stats();
    assert.equal(near.hits - before, 5000);
    assert.equal(hits, 5001);
  });
});

describe('hits that a ring does not hold', () => {
  it('are counted where the ring is full, and not where they are recorded twice', () => {
    const store = new Store();
    const port = store.attach();
    const near = new NearCache(port, {});
    store.set('key', 'value');
    const begun = near.begin();
    store.read(port, 'key');
    near.remember(begun, 'key', 'value');
    store.free = false;
    for (let read = 0; read < 3000; read += 1) assert.equal(near.get('key'), 'value');
    const [head] = new Int32Array(port.ring);
    const [, , , , dropped, uncounted] = new Float64Array(port.ring);
    assert.ok(dropped > 0);
    assert.deepEqual([head + dropped, uncounted, near.hits], [3000, 0, 3000]);
  });
});

for (const transport of TRANSPORTS) {
  describe(`stats from a worker, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let worker;
    before(async () => {
      worker = await start({ transport });
    });

    it('counts what the calls did, and those of other processes', async () => {
      const given = options();
      const cache = await worker.open(given);
      await calls(cache);
      const stats = await cache.stats();
      assert.deepEqual(counted(stats), COUNTS);
      assert.equal(stats.transport.kind, transport);
      assert.equal(stats.maxSize, 1e6);
      const here = new Cache(given);
      await here.get('n');
      assert.deepEqual(counted(await cache.stats()), { ...COUNTS, hits: COUNTS.hits + 1 });
      assert.deepEqual(counted(await here.stats()), { ...COUNTS, hits: COUNTS.hits + 1 });
      assert.equal((await here.stats()).processes, transport === 'ipc' ? 1 : 2);
      assert.deepEqual(counted(await cache.execute('stats')), counted(await here.stats()));
    });

    it('a hit of a value that the primary keeps by reference is counted once', async () => {
      const given = options();
      const here = new Cache(given);
      await here.set('key', { by: 'reference' });
      const cache = await worker.open(given);
      assert.deepEqual(await cache.get('key'), { by: 'reference' });
      assert.equal(await cache.get('none'), undefined);
      const { hits, misses } = await cache.stats();
      assert.deepEqual([hits, misses], [1, 1]);
    });

    it('reads of the synchronous cache count after a worker has come, as uses too', async () => {
      const given = options();
      const cache = new Cache(given).getCache();
      for (const key of ['a', 'b', 'c']) cache.set(key, key);
      const other = await worker.open(given);
      for (let read = 0; read < 3; read += 1) assert.equal(cache.get('a'), 'a');
      assert.equal(cache.stats().hits, 3);
      assert.deepEqual(await other.keys(), ['a', 'c', 'b']);
    });

    it('the static method gives the namespaces of the worker', async () => {
      const given = options();
      await worker.open(given);
      const all = await worker.run(({ Cache: Class }) => Class.stats());
      assert.ok(Object.hasOwn(all, given.namespace));
      assert.ok(Object.hasOwn(await Cache.stats(), given.namespace), 'and those of the primary');
    });

    it('a primary that does not answer is an error, whatever failsafe says', async function () {
      if (transport !== 'ipc') this.skip();
      const agent = await start({ transport });
      const file = path.join(directory, 'settled');
      await agent.run(async ({ Cache: Class, state }, given) => {
        state.cache = await Class.getInstance(given);
      }, options());
      const settled = agent.run(async ({ state, require: load }, name) => {
        state.cache.timeout = 20;
        const outcome = await state.cache.stats().catch(({ code }) => code);
        load('node:fs').writeFileSync(name, '');
        return outcome;
      }, file);
      // No answer leaves while this loop runs.
      const end = performance.now() + 10_000;
      while (!fs.existsSync(file) && performance.now() < end);
      assert.equal(await settled, 'ETIMEDOUT');
    });
  });
}

/** In a worker: reads without end, and notes each read that was acknowledged in a file. */
async function read({ Cache: Class, require: load }, given, file) {
  const { openSync, writeSync } = load('node:fs');
  const cache = await Class.getInstance(given);
  const notes = openSync(file, 'w');
  const count = new Float64Array(1);
  const key = () => `k${Math.floor(Math.random() * 60)}`;
  for (let turn = 0; ; turn += 1) {
    const choice = Math.random();
    if (choice < 0.1) {
      await cache.set(key(), { turn });
      continue;
    }
    const keys = Array.from({ length: 8 }, key);
    if (choice < 0.2) await cache.mGet(keys);
    else await cache.get(keys[0]);
    // A key that comes twice is read twice.
    count[0] += choice < 0.2 ? 8 : 1;
    writeSync(notes, count, 0, 8, 0);
    if (turn % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

describeShared('stats and death', () => {
  const KILLS = STRESS ? 300 : 8;

  it(`hits and misses are the reads acknowledged, after ${KILLS} kills`, async () => {
    const given = { namespace: unique('killed'), max: 50, timeout: 10_000, failsafe: 'reject' };
    const cache = new Cache(given);
    let [killed, acknowledged, own] = [0, 0, 0];
    const notes = (file) => {
      const bytes = fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0);
      return bytes.length === 8 ? bytes.readDoubleLE() : 0;
    };
    const victims = async (number) => {
      for (let at = number; at < KILLS; at += 2) {
        const worker = await startWorker({ transport: 'shared-memory' });
        const file = path.join(directory, String(at));
        worker.run(read, given, file).catch(() => {});
        await until(() => notes(file) > 0);
        await sleep(Math.random() * 60);
        for (let reads = 0; reads < 5; reads += 1) {
          await cache.get(`k${reads}`);
          own += 1;
        }
        await worker.kill();
        acknowledged += notes(file);
        killed += 1;
      }
    };
    await Promise.all([victims(0), victims(1)]);
    const { hits, misses, processes: count, near } = await cache.stats();
    const reads = acknowledged + own;
    // A killed `mGet` may have read all its keys, and noted them twice: in part from here, in part in their order.
    const slack = killed * 2 * 8;
    const figures = JSON.stringify({ killed, reads, hits, misses, slack, near });
    if (STRESS) console.log(figures);
    assert.ok(hits + misses >= reads && hits + misses <= reads + slack, figures);
    assert.ok(acknowledged > 100 * KILLS, figures);
    assert.equal(count, 1, 'those that were killed are not counted');
  }).timeout(STRESS ? 1_800_000 : 60_000);
});
