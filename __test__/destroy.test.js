'use strict';

// `destroy()`, by every road: what it gives, that nothing of the namespace is left for anybody, and that every instance can be
// used again.

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, processes, unique, until } = require('./helpers');

const PATIENT = { timeout: 30_000, failsafe: 'reject' };

/** Tests of two instances of one namespace, wherever each is. `open` gives both, `openFirst` one where the first is. */
function destroyTests(open, openFirst) {
  /** Two caches of a namespace of its own. */
  const both = async (options) => {
    const given = { ...PATIENT, namespace: unique('destroy'), ...options };
    return [...(await open(given)), given];
  };

  it('gives true where there was a namespace, and else false', async () => {
    const [a, b] = await both();
    assert.deepEqual(
      [await a.destroy(), await a.destroy(), await b.destroy()],
      [true, false, false],
    );
    await b.set('k', 1);
    assert.equal(await a.destroy(), true);
  });

  it('leaves no entry for anybody, and each instance can be used again', async () => {
    const [a, b] = await both();
    for (let round = 0; round < 3; round += 1) {
      await a.mSet({ k: round, o: { round } });
      assert.deepEqual(
        [await a.get('k'), await b.get('k'), await b.get('o')],
        [round, round, { round }],
      );
      assert.equal(await (round % 2 ? a : b).destroy(), true);
      assert.deepEqual(
        await Promise.all([b.get('k'), a.get('k'), a.has('o'), b.peek('o'), b.mGet(['k', 'o'])]),
        [undefined, undefined, false, undefined, {}],
      );
      assert.equal(await b.set('n', round), true);
      assert.equal(await a.get('n'), round);
      assert.equal(await a.incr('n', 2), round + 2);
      assert.equal(await b.get('n'), round + 2);
    }
  });

  it('the namespace that is used again has the options of the instances', async () => {
    const [a, b] = await both({ max: 2, maxAge: 60_000, stale: true });
    await b.max(5);
    assert.equal(await a.max(), 5);
    await b.destroy();
    await a.mSet({ a: 1, b: 2, c: 3 });
    assert.deepEqual(await b.keys(), ['c', 'b']);
    assert.deepEqual([await b.max(), await b.maxAge(), await a.allowStale()], [2, 60_000, true]);
  });

  it('its statistics begin at 0', async () => {
    const [a, b] = await both();
    await a.mSet({ a: 1, b: 2 });
    await b.get('a');
    await b.get('none');
    await b.destroy();
    const { hits, misses, sets, deletes, entries } = await a.stats();
    assert.deepEqual(
      { hits, misses, sets, deletes, entries },
      { hits: 0, misses: 0, sets: 0, deletes: 0, entries: 0 },
    );
  });

  it('no version from before comes again', async () => {
    const [a, b] = await both();
    const versions = async (cache) => {
      const found = [];
      for (let n = 0; n < 8; n += 1) {
        await cache.set('k', n);
        found.push((await cache.getEntry('k')).version);
      }
      return found;
    };
    const before = await versions(a);
    await b.destroy();
    const after = await versions(b);
    await a.destroy();
    const all = [...before, ...after, ...(await versions(a))];
    assert.equal(new Set(all).size, all.length);
    assert.equal(await a.compareAndSet('k', before[7], 'by an old version'), false);
  });

  it('a new instance that comes first begins with its own options', async () => {
    const [a, , options] = await both({ max: 2 });
    await a.destroy();
    const fresh = await openFirst({ ...PATIENT, namespace: options.namespace });
    assert.equal(await fresh.max(), Infinity);
    await fresh.set('k', 1);
    assert.equal(await a.get('k'), 1);
  });

  it('calls made at once keep their order around it', async () => {
    const [a] = await both();
    const done = await a.all([
      ['set', 'k', 1],
      ['destroy'],
      ['get', 'k'],
      ['set', 'k', 2],
      ['get', 'k'],
      ['destroy'],
      ['incr', 'k'],
    ]);
    assert.deepEqual(done, [true, true, undefined, true, 2, true, 1]);
  });
}

/** Makes `all` of a cache here, as that of an agent's is. */
function here(options) {
  const cache = new Cache(options);
  cache.all = (calls) => Promise.all(calls.map(([name, ...args]) => cache[name](...args)));
  return cache;
}

/** A cache in an agent. */
async function there(agent, options) {
  const [id, transport] = await agent.run(async (context, given) => {
    const cache = await context.Cache.getInstance(given);
    context.state.opened ??= [];
    return [context.state.opened.push(cache) - 1, cache.transport()];
  }, options);
  if (agent.transport) assert.equal(transport.kind, agent.transport, transport.reason);
  const call = ({ state }, at, calls) =>
    Promise.all(calls.map(([name, ...args]) => state.opened[at][name](...args)));
  const all = (calls) => agent.run(call, id, calls);
  return new Proxy(
    { all },
    {
      get: (target, name) =>
        name === 'then'
          ? undefined
          : (target[name] ?? (async (...args) => (await all([[name, ...args]]))[0])),
    },
  );
}

