'use strict';

// `fetch` of several processes, by each transport, and of workers without a primary of ours.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { STRESS, TRANSPORTS, describeShared, processes, unique, until } = require('../helpers');

const WORKERS = STRESS ? 16 : 4;
const CALLERS = STRESS ? 1000 : 100;
const KEYS = STRESS ? 1000 : 50;

// What agents run.

const open = async ({ Cache: Class, state }, options) => {
  state.cache = await Class.getInstance({ timeout: 30_000, ...options });
  return state.cache.transport().kind;
};

/** Many callers of some keys; gives how often loaders ran, and the values. */
const herd = async ({ state }, keys, callers) => {
  let loads = 0;
  const load = async (key) => {
    loads += 1;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    return { key, pid: process.pid };
  };
  const calls = keys.flatMap((key) =>
    Array.from({ length: callers }, () => state.cache.fetch(key, load)),
  );
  const values = await Promise.all(calls);
  const own = new Set(values).size === values.length;
  return { loads, own, values: [...new Set(values.map((value) => JSON.stringify(value)))].sort() };
};

/** Begins a fetch whose loader ends when it is told. */
const begin = ({ state }, key, options) => {
  let resolve;
  let reject;
  const loading = new Promise((...ends) => ([resolve, reject] = ends));
  state.ends = { resolve, reject };
  state.signal = undefined;
  return new Promise((begun) => {
    const load = (given, { signal }) => {
      state.signal = signal;
      begun(process.pid);
      return loading;
    };
    state.fetched = state.cache.fetch(key, load, options);
    state.fetched.catch(() => {});
  });
};
const end = async ({ state }, value) => {
  state.ends.resolve(value);
  return state.fetched;
};
const fail = async ({ state }) => {
  const cause = new Error('no route');
  state.ends.reject(Object.assign(new RangeError('away', { cause }), { code: 'E_AWAY' }));
  return state.fetched.catch((error) => error.message);
};

/** Waits for the fetch of another; gives the value, and whether the own loader ran. */
const follow = async ({ state }, key, options) => {
  let loads = 0;
  const load = () => {
    loads += 1;
    return `loaded by ${process.pid}`;
  };
  state.following = state.cache.fetch(key, load, options);
  const value = await state.following;
  return { value, loads };
};

/** As `follow`, of a loader that fails. */
const followError = async ({ state }, key) => {
  const error = await state.cache.fetch(key, () => 'loaded').catch((thrown) => thrown);
  const { name, message, code, cause } = error;
  return [error instanceof RangeError, name, message, code, cause?.message];
};

const waiting = async ({ state }) => (await state.cache.stats()).near && true;

