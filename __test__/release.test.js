'use strict';

// A value that the primary set by reference can be collected as soon as its entry is gone, by whatever way
// it went, without a further call. Runs in a process of its own with `--expose-gc`, which makes no call on its caches
// while it waits: what a worker removes through the shared memory, it finds by itself, within a second or so.

const assert = require('node:assert/strict');
const { TRANSPORTS, processes } = require('./helpers');

/** How an entry goes in the primary: [title, options of the cache, what is done]. */
const ways = [
  ['del', {}, ({ cache }) => cache.del('k')],
  ['mDel', {}, ({ cache }) => cache.mDel(['k'])],
  ['reset', {}, ({ cache }) => cache.reset()],
  ['an overwriting set', {}, ({ cache }) => cache.set('k', {})],
  ['an overwriting mSet', {}, ({ cache }) => cache.mSet({ k: 1 })],
  ['incr', {}, ({ cache }) => cache.incr('k')],
  ['eviction by set', { max: 1 }, ({ cache }) => cache.set('other', 1)],
  ['eviction by max()', {}, async ({ cache }) => (await cache.set('other', 1), cache.max(1))],
  [
    "eviction by another instance's max",
    {},
    async ({ cache, Cache }) => {
      await cache.set('other', 1);
      new Cache({ namespace: cache.namespace, max: 1 });
    },
  ],
  [
    "eviction by another instance's max, with many others",
    {},
    async ({ cache, Cache }) => {
      for (let index = 0; index < 1000; index += 1) await cache.set(index, {});
      new Cache({ namespace: cache.namespace, max: 1 });
    },
  ],
  ['pop', {}, async ({ cache }) => void (await cache.execute('pop'))],
  ['load', {}, ({ cache }) => cache.execute('load', [{ k: 'other', v: 1, e: 0 }])],
  ['get after it expired', { maxAge: -1 }, ({ cache }) => cache.get('k')],
  [
    'get after it expired, with stale',
    { maxAge: -1, stale: true },
    async ({ cache }) => void (await cache.get('k')),
  ],
  ['peek after it expired', { maxAge: -1 }, ({ cache }) => cache.peek('k')],
  ['mGet after it expired', { maxAge: -1 }, ({ cache }) => cache.mGet(['k'])],
  ['prune', { maxAge: -1 }, ({ cache }) => cache.prune()],
  ['forEach after it expired', { maxAge: -1 }, ({ cache }) => cache.getCache().forEach(() => {})],
  ['a cron prune', { maxAge: -1, prune: '* * * * * *' }, () => {}],
];

/** How it goes by a worker's call. */
const workersWays = [
  ["a worker's del", {}, ({ worker }) => worker.del('k')],
  ["a worker's mDel", {}, ({ worker }) => worker.mDel(['k'])],
  ["a worker's reset", {}, ({ worker }) => worker.reset()],
  ["a worker's set", {}, ({ worker }) => worker.set('k', 1)],
  ["a worker's mSet", {}, ({ worker }) => worker.mSet({ k: 1 })],
  ["a worker's incr", {}, ({ worker }) => worker.incr('k')],
  ["a worker's get after it expired", { maxAge: -1 }, ({ worker }) => worker.get('k')],
  ["a worker's peek after it expired", { maxAge: -1 }, ({ worker }) => worker.peek('k')],
  ["a worker's mGet after it expired", { maxAge: -1 }, ({ worker }) => worker.mGet(['k'])],
  [
    "a worker's get after it expired, with stale",
    { maxAge: -1, stale: true },
    ({ worker }) => worker.get('k'),
  ],
  ["a worker's pop", {}, ({ worker }) => worker.execute('pop')],
  ["a worker's eviction", { max: 1 }, ({ worker }) => worker.set('other', 1)],
  ["a worker's max()", {}, async ({ worker }) => (await worker.set('other', 1), worker.max(1))],
  ["a worker's prune", { maxAge: -1 }, ({ worker }) => worker.prune()],
  ["a worker's load", {}, ({ worker }) => worker.execute('load', [])],
  [
    "a worker's load of others",
    {},
    ({ worker }) => worker.execute('load', [{ k: 'k', v: { n: 1 }, e: 0 }]),
  ],
  [
    "the options of a worker's instance",
    {},
    async ({ worker, open }) => (await worker.set('other', 1), void (await open({ max: 1 }))),
  ],
];