describe('destroy', () => {
  describe('in one process', () => {
    destroyTests((options) => [here(options), here(options)], here);

    it('takes the namespace off getAllCaches, with the functions of the application', async () => {
      const cache = here({ ...PATIENT, namespace: unique('destroy') });
      const { namespace } = cache;
      const sync = cache.getCache();
      sync.own = () => 'own';
      sync.set('k', 1);
      assert.equal(await cache.execute('own'), 'own');
      assert.equal(await cache.destroy(), true);
      assert.equal(namespace in Cache.getAllCaches(), false);
      assert.throws(() => sync.get('k'), { code: 'ERR_STORE_GONE' });
      await assert.rejects(cache.execute('own'), { code: 'ERR_UNKNOWN_COMMAND' });
      assert.equal(cache.getCache().get('k'), undefined);
      assert.equal(namespace in Cache.getAllCaches(), true);
    });

    it('is made after a function of the application that calls it', async () => {
      const cache = here({ ...PATIENT, namespace: unique('destroy') });
      let destroyed;
      cache.getCache().own = function own() {
        this.set('k', 1);
        destroyed = cache.destroy();
        return this.get('k');
      };
      assert.equal(await cache.execute('own'), 1);
      assert.equal(await destroyed, true);
      assert.equal(await cache.get('k'), undefined);
    });

    it('lets go of what was kept by reference', async () => {
      const cache = here({ ...PATIENT, namespace: unique('destroy') });
      const value = { by: 'reference' };
      await cache.set('k', value);
      assert.equal(await cache.get('k'), value);
      await cache.destroy();
      const other = { by: 'reference' };
      await cache.set('k', other);
      assert.equal(await cache.get('k'), other);
    });

    it('ends the schedule', async () => {
      const cache = here({ ...PATIENT, namespace: unique('destroy'), prune: '* * * * * *' });
      await cache.destroy();
      const fresh = here({ ...PATIENT, namespace: cache.namespace });
      const other = here({ ...PATIENT, namespace: unique('destroy'), prune: '* * * * * *' });
      await fresh.set('expired', 1, -1);
      await other.set('expired', 1, -1);
      await until(async () => (await other.length()) === 0);
      assert.equal(await fresh.length(), 1);
    });

    it('rejects once the instance was closed', async () => {
      const cache = here({ ...PATIENT, namespace: unique('destroy') });
      await cache.close();
      await assert.rejects(cache.destroy(), { code: 'ERR_CLOSED' });
    });
  });

  for (const transport of TRANSPORTS) {
    describe(`by ${transport}`, () => {
      const { worker: start } = processes();
      let one;
      let two;
      before(async () => {
        [one, two] = await Promise.all([start({ transport }), start({ transport })]);
      });

      describe('of two workers', () => {
        destroyTests(
          (options) => Promise.all([one, two].map((agent) => there(agent, options))),
          (options) => there(one, options),
        );
      });

      describe('of the primary and a worker', () => {
        destroyTests(async (options) => {
          const local = here(options);
          return [local, await there(one, options)];
        }, here);
      });

      describe('of a worker and the primary', () => {
        destroyTests(
          async (options) => {
            const worker = await there(one, options);
            return [worker, here(options)];
          },
          (options) => there(one, options),
        );
      });

      it('leaves no function of the application, and values by reference are let go', async () => {
        const options = { ...PATIENT, namespace: unique('destroy') };
        const local = here(options);
        const worker = await there(one, options);
        await local.set('object', { by: 'reference' });
        local.getCache().own = () => 'own';
        assert.deepEqual(await worker.get('object'), { by: 'reference' });
        assert.equal(await worker.execute('own'), 'own');
        assert.equal(await worker.destroy(), true);
        await assert.rejects(worker.execute('own'), { code: 'ERR_UNKNOWN_COMMAND' });
        assert.equal(options.namespace in Cache.getAllCaches(), true, 'the execute made it anew');
        assert.deepEqual(
          [await worker.get('object'), await local.get('object')],
          [undefined, undefined],
        );
      });

      it('ends the schedule', async () => {
        const namespace = unique('destroy');
        const cache = await there(one, { ...PATIENT, namespace, prune: '* * * * * *' });
        await cache.destroy();
        const fresh = await there(two, { ...PATIENT, namespace });
        const other = here({ ...PATIENT, namespace: unique('destroy'), prune: '* * * * * *' });
        await fresh.set('expired', 1, -1);
        await other.set('expired', 1, -1);
        await until(async () => (await other.length()) === 0);
        assert.equal(await fresh.length(), 1);
      });

      it('a value that was loaded before it is not stored after it', async () => {
        const options = { ...PATIENT, namespace: unique('destroy') };
        /** Begins a `fetch` whose loader ends when `end` is called. */
        const begin = async ({ Cache: Class, state }, given) => {
          const cache = await Class.getInstance(given);
          await new Promise((begun) => {
            const load = (key) => {
              begun(key);
              return new Promise((resolve) => (state.endLoad = resolve));
            };
            state.fetched = cache.fetch('k', load);
          });
        };
        const end = ({ state }, value) => {
          state.endLoad(value);
          return state.fetched;
        };
        await one.run(begin, options);
        const local = here(options);
        await local.destroy();
        await two.run(begin, options);
        assert.equal(await one.run(end, 'from before'), 'from before');
        assert.equal(await local.get('k'), undefined);
        assert.equal(await two.run(end, 'from after'), 'from after');
        assert.equal(await local.get('k'), 'from after');
      });

      it('many workers that destroy and count at once end with one namespace', async () => {
        const options = { ...PATIENT, namespace: unique('destroy') };
        const work = async ({ Cache: Class }, given, rounds) => {
          const cache = await Class.getInstance(given);
          for (let round = 0; round < rounds; round += 1) {
            const counted = await cache.incr('n');
            if (!(counted >= 1)) return counted;
            if (round % 5 === 0) await cache.destroy();
          }
          return true;
        };
        const local = here(options);
        const done = Promise.all([one, two].map((agent) => agent.run(work, options, 200)));
        let over = false;
        done.finally(() => (over = true)).catch(() => {});
        while (!over) {
          assert.ok((await local.incr('n')) >= 1);
          await new Promise((resolve) => setImmediate(resolve));
        }
        assert.deepEqual(await done, [true, true]);
        const caches = await Promise.all([one, two].map((agent) => there(agent, options)));
        await local.set('n', 0);
        for (const cache of [...caches, local]) await cache.incr('n');
        assert.equal(await caches[0].get('n'), 3);
      });

      it('a worker reads nothing old that begins after it', async () => {
        // Near reads of one worker, while the other destroys and tells when that was done.
        const options = { ...PATIENT, namespace: unique('destroy') };
        const reader = await there(one, options);
        const writer = await there(two, options);
        for (let round = 0; round < 50; round += 1) {
          await writer.mSet({ a: { round }, b: round });
          await reader.all(Array.from({ length: 3 }, () => ['get', 'a']));
          await writer.destroy();
          assert.deepEqual(
            await reader.all([
              ['get', 'a'],
              ['has', 'b'],
              ['peek', 'b'],
              ['getEntry', 'a'],
            ]),
            [undefined, false, undefined, undefined],
          );
        }
      });
    });
  }

  (process.platform === 'linux' ? describe : describe.skip)('of siblings without a primary', () => {
    const { primary: startPrimary } = processes();
    let agents;
    before(async () => {
      const primary = await startPrimary();
      // Workers of a primary that does not load the package; the functions run in them.
      const count = await primary.run(async ({ state, require: load }) => {
        const { startWorker } = load('.');
        state.workers = await Promise.all([startWorker(), startWorker()]);
        return state.workers.length;
      });
      agents = Array.from({ length: count }, (_, at) => ({
        transport: 'shared-memory',
        run: (fn, ...args) =>
          primary.run(
            ({ state }, index, source, given) =>
              state.workers[index].run((0, eval)(`(${source})`), ...given),
            at,
            String(fn),
            args,
          ),
        kill: () => primary.run(({ state }, index) => state.workers[index].kill(), at),
      }));
    });

    destroyTests(
      (options) => Promise.all(agents.map((agent) => there(agent, options))),
      (options) => there(agents[0], options),
    );

    it('a worker that destroyed it gives its memory back', async () => {
      const options = { ...PATIENT, namespace: unique('destroy') };
      const cache = await there(agents[0], options);
      const files = () =>
        agents[0].run(({ require: load }) => {
          const { readdirSync, readlinkSync } = load('node:fs');
          return readdirSync('/proc/self/fd').filter((fd) => {
            try {
              return readlinkSync(`/proc/self/fd/${fd}`).includes('lru-cache-for-clusters');
            } catch {
              return false;
            }
          }).length;
        });
      await cache.set('k', 1);
      const before = await files();
      await cache.destroy();
      // JavaScript views of the memory may be there until they are collected; the file is closed with the last.
      assert.ok((await files()) <= before);
      assert.equal(await cache.get('k'), undefined);
    });

    it('of one that is made anew by a call, others join it', async () => {
      const options = { ...PATIENT, namespace: unique('destroy') };
      const [a, b] = await Promise.all(agents.map((agent) => there(agent, options)));
      for (let round = 0; round < 30; round += 1) {
        await a.destroy();
        const counts = await Promise.all([a.incr('n'), b.incr('n')]);
        assert.deepEqual(counts.sort(), [1, 2], `round ${round}`);
        await b.destroy();
      }
    });
  });
});