for (const transport of TRANSPORTS) {
  describe(`fetch of workers, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let workers;
    let cache;
    let key;

    before(async function () {
      this.timeout(120_000);
      workers = await Promise.all(Array.from({ length: WORKERS }, () => start({ transport })));
    });

    beforeEach(async () => {
      const namespace = unique('fetch');
      key = unique('key');
      cache = new Cache({ namespace });
      const kinds = await Promise.all(workers.map((one) => one.run(open, { namespace })));
      assert.deepEqual(new Set(kinds), new Set([transport]));
    });

    it(`one loader runs for ${WORKERS} workers with ${CALLERS} callers each`, async () => {
      const all = await Promise.all(workers.map((one) => one.run(herd, [key], CALLERS)));
      assert.equal(
        all.reduce((sum, { loads }) => sum + loads, 0),
        1,
      );
      assert.deepEqual(new Set(all.flatMap(({ values }) => values)).size, 1);
      assert.ok(
        all.every(({ own }) => own),
        'each caller has an object of its own',
      );
      const { fetches } = await cache.stats();
      assert.deepEqual([fetches.loads, fetches.errors], [1, 0]);
    });

    it(`one per key, over ${KEYS} keys`, async () => {
      const keys = Array.from({ length: KEYS }, (_, n) => `${key}:${n}`);
      const all = await Promise.all(workers.map((one) => one.run(herd, keys, 3)));
      assert.equal(
        all.reduce((sum, { loads }) => sum + loads, 0),
        KEYS,
      );
      assert.equal((await cache.stats()).fetches.loads, KEYS);
      assert.deepEqual(new Set(all.map(({ values }) => values.length)), new Set([KEYS]));
    });

    it('the primary takes part', async () => {
      const [one] = workers;
      await one.run(begin, key);
      const here = cache.fetch(key, () => assert.fail('called'));
      assert.equal(await one.run(end, 'value'), 'value');
      assert.equal(await here, 'value');
    });

    it('a write in another process voids the lease', async () => {
      const [one, two] = workers;
      await one.run(begin, key);
      await two.run(({ state }, given) => state.cache.set(given, 'written'), key);
      await until(() => one.run(({ state }) => state.signal.aborted));
      assert.equal(await one.run(end, 'late'), 'late');
      assert.equal(await cache.get(key), 'written');
    });

    it('who waited in another process before a write gets the late value, who comes later does not', async () => {
      const [one, two, three] = workers;
      await one.run(begin, key);
      const before = two.run(follow, key);
      await two.run(waiting);
      await cache.del(key);
      const { value, loads } = await three.run(follow, key);
      assert.equal(loads, 1);
      assert.equal(await one.run(end, 'late'), 'late');
      assert.deepEqual(await before, { value: 'late', loads: 0 });
      assert.equal(await cache.get(key), value);
    });

    it('the signal of a loader fires when the last who waits gives up, in whatever process', async () => {
      for (const isOwnFirst of [true, false]) {
        const [one, two] = workers;
        const of = `${key}:${isOwnFirst}`;
        const abortable = async ({ state }, given) => {
          state.abort = new AbortController();
          const { signal } = state.abort;
          const load = (asked, context) =>
            new Promise((resolve) => {
              state.loaderSignal = context.signal;
              state.abortLoad = resolve;
            });
          state.aborted = state.cache.fetch(given, load, { signal }).catch(() => 'aborted');
        };
        const abort = ({ state }) => (state.abort.abort(), state.aborted);
        await one.run(abortable, of);
        await until(() => one.run(({ state }) => state.loaderSignal !== undefined));
        await two.run(abortable, of);
        await two.run(waiting);
        for (const worker of isOwnFirst ? [one, two] : [two, one]) {
          assert.equal(await worker.run(abort), 'aborted');
        }
        await until(() => one.run(({ state }) => state.loaderSignal.aborted));
        assert.equal(await two.run(({ state }, given) => state.cache.fetch(given, () => 1), of), 1);
        await one.run(({ state }) => (state.loaderSignal = undefined));
      }
    });

    it('a value that is not stored reaches those who wait', async () => {
      const [one, two] = workers;
      await one.run(begin, key);
      const other = two.run(follow, key);
      await cache.healthCheck();
      assert.equal(await one.run(end, undefined), undefined);
      const { value, loads } = await other;
      if (loads === 0) assert.equal(value, undefined);
      assert.equal(await cache.has(key), loads > 0);
    });

    it('an error reaches those who wait, as what it is', async () => {
      const [one, two] = workers;
      await one.run(begin, key);
      const other = two.run(followError, key);
      // Its claim is behind that of another call of the same worker.
      await two.run(waiting);
      assert.equal(await one.run(fail), 'away');
      assert.deepEqual(await other, [true, 'RangeError', 'away', 'E_AWAY', 'no route']);
    });

    it('an entry past its age is given by each process, while one renews it', async () => {
      const [one, two, three] = workers;
      const namespace = unique('fetch');
      const stale = { staleWhileRevalidate: 60_000 };
      for (const each of [one, two, three]) await each.run(open, { namespace, ...stale });
      await one.run(
        ({ state }, given) => state.cache.fetch(given, () => ({ n: 1 }), { ttl: 1 }),
        key,
      );
      const here = new Cache({ namespace });
      await until(async () => !(await here.has(key)));
      const stay = ({ state }, given) => {
        const status = {};
        const hanging = () => new Promise((resolve) => (state.finish = resolve));
        return state.cache.fetch(given, hanging, { status }).then((value) => [value, status.fetch]);
      };
      const all = await Promise.all([one, two, three].map((each) => each.run(stay, key)));
      assert.deepEqual(all, Array(3).fill([{ n: 1 }, 'stale']));
      const renewing = ({ state }) => typeof state.finish === 'function';
      const by = await Promise.all([one, two, three].map((each) => each.run(renewing)));
      assert.equal(by.filter(Boolean).length, 1);
      await [one, two, three][by.indexOf(true)].run(({ state }) => state.finish('new'));
      await until(async () => (await here.get(key)) === 'new');
      await Promise.all(
        [one, two, three].map((each) => each.run(({ state }) => delete state.finish)),
      );
    });

    it('after a renewal that failed no process tries one before refreshBackoff', async () => {
      const namespace = unique('fetch');
      const options = { namespace, staleWhileRevalidate: 60_000, refreshBackoff: 60_000 };
      for (const each of workers) await each.run(open, options);
      const here = new Cache({ namespace });
      const [one, two] = workers;
      await one.run(({ state }, given) => state.cache.fetch(given, () => 'old', { ttl: 1 }), key);
      await until(async () => !(await here.has(key)));
      await one.run(begin, key);
      assert.equal(await one.run(fail), 'old');
      await until(async () => (await here.stats()).fetches.errors === 1);
      // Its settle is behind no other call.
      await one.run(waiting);
      for (const each of workers) {
        assert.deepEqual(await each.run(follow, key), { value: 'old', loads: 0 });
      }
      // Who needs the value has it loaded.
      const needed = await two.run(follow, key, { staleWhileRevalidate: 0 });
      assert.equal(needed.loads, 1);
      assert.equal(await here.get(key), needed.value);
    });

    it('an error is stored for all processes, with errorTtl', async () => {
      const [one, two] = workers;
      await one.run(begin, key, { errorTtl: 60_000 });
      assert.equal(await one.run(fail), 'away');
      const thrown = await two.run(followError, key);
      assert.deepEqual(thrown, [true, 'RangeError', 'away', 'E_AWAY', 'no route']);
      assert.equal(await cache.get(key), undefined);
      await cache.set(key, 'written');
      assert.deepEqual(await two.run(follow, key), { value: 'written', loads: 0 });
    });

    it('the signal of a loader fires when nobody waits any more, in any process', async () => {
      // By IPC the primary waits on for a while.
      if (transport !== 'shared-memory') return;
      const [one, two] = workers;
      for (const order of [
        [one, two],
        [two, one],
      ]) {
        const own = unique('key');
        const wait = ({ state }, given) =>
          new Promise((begun) => {
            state.giving = new AbortController();
            const load = (of, { signal }) => {
              state.signal = signal;
              begun();
              return new Promise(() => {});
            };
            const waits = state.cache.fetch(given, load, { signal: state.giving.signal });
            waits.catch(() => {});
            setTimeout(begun, 50);
          });
        await one.run(wait, own);
        await two.run(wait, own);
        for (const each of order) {
          assert.equal(await one.run(({ state }) => state.signal.aborted), false);
          await each.run(({ state }) => state.giving.abort());
        }
        await until(() => one.run(({ state }) => state.signal.aborted));
        assert.equal((await two.run(follow, own)).loads, 1);
      }
    });

    it('forceRefresh in another process runs behind the present run', async () => {
      const [one, two] = workers;
      await one.run(begin, key);
      const forced = two.run(follow, key, { forceRefresh: true });
      await two.run(waiting);
      assert.equal(await one.run(end, 'older'), 'older');
      const { value, loads } = await forced;
      assert.equal(loads, 1);
      assert.equal(await cache.get(key), value);
    });

    it('close gives leases back: another process takes over', async () => {
      const [one, two] = workers;
      await one.run(begin, key);
      const other = two.run(follow, key);
      await two.run(waiting);
      await one.run(({ state }) => state.cache.close());
      assert.equal((await other).loads, 1);
    });

    it('a worker that dies loses its lease', async () => {
      const victim = await start({ transport });
      const [, two] = workers;
      const { namespace } = cache;
      await victim.run(open, { namespace });
      await victim.run(begin, key);
      const other = two.run(follow, key);
      await two.run(waiting);
      await victim.kill();
      const since = performance.now();
      assert.equal((await other).loads, 1);
      assert.ok(performance.now() - since < 5000);
    });

    it('a worker that is stopped loses it after leaseTimeout', async () => {
      const [one, two] = workers;
      const pid = await one.run(begin, key, { leaseTimeout: 300 });
      process.kill(pid, 'SIGSTOP');
      try {
        assert.equal((await two.run(follow, key)).loads, 1);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const present = await cache.get(key);
      assert.equal(await one.run(end, 'late'), 'late');
      assert.equal(await cache.get(key), present);
    });
  });
}

describeShared('fetch while the primary is blocked', () => {
  const { worker: start } = processes();

  it('goes on', async () => {
    const namespace = unique('fetch');
    const cache = new Cache({ namespace });
    const worker = await start({ transport: 'shared-memory' });
    await worker.run(open, { namespace });
    const running = worker.run(async ({ state }) => {
      const since = Date.now();
      let loads = 0;
      let times = 0;
      // So long as the primary is blocked at least: it is told nothing.
      while (Date.now() - since < 500) {
        times += 1;
        await state.cache.fetch(`key ${times}`, () => (loads += 1));
      }
      return { since, times, loads, ended: Date.now() };
    });
    await until(async () => (await cache.length()) > 0);
    const from = Date.now();
    while (Date.now() - from < 1000);
    const { loads, times, ended } = await running;
    assert.equal(loads, times);
    assert.ok(ended < from + 1000, 'it ended before the primary went on');
  });
});

describeShared('fetch by IPC of two namespaces', () => {
  const { worker: start } = processes();

  it('a lease is not taken for that of another namespace with the same token', async () => {
    const namespaces = [unique('fetch'), unique('fetch')];
    const caches = namespaces.map((namespace) => new Cache({ namespace }));
    const [owner, other] = await Promise.all([
      start({ transport: 'shared-memory' }),
      start({ transport: 'ipc' }),
    ]);
    const openAll = async ({ Cache: Class, state }, given) => {
      state.ends = [];
      const opened = given.map((namespace) => Class.getInstance({ namespace, timeout: 30_000 }));
      state.caches = await Promise.all(opened);
    };
    for (const each of [owner, other]) await each.run(openAll, namespaces);
    // Tokens and versions have one counter each namespace: it is made the same in both.
    await owner.run(
      async ({
        state: {
          caches: [a, b],
        },
      }) => {
        const stale = { ttl: 1, staleWhileRevalidate: 60_000 };
        await a.fetch('key', () => 'old', stale);
        const next = async (one) => {
          await one.set('other', 1);
          return (await one.getEntry('other')).version;
        };
        let [x, y] = [await next(a), await next(b)];
        while (x !== y) {
          if (x < y) x = await next(a);
          else y = await next(b);
        }
      },
    );
    await until(async () => !(await caches[0].has('key')));
    const beginAt = ({ state }, at) =>
      new Promise((begun) => {
        const load = (key, { skip }) => {
          begun();
          return new Promise((resolve) => (state.ends[at] = (value) => resolve(skip(value))));
        };
        state.caches[at].fetch('key', load, { forceRefresh: true }).catch(() => {});
      });
    await owner.run(beginAt, 0);
    await owner.run(beginAt, 1);
    // The primary waits for the lease in place of a worker that does not.
    const stale = ({ state }) =>
      state.caches[0].fetch('key', () => 'own', { staleWhileRevalidate: 60_000 });
    assert.equal(await other.run(stale), 'old');
    await owner.run(({ state }) => state.ends[0]('value of a'));
    const length = ({ state }) => Promise.all(state.caches.map((each) => each.length()));
    await owner.run(length);
    await other.run(length);
    await other.run(({ state }) => {
      state.following = state.caches[1].fetch('key', () => 'own');
    });
    await other.run(length);
    await owner.run(({ state }) => state.ends[1]('value of b'));
    assert.equal(await other.run(({ state }) => state.following), 'value of b');
  });
});

describeShared('fetch with refreshAfter', () => {
  const { worker: start } = processes();

  it('is a near read of what is young, and one process renews what is not', async () => {
    const namespace = unique('fetch');
    const options = { namespace, refreshAfter: 200, maxAge: 60_000 };
    const workers = await Promise.all([start({}), start({})]);
    for (const each of workers) await each.run(open, options);
    const read = async ({ state }, given, count) => {
      state.loads ??= 0;
      const values = new Set();
      const load = () => `value ${(state.loads += 1)} of ${process.pid}`;
      const before = (await state.cache.stats()).near.hits;
      for (let times = 0; times < count; times += 1) {
        values.add(await state.cache.fetch(given, load, { status: {} }));
      }
      const hits = (await state.cache.stats()).near.hits - before;
      return { values: [...values], hits, loads: state.loads };
    };
    const [one, two] = workers;
    const first = await one.run(read, 'key', 1);
    const young = await two.run(read, 'key', 100);
    // On a machine that is busy the entry may be old by then.
    if (young.loads === 0) {
      assert.deepEqual(young.values, first.values);
      assert.ok(young.hits >= 98, `${young.hits} near hits`);
    }
    const all = async () => {
      const found = await Promise.all(workers.map((each) => each.run(read, 'key', 3)));
      return found.reduce((sum, { loads }) => sum + loads, 0);
    };
    const before = await all();
    await until(async () => (await all()) > before);
  });
});

describeShared('fetch of workers without a primary of ours', () => {
  const { primary: start } = processes();

  it(`one loader runs for ${WORKERS} workers with ${CALLERS} callers each`, async () => {
    const primary = await start({ env: { LRU_CACHE_SHARED: '1' } });
    const all = await primary.run(
      async ({ require: load }, sources, count, callers) => {
        const { startWorker } = load('.');
        const [opening, calling] = sources.map((source) => (0, eval)(`(${source})`));
        const workers = await Promise.all(Array.from({ length: count }, () => startWorker({})));
        await Promise.all(workers.map((one) => one.run(opening, { namespace: 'siblings' })));
        return Promise.all(workers.map((one) => one.run(calling, ['key'], callers)));
      },
      [open, herd].map(String),
      WORKERS,
      CALLERS,
    );
    assert.equal(
      all.reduce((sum, { loads }) => sum + loads, 0),
      1,
    );
    assert.equal(new Set(all.flatMap(({ values }) => values)).size, 1);
  });
});

describe('fetch where the primary does not answer', () => {
  const { primary: start } = processes();

  it('the loader runs, once per key and process, whatever failsafe says', async () => {
    const primary = await start({});
    const got = await primary.run(async ({ require: load }) => {
      const { startWorker } = load('.');
      const worker = await startWorker({ transport: 'ipc' });
      return worker.run(async ({ Cache: Class }) => {
        const results = [];
        for (const failsafe of ['resolve', 'reject']) {
          const cache = new Class({ namespace: `away ${failsafe}`, timeout: 50, failsafe });
          let loads = 0;
          const loading = async () => {
            loads += 1;
            await new Promise((resolve) => {
              setTimeout(resolve, 100);
            });
            return { loads };
          };
          const values = await Promise.all([
            cache.fetch('key', loading),
            cache.fetch('key', loading),
          ]);
          results.push([loads, values]);
        }
        return results;
      });
    });
    const expected = [1, [{ loads: 1 }, { loads: 1 }]];
    assert.deepEqual(got, [expected, expected]);
  });
});
