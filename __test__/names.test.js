'use strict';

// The names of 2.x, on the class and on `LRUCacheClustered`, by every road.

const assert = require('node:assert/strict');
const { pathToFileURL } = require('node:url');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const Cache = require('..');
const { TRANSPORTS, processes, unique } = require('./helpers');

const { LRUCacheClustered, wrap } = Cache;

/** What calls of the class give: title, calls, result, options. */
const ON_THE_CLASS = [
  [
    'delete',
    [
      ['set', 'k', 1],
      ['delete', 'k'],
      ['delete', 'k'],
      ['has', 'k'],
    ],
    [true, true, false, false],
  ],
  [
    'mDelete',
    [['mSet', { a: 1, b: 2, c: 3 }], ['mDelete', ['a', 'b']], ['keys']],
    [true, undefined, ['c']],
  ],
  ['clear', [['set', 'k', 1], ['clear'], ['length']], [true, undefined, 0]],
  ['size', [['mSet', { a: 1, b: 2 }], ['size']], [true, 2]],
  [
    'purgeStale',
    [['set', 'old', 1, -1], ['set', 'k', 1], ['purgeStale'], ['purgeStale'], ['size']],
    [true, true, true, false, 1],
  ],
  [
    'ttl',
    [['ttl'], ['ttl', 5000], ['ttl'], ['maxAge'], ['ttl', 0]],
    [1000, 5000, 5000, 5000, 0],
    { ttl: 1000 },
  ],
  [
    'options of reads',
    [
      ['set', 'k', 1],
      ['get', 'k', { bypassL1: true }],
      ['has', 'k', {}],
      ['peek', 'k', {}],
    ],
    [true, 1, true, 1],
  ],
  [
    'load of entries of 1.x',
    [
      [
        'load',
        [
          { k: 'a', v: 1, e: 0 },
          { k: 'b', v: 2, e: 0 },
        ],
      ],
      ['keys'],
    ],
    [undefined, ['a', 'b']],
  ],
  [
    'load of pairs of 2.x',
    [
      [
        'load',
        [
          ['a', { value: 1 }],
          ['b', { value: 2, ttl: 1e6 }],
        ],
      ],
      ['keys'],
      ['getRemainingTTL', 'a'],
    ],
    [undefined, ['b', 'a'], Infinity],
  ],
  [
    'load of pairs that have expired',
    [['load', [['a', { value: 1, ttl: 5, start: 1000 }]]], ['keys']],
    [undefined, []],
  ],
];