for (const transport of TRANSPORTS) {
  describe(`a value of the primary can be collected, beside a worker with the transport: ${transport}, after`, () => {
    const { primary: start } = processes();
    let primary;

    before(async () => {
      primary = await start({ execArgv: ['--expose-gc'] });
      await primary.run(async ({ Cache, require, state }, by) => {
        const { startWorker, until } = require('.');
        state.worker = await startWorker({ transport: by });
        /** Fills an entry with an object that nothing else holds. */
        state.fill = async (set) => {
          const value = { text: 'x'.repeat(100) };
          await set(value);
          return new WeakRef(value);
        };
        /** Waits until the object is collected. */
        state.gone = (ref) =>
          until(() => {
            global.gc();
            return ref.deref() === undefined;
          }, 5000);
        /** Whether the object stays, for as long as `gone` usually takes. */
        state.stays = async (ref) => {
          for (let round = 0; round < 3; round += 1) {
            await new Promise((resolve) => setImmediate(resolve));
            global.gc();
          }
          return ref.deref() !== undefined;
        };
        state.Cache = Cache;
      }, transport);
    });

    /**
     * @param {boolean} isEarly whether the value is set before the worker comes
     */
    async function isReleased([, options, remove], isEarly = false) {
      const stayed = await primary.run(
        async ({ Cache, state }, given, source, early) => {
          const namespace = `${early} ${source}`;
          const cache = new Cache({ ...given, namespace });
          const open = (more) =>
            state.worker.open({ ...more, namespace, timeout: 10_000, failsafe: 'reject' });
          let worker = early ? undefined : await open();
          const ref = await state.fill((value) => cache.set('k', value));
          worker ??= await open();
          // A schedule may strike at once.
          const before = given.prune ? true : await state.stays(ref);
          await (0, eval)(source)({ cache, worker, open, Cache });
          await state.gone(ref);
          return before;
        },
        options,
        String(remove),
        isEarly,
      );
      assert.ok(stayed, 'it stayed while its entry was there');
    }

    for (const way of [...ways, ...workersWays]) {
      it(way[0], () => isReleased(way));
    }

    it("a worker's del, where it was set before the worker came", () =>
      isReleased(workersWays[0], true));

    it("a worker's del and its end", async () => {
      await primary.run(async ({ Cache, require, state }, by) => {
        const { startWorker } = require('.');
        const cache = new Cache({ namespace: 'ended' });
        const worker = await startWorker({ transport: by });
        const theirs = await worker.open({
          namespace: 'ended',
          timeout: 10_000,
          failsafe: 'reject',
        });
        const ref = await state.fill((value) => cache.set('k', value));
        if (!(await state.stays(ref))) throw new Error('it did not stay');
        await theirs.del('k');
        await worker.kill();
        await state.gone(ref);
      }, transport);
    });

    it('the cache of its own that held it is dropped', async () => {
      await primary.run(async ({ Cache, state }) => {
        let cache = new Cache.LRUCache();
        const ref = await state.fill((value) => cache.set('k', value));
        if (!(await state.stays(ref))) throw new Error('it did not stay');
        cache = undefined;
        await state.gone(ref);
      });
    });

    it('a set that could never fit', async () => {
      await primary.run(async ({ Cache, state }) => {
        const cache = new Cache({ namespace: 'too small', max: 0.5 });
        await state.gone(await state.fill((value) => cache.set('k', value)));
      });
    });

    it('a set that was refused', async () => {
      await primary.run(async ({ Cache, state }) => {
        const cache = new Cache({ namespace: 'refused' });
        const ref = await state.fill((value) => cache.set({}, value).catch(() => {}));
        await state.gone(ref);
      });
    });

    it('each of many entries went, and the others stay', async () => {
      const counts = await primary.run(async ({ Cache, state }) => {
        const cache = new Cache({ namespace: 'many', max: 100 });
        const refs = [];
        for (let index = 0; index < 1000; index += 1) {
          refs.push(await state.fill((value) => cache.set(index, value)));
        }
        await state.gone(refs[0]);
        const count = (from, to) => refs.slice(from, to).filter((ref) => ref.deref()).length;
        return [count(0, 900), count(900, 1000)];
      });
      assert.deepEqual(counts, [0, 100]);
    });

    it('a batch of a worker in which writing a value sets another', async () => {
      await primary.run(async ({ Cache, state }) => {
        const cache = new Cache({ namespace: 'reentrant' });
        await cache.set('trap', { toJSON: () => (cache.getCache().set('new', { n: 1 }), 'trap') });
        const refs = [];
        for (const key of ['a', 'b', 'c']) refs.push(await state.fill((v) => cache.set(key, v)));
        await state.worker.run(async ({ Cache: Theirs }) => {
          const theirs = await Theirs.getInstance({ namespace: 'reentrant', timeout: 10_000 });
          await Promise.all([theirs.get('trap'), theirs.mDel(['a', 'b', 'c'])]);
        });
        for (const ref of refs) await state.gone(ref);
      });
    });
  });
}
