'use strict';

// Workers of a real cluster, whose primary is this process unless a test says otherwise.

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, describeShared, fakeClock, processes, unique } = require('./helpers');

const patient = (options) => ({ timeout: 10_000, failsafe: 'reject', ...options });

for (const transport of TRANSPORTS) {
  describe(`workers, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let one, two;
    before(async () => {
      [one, two] = await Promise.all([start({ transport }), start({ transport })]);
    });

    async function shared(options) {
      const namespace = unique('cluster');
      const given = patient({ namespace, ...options });
      return [await one.open(given), await two.open(given), new Cache({ namespace })];
    }

    it('share one cache with each other and with the primary', async () => {
      const [a, b, primary] = await shared();
      await a.set('from a', 1);
      await b.set('from b', 2);
      await primary.set('from primary', 3);
      for (const cache of [a, b, primary]) {
        assert.deepEqual(await cache.keys(), ['from primary', 'from b', 'from a']);
        assert.deepEqual(await cache.values(), [3, 2, 1]);
      }
      await b.del('from a');
      assert.equal(await a.has('from a'), false);
    });

    it('share the order of recency', async () => {
      const [a, b, primary] = await shared({ max: 2 });
      await a.mSet({ x: 1, y: 2 });
      await b.get('x');
      await primary.set('z', 3);
      assert.deepEqual(await a.keys(), ['z', 'x']);
    });

    it('count in one counter, none of it lost', async () => {
      const [a, b, primary] = await shared();
      const count = ({ state }, at) => {
        const cache = state.caches[at];
        return Promise.all(Array.from({ length: 1000 }, () => cache.incr('n')));
      };
      const last = ({ state }) => state.caches.length - 1;
      const [atOne, atTwo] = [await one.run(last), await two.run(last)];
      const local = Array.from({ length: 1000 }, () => primary.incr('n'));
      const counts = await Promise.all([
        one.run(count, atOne),
        two.run(count, atTwo),
        Promise.all(local),
      ]);
      assert.equal(new Set(counts.flat()).size, 3000, 'each call gave a number of its own');
      assert.equal(await a.get('n'), 3000);
      assert.equal(await b.decr('n', 3000), 0);
    });

    it('share a window that was opened by incr with an age', async () => {
      const [a, b] = await shared();
      await a.incr('n', 1, 60_000);
      await b.incr('n', 1, 60_000);
      const [[before], [after]] = [await a.dump(), (await b.incr('n', 1, 60_000), await b.dump())];
      assert.deepEqual([before.v, after.v], [2, 3]);
      assert.equal(before.e, after.e);
    });

    it('see what the primary set, as JSON at the time of asking', async () => {
      const [a, , primary] = await shared();
      const value = {
        date: new Date(0),
        map: new Map([[1, 2]]),
        skipped: undefined,
        fn() {},
        list: [undefined, NaN],
        own: { toJSON: () => 'own' },
      };
      await primary.set('k', value);
      const json = { date: '1970-01-01T00:00:00.000Z', map: {}, list: [null, null], own: 'own' };
      assert.deepEqual(await a.get('k'), json);
      assert.deepEqual(await a.peek('k'), json);
      assert.deepEqual(await a.mGet(['k']), { k: json });
      assert.deepEqual(await a.values(), [json]);
      assert.deepEqual(await a.dump(), [{ k: 'k', v: json, e: 0 }]);
      value.later = 1;
      assert.deepEqual(await a.get('k'), { ...json, later: 1 });
      assert.deepEqual((await a.execute('pop')).value, { ...json, later: 1 });
    });

    it('see each of many objects of the primary in its place', async () => {
      const [a, , primary] = await shared();
      const pairs = {};
      for (let index = 0; index < 200; index += 1) {
        pairs[`k${index}`] = index % 2 ? { index } : index;
      }
      await primary.mSet(pairs);
      assert.deepEqual(await a.mGet(Object.keys(pairs)), pairs);
      assert.deepEqual(await a.values(), Object.values(pairs).reverse());
    });

    it('set values that arrive as JSON', async () => {
      const options = patient({ namespace: unique('cluster') });
      const got = await one.run(async ({ Cache }, given) => {
        const cache = await Cache.getInstance(given);
        const values = [
          new Date(0),
          new Map([[1, 2]]),
          new Set([1]),
          /x/,
          Object(5),
          [undefined],
          { u: undefined, f() {} },
          () => 1,
          Symbol('x'),
          Buffer.from('a'),
        ];
        for (const [index, value] of values.entries()) await cache.set(index, value);
        return Promise.all(values.map((value, index) => cache.get(index)));
      }, options);
      const json = [
        '1970-01-01T00:00:00.000Z',
        {},
        {},
        {},
        5,
        [null],
        {},
        null,
        null,
        { type: 'Buffer', data: [97] },
      ];
      assert.deepEqual(got, json);
      const primary = Cache.getAllCaches()[options.namespace];
      assert.deepEqual(
        json.map((_, index) => primary.get(index)),
        json,
      );
    });

    for (const [title, make, expected] of [
      ['a bigint', () => 1n, { name: 'TypeError', message: /BigInt/ }],
      [
        'a circular object',
        () => {
          const o = {};
          o.o = o;
          return o;
        },
        { name: 'TypeError', message: /circular/i },
      ],
      [
        'what throws in toJSON',
        () => ({
          toJSON() {
            throw new RangeError('not me');
          },
        }),
        { name: 'RangeError', message: 'not me' },
      ],
    ]) {
      it(`that set ${title} get the error, and nothing is stored`, async () => {
        const options = patient({ namespace: unique('cluster') });
        const failing = one.run(
          async ({ Cache }, given, source) => {
            const cache = await Cache.getInstance(given);
            await cache.set('k', (0, eval)(`(${source})`)());
          },
          options,
          String(make),
        );
        await assert.rejects(failing, expected);
        assert.equal(Cache.getAllCaches()[options.namespace].length, 0);
      });
    }

    /** Values of the primary that no JSON can be made of: [title, value, the error's properties]. */
    const circular = {};
    circular.self = circular;
    const throwing = (what) => ({
      toJSON() {
        throw what;
      },
    });
    for (const [title, value, expected] of [
      ['a bigint', 1n, { name: 'TypeError', message: /BigInt/ }],
      ['a circular object', circular, { name: 'TypeError', message: /circular/i }],
      [
        'one whose toJSON throws an error',
        throwing(Object.assign(new RangeError('no'), { code: 'E_NO' })),
        { name: 'RangeError', message: 'no', code: 'E_NO' },
      ],
      ['one whose toJSON throws a string', throwing('no'), { message: 'no' }],
      ['one whose toJSON throws null', throwing(null), Error],
      ['one whose toJSON throws an object of no class', throwing(Object.create(null)), Error],
      [
        'one whose toJSON throws an error with a strange code',
        throwing(Object.assign(new Error('no'), { code: 1n })),
        { message: 'no' },
      ],
      [
        'one whose toJSON throws an error that throws',
        throwing({
          get message() {
            throw new Error('trap');
          },
        }),
        Error,
      ],
    ]) {
      it(`that ask for a value of the primary that JSON cannot write get an error: ${title}`, async () => {
        const [a, b, primary] = await shared();
        await primary.set('bad', value);
        await primary.set('good', { a: 1 });
        // All in one turn, so that the bad answer travels with good ones.
        const settled = await one.run(async ({ state }) => {
          const cache = state.caches.at(-1);
          const calls = [
            cache.get('good'),
            cache.get('bad'),
            cache.values(),
            cache.incr('n'),
            cache.get('good'),
          ];
          return (await Promise.allSettled(calls)).map(({ status, value: got }) => got ?? status);
        });
        assert.deepEqual(settled, [{ a: 1 }, 'rejected', 'rejected', 1, { a: 1 }]);
        await assert.rejects(a.get('bad'), expected);
        assert.deepEqual(await b.get('good'), { a: 1 });
        assert.equal(await primary.get('bad'), value);
      });
    }

    it('get an answer about the values of before, though writing one changes the cache', async () => {
      const [, , primary] = await shared();
      const sync = primary.getCache();
      await primary.set('trap', { toJSON: () => (sync.set('new', { n: 'new' }), 'trapped') });
      await primary.set('k', { n: 'old' });
      const got = await one.run(async ({ state }) => {
        const cache = state.caches.at(-1);
        return Promise.all([cache.get('trap'), cache.get('k'), cache.del('k')]);
      });
      assert.deepEqual(got, ['trapped', { n: 'old' }, undefined]);
      assert.deepEqual(await primary.get('new'), { n: 'new' });
    });

    it('get errors with name, message and code', async () => {
      const [a] = await shared();
      await assert.rejects(a.max(-1), {
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: 'max must be a non-negative number of entries, got -1',
      });
    });

    it('get errors that are instances of their class', async () => {
      const options = patient({ namespace: unique('cluster') });
      const got = await one.run(async ({ Cache }, given) => {
        const cache = await Cache.getInstance(given);
        const error = await cache.max('x').catch((reason) => reason);
        return [error instanceof TypeError, error instanceof Error];
      }, options);
      assert.deepEqual(got, [true, true]);
    });

    it('calls of one worker are done in order, across instances and namespaces', async () => {
      const namespaces = [unique('cluster'), unique('cluster')];
      const order = await one.run(async ({ Cache }, names) => {
        const options = { timeout: 10_000 };
        const caches = names.concat(names).map((namespace) => new Cache({ ...options, namespace }));
        const done = [];
        const calls = [];
        for (let index = 0; index < 100; index += 1) {
          const cache = caches[index % 4];
          const call = index % 3 ? cache.incr('n') : cache.set('n', 1000 * index);
          calls.push(call.then((value) => done.push([index, value])));
        }
        await Promise.all(calls);
        return done;
      }, namespaces);
      const expected = [];
      const counters = [0, 0];
      for (let index = 0; index < 100; index += 1) {
        if (index % 3) expected.push([index, (counters[index % 2] += 1)]);
        else {
          counters[index % 2] = 1000 * index;
          expected.push([index, true]);
        }
      }
      assert.deepEqual(order, expected);
    });

    it('need not wait for getInstance: the first call finds the cache', async () => {
      const namespace = unique('cluster');
      const got = await one.run(
        async ({ Cache }, given) => {
          const cache = new Cache(given);
          return [await cache.set('k', 1), await cache.max()];
        },
        patient({ namespace, max: 7 }),
      );
      assert.deepEqual(got, [true, 7]);
    });

    it('a call on a namespace that nobody made rejects', async () => {
      const reply = await one.run(({ require: load }) => {
        const { SOURCE } = load('../../lib/transport/envelope');
        return new Promise((resolve) => {
          process.on('message', (message) => {
            if (message?.[0] === SOURCE && message[2]?.startsWith('[987654,')) resolve(message[2]);
          });
          process.send([SOURCE, 'somebody', '[987654,0,"never made","get","k"]']);
        });
      });
      const [, kind, [name, message, code]] = JSON.parse(reply);
      assert.deepEqual([kind, name, code], [4, 'Error', 'ERR_NO_NAMESPACE']);
      assert.match(message, /never made/);
    });

    for (const namespace of ['__proto__', 'constructor', 'ä€😀', '"\\\n']) {
      it(`take the namespace ${JSON.stringify(namespace)} like any other`, async () => {
        const cache = await one.open(patient({ namespace }));
        await cache.set('k', transport);
        assert.equal(Cache.getAllCaches()[namespace].get('k'), transport);
      });
    }

    it('a promise that a worker sets is JSON, and a then among the answers stays one', async () => {
      const options = patient({ namespace: unique('cluster') });
      const got = await one.run(async ({ Cache }, given) => {
        const cache = await Cache.getInstance(given);
        await cache.mSet({ promise: Promise.resolve(1), then: 'then' });
        return [await cache.get('promise'), await cache.mGet(['then'])];
      }, options);
      assert.deepEqual(got, [{}, { then: 'then' }]);
    });

    it('many calls and large values come back right', async () => {
      const options = patient({ namespace: unique('cluster'), timeout: 30_000 });
      const wrong = await one.run(async ({ Cache }, given) => {
        const cache = await Cache.getInstance(given);
        const value = (index) => `${index} `.repeat(1 + ((index * 7919) % 3000));
        const indexes = Array.from({ length: 700 }, (_, index) => index);
        await Promise.all(indexes.map((index) => cache.set(index, value(index))));
        const values = await Promise.all(indexes.map((index) => cache.get(index)));
        const all = await cache.mGet(indexes);
        const isWrong = (index) => values[index] !== value(index) || all[index] !== value(index);
        return indexes.filter(isWrong);
      }, options);
      assert.deepEqual(wrong, []);
    });

    it('a message of several megabytes passes both ways', async () => {
      const [a, b] = await shared();
      const value = { text: 'ä"\n'.repeat(700_000) };
      await a.set('k', value);
      assert.deepEqual(await b.get('k'), value);
    });

    describe('whose primary has another clock', () => {
      const clock = fakeClock();

      if (transport === 'ipc') {
        it('measure ages by that of the primary', async () => {
          const [a] = await shared();
          await a.set('k', 'v', 1000);
          assert.equal(await a.get('k'), 'v');
          clock.tick(1001);
          assert.equal(await a.get('k'), undefined);
        });
      } else {
        it('measure ages by their own, as the primary does by its own', async () => {
          const [a, b, primary] = await shared();
          await a.set('k', 'v', 60_000);
          // Years ahead.
          clock.now = 4e12;
          assert.equal(await a.has('k'), true);
          assert.equal(await b.get('k'), 'v');
          assert.equal(await primary.has('k'), false);
          await primary.set('own', 'v', 1000);
          clock.tick(1001);
          assert.equal(await primary.has('own'), false);
          assert.equal(await a.has('own'), true);
        });
      }
    });
  });
}

for (const transport of TRANSPORTS) {
  describe(`messages that are not ours, transport: ${transport}`, () => {
    const { worker: start } = processes();
    const others = [
      'hi',
      '',
      5,
      true,
      null,
      [],
      {},
      { source: 5 },
      { source: null },
      { source: {} },
    ].concat([{ source: 'lru-cache-for-clusters-as-promised' }, { batch: '[1]' }, { cmd: 'x' }]);
    let worker;
    before(async () => {
      worker = await start({ transport });
    });

    it('are ignored by the primary', async () => {
      const cache = await worker.open(patient({ namespace: unique('cluster') }));
      await cache.set('k', 1);
      const seen = [];
      worker.worker.on('message', (message) => seen.push(message));
      await worker.run(
        (context, messages) => messages.forEach((message) => process.send(message)),
        others,
      );
      assert.equal(await cache.get('k'), 1);
      assert.deepEqual(
        seen.filter(
          (message) => message?.agent === undefined && !String(message?.[0]).includes('/'),
        ),
        others,
      );
    });

    it('are ignored by a worker', async () => {
      const cache = await worker.open(patient({ namespace: unique('cluster') }));
      await cache.set('k', 1);
      const { SOURCE } = require('../lib/transport/envelope');
      for (const message of [
        ...others,
        [SOURCE],
        [SOURCE, 5],
        [SOURCE, 5, 5],
        { source: SOURCE },
      ]) {
        worker.child.send(message);
      }
      worker.child.send([SOURCE, 'somebody', '[123456789,0,"for nobody"]']);
      assert.equal(await cache.get('k'), 1);
    });
  });
}

describeShared('workers with different transports', () => {
  const { worker: start } = processes();

  it('and their primary share one cache', async () => {
    const namespace = unique('cluster');
    const primary = new Cache({ namespace, max: 4 });
    await primary.set('before', { by: 'reference' });
    const workers = await Promise.all([
      start({ transport: 'ipc' }),
      start({ transport: 'shared-memory' }),
    ]);
    const [a, b] = await Promise.all(workers.map((worker) => worker.open(patient({ namespace }))));
    for (const [at, cache] of [a, b, primary].entries()) await cache.set(at, { by: at });
    for (const cache of [a, b, primary]) {
      assert.deepEqual(await cache.dump(), [
        { k: 2, v: { by: 2 }, e: 0 },
        { k: 1, v: { by: 1 }, e: 0 },
        { k: 0, v: { by: 0 }, e: 0 },
        { k: 'before', v: { by: 'reference' }, e: 0 },
      ]);
    }
    const counts = Array.from({ length: 300 }, (_, at) => [a, b, primary][at % 3].incr('n'));
    assert.equal(new Set(await Promise.all(counts)).size, 300);
    await a.max(2);
    for (const cache of [a, b, primary]) assert.deepEqual(await cache.keys(), ['n', 2]);
  });
});

describe('a worker forked before its primary loaded the package, transport: messages', () => {
  const { primary: startPrimary } = processes();

  /** Starts a worker whose primary does not know the package yet. */
  async function early() {
    const primary = await startPrimary();
    await primary.run(async ({ require: load, state }) => {
      const { startWorker } = load('./agents');
      state.worker = await startWorker({ transport: 'ipc' });
    });
    return primary;
  }

  it('is answered by failsafe until then', async () => {
    const primary = await early();
    const got = await primary.run(({ state }) =>
      state.worker.run(async ({ Cache }) => {
        const resolving = new Cache({ timeout: 50 });
        const rejecting = new Cache({ timeout: 50, failsafe: 'reject' });
        const calls = [resolving.get('k'), resolving.set('k', 1), rejecting.get('k')];
        return (await Promise.allSettled(calls)).map(
          ({ value, reason }) => reason?.message ?? value,
        );
      }),
    );
    assert.deepEqual(got, [undefined, undefined, 'Timed out in isFailed()']);
  });

  it('is answered as soon as the primary loads it, in order', async () => {
    const primary = await early();
    const got = await primary.run(async (context) => {
      const { worker } = context.state;
      const answers = worker.run(async ({ Cache }) => {
        const cache = new Cache({ timeout: 20_000 });
        return Promise.all([cache.set('k', 1), cache.incr('k'), cache.get('k')]);
      });
      // Asked later and answered first: by then the calls have been made.
      await worker.run(() => new Promise((resolve) => setImmediate(() => setImmediate(resolve))));
      void context.Cache;
      return answers;
    });
    assert.deepEqual(got, [true, 2, 2]);
  });

  it('has its options applied, those of before too', async () => {
    const primary = await early();
    const got = await primary.run(async (context) => {
      const { worker } = context.state;
      await worker.run(async ({ Cache, state }) => {
        state.old = [
          new Cache({ namespace: 'a', max: 5, timeout: 20 }),
          new Cache({ namespace: 'a', maxAge: 60_000, stale: true, timeout: 20 }),
          new Cache({ namespace: 'b', max: 7, timeout: 20 }),
        ];
        await Promise.all(state.old.map((cache) => cache.set('lost', 1)));
      });
      const { Cache } = context;
      const seen = await worker.run(async ({ Cache: Theirs }) => {
        const a = new Theirs({ namespace: 'a', timeout: 20_000, failsafe: 'reject' });
        const b = new Theirs({ namespace: 'b', timeout: 20_000, failsafe: 'reject' });
        return [await a.get('lost'), await b.get('lost')];
      });
      const { a, b } = Cache.getAllCaches();
      return [seen, [a.max, a.maxAge, a.allowStale], b.max];
    });
    assert.deepEqual(got, [[undefined, undefined], [5, 60_000, true], 7]);
  });
});

describeShared('workers forked before their primary loaded the package', () => {
  const { primary: startPrimary } = processes();

  /** Starts two workers, by whatever transport, whose primary does not know the package yet. */
  async function early() {
    const primary = await startPrimary();
    await primary.run(async ({ require: load, state }) => {
      const { startWorker } = load('./agents');
      state.workers = await Promise.all([startWorker(), startWorker()]);
      /** A cache of each worker, whose calls are made from here. */
      state.open = (given) => {
        const options = { namespace: 'early', timeout: 20_000, failsafe: 'reject', ...given };
        return Promise.all(state.workers.map((worker) => worker.open(options)));
      };
      /** Loads the package, and waits until this process has what the workers have. */
      state.meet = async (context) => {
        const { Cache } = context;
        await load('.').until(() => Cache.getAllCaches().early?.has('theirs'));
        return Cache;
      };
    });
    return primary;
  }

  it('share one cache without it', async () => {
    const primary = await early();
    const got = await primary.run(async ({ state }) => {
      const [a, b] = await state.open({ max: 3 });
      await a.mSet({ x: { by: 'a' }, y: 2 });
      await b.incr('y');
      const transports = [await a.transport(), await b.transport()];
      return [await b.get('x'), await a.dump(), await b.max(), transports];
    });
    const entries = [
      { k: 'x', v: { by: 'a' }, e: 0 },
      { k: 'y', v: 3, e: 0 },
    ];
    assert.deepEqual(got, [
      { by: 'a' },
      entries,
      3,
      [{ kind: 'shared-memory' }, { kind: 'shared-memory' }],
    ]);
  });

  it('share it with the primary as soon as that loads it, entries and settings', async () => {
    const primary = await early();
    const got = await primary.run(async (context) => {
      const { state } = context;
      const [a, b] = await state.open({ max: 9, stale: true });
      await b.max(5);
      await a.mSet({ x: { by: 'a' }, y: 2, theirs: 1 });
      await b.set('aging', 'b', 60_000);
      const before = await b.dump();
      const Cache = await state.meet(context);
      const { early: cache } = Cache.getAllCaches();
      const settings = [cache.max, cache.maxAge, cache.allowStale];
      const same = JSON.stringify(cache.dump()) === JSON.stringify(before);

      const later = { by: 'primary' };
      cache.set('later', later);
      await a.set('from a', 1);
      const seen = [await b.keys(), await b.get('later'), cache.peek('later') === later];
      const transports = [await a.transport(), await b.transport()];
      return { same, settings, seen, keys: cache.keys(), transports };
    });
    assert.deepEqual(got, {
      same: true,
      settings: [5, 0, true],
      seen: [['from a', 'later', 'aging', 'theirs', 'y'], { by: 'primary' }, true],
      keys: ['later', 'from a', 'aging', 'theirs', 'y'],
      transports: [{ kind: 'shared-memory' }, { kind: 'shared-memory' }],
    });
  });

  it('see what it set before they met, which takes the place of theirs', async () => {
    const primary = await early();
    const got = await primary.run(async (context) => {
      const { state } = context;
      const [a, b] = await state.open({ max: 9 });
      await a.mSet({ both: { by: 'a' }, theirs: 1 });
      const cache = new context.Cache({ namespace: 'early', max: 3, stale: true }).getCache();
      const own = { by: 'primary' };
      cache.set('both', own);
      cache.set('own', 'text');
      await state.meet(context);
      const settings = [await b.max(), await b.stale()];
      return [
        settings,
        await a.keys(),
        await b.get('both'),
        cache.peek('both') === own,
        cache.peek('own'),
      ];
    });
    assert.deepEqual(got, [[3, true], ['own', 'both', 'theirs'], { by: 'primary' }, true, 'text']);
  });

  it('lose no call and no count while it loads it', async () => {
    const primary = await early();
    const got = await primary.run(async (context) => {
      const { state } = context;
      const [first] = await state.open({});
      const counting = state.workers.map((worker) =>
        worker.run(async ({ state: theirs }) => {
          const [cache] = theirs.caches;
          const mine = `own ${process.pid}`;
          const wrong = [];
          let calls = 0;
          // On and on, until the primary has counted too.
          while (!(await cache.has('met')) && calls < 1e6) {
            calls += 1;
            const [, own, , got] = await Promise.all([
              cache.incr('all'),
              cache.incr(mine),
              cache.set(`last ${mine}`, { calls }),
              cache.get(`last ${mine}`),
            ]);
            if (own !== calls || got.calls !== calls) wrong.push([calls, own, got]);
            if (calls % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
          return [calls, wrong];
        }),
      );
      await first.set('theirs', 1);
      const Cache = await state.meet(context);
      const cache = new Cache({ namespace: 'early' });
      for (let calls = 0; calls < 500; calls += 1) await cache.incr('all');
      await cache.set('met', true);
      const [a, b] = await Promise.all(counting);
      return { wrong: [a[1], b[1]], counted: a[0] + b[0] + 500, all: await cache.get('all') };
    });
    assert.deepEqual(got.wrong, [[], []]);
    assert.equal(got.all, got.counted);
  });

  it('leave their schedule to it', async () => {
    const primary = await early();
    const left = await primary.run(async (context) => {
      const { state, require: load } = context;
      const { until } = load('.');
      const [a, b] = await state.open({ prune: '* * * * * *' });
      await a.mSet({ theirs: 1 });
      const pruned = async (cache) => {
        await cache.set('expired', 1, -1);
        await until(async () => (await cache.length()) === 1, 5000);
      };
      await pruned(a);
      const Cache = await state.meet(context);
      await pruned(b);
      await Promise.all(state.workers.map((worker) => worker.kill()));
      const cache = Cache.getAllCaches().early;
      cache.set('expired', 1, -1);
      await until(() => cache.length === 1, 5000);
      return cache.keys();
    });
    assert.deepEqual(left, ['theirs']);
  });

  it('go on by messages, with their options, where it shares nothing', async () => {
    const primary = await early();
    const got = await primary.run(async (context) => {
      const { state, require: load } = context;
      const [a, b] = await state.open({ max: 5, maxAge: 60_000 });
      await a.set('theirs', 1);
      context.Cache.init({ shared: false });
      const cache = new context.Cache({ namespace: 'early' });
      await load('.').until(async () => (await a.transport()).kind === 'ipc');
      await load('.').until(async () => (await b.transport()).kind === 'ipc');
      await a.set('k', 1);
      const { reason } = await b.transport();
      return [await b.get('k'), await cache.get('k'), await a.max(), await b.maxAge(), reason];
    });
    assert.deepEqual(got, [1, 1, 5, 60_000, 'the primary says: init({ shared: false })']);
  });
});