/** The same of `LRUCacheClustered`. */
const OF_2 = [
  [
    'mGet gives a Map in the order of the keys',
    [
      [
        'mSet',
        [
          ['a', 1],
          ['b', 2],
        ],
      ],
      ['mGet', ['b', 'none', 'a']],
    ],
    [
      undefined,
      new Map([
        ['b', 2],
        ['none', undefined],
        ['a', 1],
      ]),
    ],
  ],
  [
    'mGet tells keys apart by type',
    [
      [
        'mSet',
        [
          ['1', 'text'],
          [1, 'number'],
        ],
      ],
      ['mGet', [1, '1']],
    ],
    [
      undefined,
      new Map([
        [1, 'number'],
        ['1', 'text'],
      ]),
    ],
  ],
  [
    'mSet takes options of each',
    [
      [
        'mSet',
        [
          ['a', 1, { ttl: 1e6, size: 1 }],
          ['b', 2],
        ],
        { ttl: 0 },
      ],
      ['getRemainingTTL', 'b'],
    ],
    [undefined, Infinity],
    { ttl: 50_000 },
  ],
  ['mSet takes a Map', [['mSet', new Map([['a', 1]])], ['entries']], [undefined, [['a', 1]]]],
  [
    'a ttl of 0 is none',
    [
      ['set', 'k', 1, { ttl: 0 }],
      ['getRemainingTTL', 'k'],
      ['setIfAbsent', 'l', 1, { ttl: 0 }],
      ['getRemainingTTL', 'l'],
    ],
    [true, Infinity, true, Infinity],
    { ttl: 50_000 },
  ],
  [
    'incr leaves the age running',
    [['incr', 'n', 1, { ttl: 1e9 }], ['incr', 'n'], ['decr', 'n', 5, { ttl: 5 }], ['dump']],
    (done) => {
      assert.deepEqual(done.slice(0, 3), [1, 2, -3]);
      const [[key, { value, ttl }]] = done[3];
      assert.deepEqual([key, value], ['n', -3]);
      assert.ok(ttl > 9e8 && ttl <= 1e9, ttl);
    },
    { ttl: 1000 },
  ],
  [
    'dump gives pairs, the least recent first, that load takes',
    [
      [
        'mSet',
        [
          ['a', 1],
          ['b', { n: 2 }],
        ],
      ],
      ['dump'],
    ],
    [
      undefined,
      [
        ['a', { value: 1 }],
        ['b', { value: { n: 2 } }],
      ],
    ],
  ],
  [
    'entries, keys and values leave out what has expired',
    [
      [
        'mSet',
        [
          ['a', 1],
          ['b', 2],
        ],
      ],
      ['set', 'old', 3, -1],
      ['healthCheck'],
      ['entries'],
      ['keys'],
      ['values'],
    ],
    [
      undefined,
      true,
      undefined,
      [
        ['b', 2],
        ['a', 1],
      ],
      ['b', 'a'],
      [2, 1],
    ],
    { near: false },
  ],
  ['max is 1000 where there is no bound', [['max'], ['max', 5], ['max']], [1000, 5, 5]],
  ['max is none with a ttl', [['max']], [0], { ttl: 5 }],
  ['max is none with a maxSize', [['max']], [0], { maxSize: 1e6 }],
  ['destroy', [['destroy'], ['destroy'], ['max']], [true, false, 1000]],
];

function tests(open) {
  for (const [title, calls, result, options] of ON_THE_CLASS) {
    it(title, async () => {
      const all = await open('default', { namespace: unique('names'), ...options });
      assert.deepEqual(await all(calls), result);
    });
  }
  for (const [title, calls, result, options] of OF_2) {
    it(`LRUCacheClustered: ${title}`, async () => {
      const all = await open('LRUCacheClustered', { namespace: unique('names'), ...options });
      const done = await all(calls);
      if (typeof result === 'function') result(done);
      else assert.deepEqual(done, result);
    });
  }

  it('LRUCacheClustered: null and undefined are refused', async () => {
    const all = await open('LRUCacheClustered', { namespace: unique('names') });
    const of = [
      ['get', null],
      ['has', undefined],
      ['peek', null],
      ['delete', null],
      ['incr', null],
      ['set', null, 1],
      ['set', 'k', null],
      ['setIfAbsent', 'k', undefined],
      ['mGet', ['a', null]],
      ['mSet', [['a', null]]],
      ['mDelete', [null]],
      ['getRemainingTTL', null],
      ['load', [['a', {}]]],
    ];
    for (const call of of) {
      await assert.rejects(
        all([call]),
        { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' },
        String(call),
      );
    }
    assert.deepEqual(await all([['size']]), [0]);
  });

  it('LRUCacheClustered: the size in its statistics is the number of entries', async () => {
    const all = await open('LRUCacheClustered', { namespace: unique('names') });
    const [, { size, entries, calculatedSize }] = await all([['set', 'k', 1], ['stats']]);
    assert.deepEqual([size, entries, calculatedSize > 1], [1, 1, true]);
  });

  it('LRUCacheClustered: a later instance without a bound leaves that of the first', async () => {
    const namespace = unique('names');
    await open('LRUCacheClustered', { namespace, max: 7 });
    const all = await open('LRUCacheClustered', { namespace });
    assert.deepEqual(await all([['max']]), [7]);
  });

  it('LRUCacheClustered: near reads are counted and can be passed by', async () => {
    const localL1 = { enabled: true, experimental: true, ttl: 500, max: 10 };
    const all = await open('LRUCacheClustered', { namespace: unique('names'), localL1 });
    await all([['set', 'k', { n: 1 }, { updateL1: true }]]);
    for (let at = 0; at < 5; at += 1) assert.deepEqual(await all([['get', 'k']]), [{ n: 1 }]);
    const [before] = await all([['localStats']]);
    assert.equal(before.hits + before.misses, 5);
    assert.deepEqual(
      [before.enabled, before.staleHits, before.evictions, before.invalidations],
      [true, 0, 0, 1],
    );
    assert.equal(before.ipcAvoided, before.hits);
    const [, , , after] = await all([
      ['get', 'k', { bypassL1: true }],
      ['clearLocal'],
      ['invalidateLocal', 'k'],
      ['localStats'],
    ]);
    assert.deepEqual([after.hits, after.misses], [before.hits, before.misses]);
    assert.equal(after.size, 0);
    assert.deepEqual(await all([['get', 'k']]), [{ n: 1 }]);
    const off = await open('LRUCacheClustered', { namespace: unique('names') });
    assert.deepEqual(await off([['localStats']]), [undefined]);
  });
}

const call = async (cache, calls) => {
  const done = [];
  for (const [name, ...args] of calls) done.push(await cache[name](...args));
  return done;
};

const PATIENT = { timeout: 30_000, failsafe: 'reject' };

describe('names of 2.x', () => {
  describe('in one process', () => {
    tests(async (name, options) => {
      const cache = await Cache[name].getInstance({ ...PATIENT, ...options });
      return (calls) => call(cache, calls);
    });
  });

  for (const transport of TRANSPORTS) {
    describe(`by ${transport}`, () => {
      const { worker: start } = processes();
      let worker;
      before(async () => {
        worker = await start({ transport });
      });
      tests(async (name, options) => {
        const id = await worker.run(
          async ({ Cache: Class, state }, of, given) => {
            state.named ??= [];
            return state.named.push(await Class[of].getInstance(given)) - 1;
          },
          name,
          { ...PATIENT, ...options },
        );
        return (calls) =>
          worker.run(
            async ({ state }, at, given) => {
              const done = [];
              for (const [method, ...args] of given)
                done.push(await state.named[at][method](...args));
              return done;
            },
            id,
            calls,
          );
      });
    });
  }

  it('what dump gives, load takes, with order and ages', async () => {
    const cache = new LRUCacheClustered({ namespace: unique('names') });
    await cache.mSet([
      ['a', 1, { ttl: 60_000 }],
      ['b', 2],
      ['c', 3],
    ]);
    const dump = await cache.dump();
    await cache.clear();
    await cache.load(dump);
    assert.deepEqual(await cache.keys(), ['c', 'b', 'a']);
    const left = await cache.getRemainingTTL('a');
    assert.ok(left > 50_000 && left <= 60_000, left);
    assert.equal(await cache.getRemainingTTL('b'), Infinity);
  });

  it('LRUCacheClustered.getAllCaches gives a Map, and instances are of both classes', async () => {
    const namespace = unique('names');
    const cache = await LRUCacheClustered.getInstance({ namespace });
    assert.ok(cache instanceof LRUCacheClustered && cache instanceof Cache);
    const all = LRUCacheClustered.getAllCaches();
    assert.ok(all instanceof Map && all.has(namespace));
    assert.equal(LRUCacheClustered.bootstrap(), undefined);
  });

  it('near reads tell listeners', async () => {
    const cache = new LRUCacheClustered({ namespace: unique('names'), localL1: {} });
    const events = [];
    const listen = (name) => cache.on(name, ({ key }) => events.push([name, key]));
    for (const name of ['l1:hit', 'l1:miss', 'l1:set', 'l1:invalidate']) listen(name);
    await cache.set('k', { n: 1 });
    await cache.get('none');
    await cache.get('k');
    await cache.get('k');
    await cache.clear();
    assert.deepEqual(events[0], ['l1:invalidate', 'k']);
    assert.deepEqual(events[1], ['l1:miss', 'none']);
    assert.deepEqual(events.at(-2), ['l1:hit', 'k']);
    assert.deepEqual(events.at(-1), ['l1:invalidate', '*']);
  });

  it('methods of localL1 say which reads may be near ones', async () => {
    const localL1 = { methods: { has: true } };
    const cache = new LRUCacheClustered({ namespace: unique('names'), localL1 });
    await cache.set('k', { n: 1 });
    for (let at = 0; at < 4; at += 1) await cache.get('k');
    const { hits, misses } = cache.localStats();
    assert.deepEqual([hits, misses], [0, 0]);
    await cache.has('k');
    assert.equal(cache.localStats().hits + cache.localStats().misses, 1);
  });

  it('withoutLocal gives one instance for reads past near reads', async () => {
    const cache = new LRUCacheClustered({ namespace: unique('names'), max: 3, localL1: {} });
    const past = cache.withoutLocal();
    assert.equal(past, cache.withoutLocal());
    assert.equal(past, past.withoutLocal());
    await cache.set('k', 1);
    assert.equal(await past.get('k'), 1);
    assert.equal(past.localStats(), undefined);
    assert.equal(await cache.max(), 3);
  });

  it('wrap encodes and decodes', async () => {
    for (const Class of [Cache, LRUCacheClustered]) {
      const cache = new Class({ namespace: unique('names') });
      const wrapped = wrap(cache, {
        encode: async (value) => JSON.stringify(value),
        decode: (text) => JSON.parse(text),
      });
      await wrapped.ready;
      assert.equal(await wrapped.set('a', { n: 1 }), true);
      assert.equal(await cache.get('a'), '{"n":1}');
      assert.deepEqual(await wrapped.get('a'), { n: 1 });
      assert.deepEqual([await wrapped.get('none'), await wrapped.peek('a')], [undefined, { n: 1 }]);
      assert.deepEqual(
        [await wrapped.setIfAbsent('a', 2), await wrapped.setIfAbsent('b', 2)],
        [false, true],
      );
      await wrapped.mSet([['c', { n: 3 }]]);
      assert.deepEqual((await wrapped.mGet(['a', 'c'])).get('c'), { n: 3 });
      assert.deepEqual(await wrapped.values(), [{ n: 3 }, { n: 1 }, 2]);
      assert.deepEqual(
        [await wrapped.size(), await wrapped.delete('b'), await wrapped.has('b')],
        [3, true, false],
      );
      await wrapped.mDelete(['c']);
      assert.deepEqual(await wrapped.keys(), ['a']);
      await wrapped.clear();
      assert.deepEqual(
        [await wrapped.size(), await wrapped.purgeStale(), await wrapped.getRemainingTTL('a')],
        [0, false, 0],
      );
      await wrapped.healthCheck();
      assert.equal((await wrapped.stats()).entries, 0);
      assert.equal(await wrapped.destroy(), true);
    }
  });

  it('a failsafe that is none warns once, and counts as resolve', async () => {
    const warnings = [];
    const listen = (warning) => warnings.push(warning.message);
    process.on('warning', listen);
    const made = [1, 2].map(() => new Cache({ namespace: unique('names'), failsafe: 'rejct' }));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', listen);
    assert.deepEqual(
      made.map(({ failsafe }) => failsafe),
      ['resolve', 'resolve'],
    );
    assert.deepEqual(warnings, [
      `failsafe must be 'resolve' or 'reject', got "rejct", which counts as 'resolve': did you mean 'reject'?`,
    ]);
  });

  it('a module imports them by name', async () => {
    const url = pathToFileURL(path.join(__dirname, '..', 'index.js')).href;
    const program = `
      import { LRUCacheClustered, LRUCacheForClustersAsPromised, wrap, bootstrap } from ${JSON.stringify(url)};
      console.log(typeof LRUCacheClustered, typeof LRUCacheForClustersAsPromised, typeof wrap, typeof bootstrap);
    `;
    const args = ['--input-type=module', '-e', program];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    assert.equal(stdout.trim(), 'function function function function');
  });
});
