'use strict';

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, processes, unique } = require('./helpers');

/** Options that cannot be used: [option, value, how the error's message shows the value]. */
const bad = [
  ['max', -1, '-1'],
  ['max', 'x', '"x"'],
  ['max', '5', '"5"'],
  ['max', true, 'true'],
  ['max', {}, '[object Object]'],
  ['max', [1], '[object Array]'],
  ['max', -Infinity, '-Infinity'],
  ['maxSize', -1, '-1'],
  ['maxSize', '5', '"5"'],
  ['maxSize', false, 'false'],
  ['maxEntrySize', -0.5, '-0.5'],
  ['maxEntrySize', 'x', '"x"'],
  ['maxEntrySize', [1], '[object Array]'],
  ['maxAge', 'x', '"x"'],
  ['maxAge', false, 'false'],
  ['maxAge', {}, '[object Object]'],
  ['prune', true, 'true'],
  ['prune', 5, '5'],
  ['prune', {}, '[object Object]'],
  ['prune', '', '""'],
  ['prune', 'every day', 'every day'],
  ['prune', '* * * *', '* * * *'],
  ['prune', '* * * * * * *', '* * * * * * *'],
  ['prune', '60 * * * * *', '60'],
  ['prune', '* * 24 * * *', '24'],
  ['prune', '* * * 32 * *', '32'],
  ['prune', '* * * * 13 *', '13'],
  ['prune', '* * * * * 8', '8'],
  ['prune', '*/0 * * * * *', '*/0'],
  ['timeout', -1, '-1'],
  ['timeout', 'soon', '"soon"'],
  ['serialization', 'xml', '"xml"'],
  ['parse', 'JSON', '"JSON"'],
  ['stringify', {}, '[object Object]'],
];

const show = (value) => (typeof value === 'number' ? String(value) : JSON.stringify(value));

function assertNames(error, option, shown) {
  assert.ok(['TypeError', 'Error'].includes(error.name), error.name);
  assert.ok(error.message.includes(option), `${error.message} names ${option}`);
  assert.ok(error.message.includes(shown), `${error.message} shows ${shown}`);
}

/** Defaults: [title, options, properties of the instance]. */
const defaults = [
  [undefined, { namespace: 'default', timeout: 100, failsafe: 'resolve' }],
  [{}, { namespace: 'default', timeout: 100, failsafe: 'resolve' }],
  [null, { namespace: 'default', timeout: 100, failsafe: 'resolve' }],
  [{ namespace: '' }, { namespace: 'default' }],
  [{ namespace: 'constructor' }, { namespace: 'constructor' }],
  [{ timeout: 0 }, { timeout: 100 }],
  [{ timeout: 250 }, { timeout: 250 }],
  [{ failsafe: 'reject' }, { failsafe: 'reject' }],
  [{ failsafe: 'anything' }, { failsafe: 'resolve' }],
];

describe('options in the primary', () => {
  for (const [option, value, shown] of bad) {
    it(`${option} ${show(value)} is refused by an error that says so`, async () => {
      const namespace = unique('options');
      const options = { namespace, [option]: value };
      assert.throws(
        () => new Cache(options),
        (error) => {
          assert.ok(error instanceof Error);
          assertNames(error, option, shown);
          return true;
        },
      );
      await assert.rejects(Cache.getInstance(options));
      assert.ok(!(namespace in Cache.getAllCaches()), 'no cache was made');
    });
  }

  for (const [options, expected] of defaults) {
    it(`${JSON.stringify(options)} makes ${JSON.stringify(expected)}`, () => {
      const cache = new Cache(options);
      for (const [name, value] of Object.entries(expected)) assert.equal(cache[name], value);
    });
  }

  it('parse and stringify are those of JSON unless given', () => {
    const cache = new Cache();
    assert.equal(cache.parse, JSON.parse);
    assert.equal(cache.stringify, JSON.stringify);
  });

  it('max, maxSize, maxAge and stale have the defaults of an unbounded cache', () => {
    const cache = new Cache({ namespace: unique('options') }).getCache();
    const { max, maxSize, maxAge, allowStale } = cache;
    assert.deepEqual([max, maxSize, maxAge, allowStale], [Infinity, Infinity, 0, false]);
  });

  for (const max of [0, undefined, null, Infinity, NaN]) {
    it(`max ${max} is no bound`, () => {
      const cache = new Cache({ namespace: unique('options'), max }).getCache();
      assert.equal(cache.max, Infinity);
    });

    it(`maxSize and maxEntrySize ${max} are no bound`, () => {
      const namespace = unique('options');
      new Cache({ namespace, maxEntrySize: 5 });
      const cache = new Cache({ namespace, maxSize: max, maxEntrySize: max ?? 0 }).getCache();
      assert.equal(cache.maxSize, Infinity);
      assert.equal(cache.set('k', 'x'.repeat(10_000)), true);
    });
  }

  it('later options change a cache that exists, those left out leave it', () => {
    const namespace = unique('options');
    const cache = new Cache({ namespace, max: 5, maxAge: 100, stale: true }).getCache();
    const read = () => [cache.max, cache.maxAge, cache.allowStale];
    new Cache({ namespace });
    new Cache({ namespace, max: undefined, maxAge: undefined, stale: undefined });
    assert.deepEqual(read(), [5, 100, true]);
    new Cache({ namespace, max: 3 });
    assert.deepEqual(read(), [3, 100, true]);
    new Cache({ namespace, maxAge: 0, stale: false });
    assert.deepEqual(read(), [3, 0, false]);
  });

  it('a later max trims at once', async () => {
    const namespace = unique('options');
    const cache = new Cache({ namespace });
    await cache.mSet({ a: 1, b: 2, c: 3 });
    new Cache({ namespace, max: 1 });
    assert.deepEqual(await cache.keys(), ['c']);
  });

  it('a later maxSize trims at once, a later maxEntrySize leaves what is there', async () => {
    const namespace = unique('options');
    const cache = new Cache({ namespace, maxSize: 1e6 });
    const large = 'x'.repeat(1000);
    await cache.mSet({ a: large, b: large, c: large });
    new Cache({ namespace, maxSize: 2500 });
    assert.deepEqual(await cache.keys(), ['c', 'b']);
    new Cache({ namespace, maxEntrySize: 1000 });
    assert.deepEqual(await cache.keys(), ['c', 'b']);
    assert.equal(await cache.set('b', large), false);
    assert.deepEqual(await cache.keys(), ['c']);
    assert.equal(await cache.maxSize(), 2500);
  });

  it('bad options leave a cache that exists as it is', async () => {
    const namespace = unique('options');
    const cache = new Cache({ namespace, max: 5 });
    await cache.set('k', 1);
    assert.throws(() => new Cache({ namespace, max: 1, maxAge: 'x' }));
    assert.equal(await cache.max(), 5);
    assert.equal(await cache.get('k'), 1);
  });

  it('what a long value does not do is fill the message', () => {
    assert.throws(
      () => new Cache({ namespace: unique('options'), max: 'x'.repeat(100_000) }),
      ({ message }) => message.length < 300 && message.includes('max'),
    );
  });

  describe('parse and stringify of an instance', () => {
    const tagged = () => ({
      namespace: unique('options'),
      stringify: (value) => `<${JSON.stringify(value)}>`,
      parse: (text) => ({ parsed: text }),
    });

    it('serve setObject and getObject', async () => {
      const cache = new Cache(tagged());
      await cache.setObject('k', 5);
      assert.equal(await cache.get('k'), '<5>');
      assert.deepEqual(await cache.getObject('k'), { parsed: '<5>' });
    });

    it('serve mSetObjects and mGetObjects', async () => {
      const cache = new Cache(tagged());
      await cache.mSetObjects({ a: 1, b: 2 });
      assert.deepEqual(await cache.mGet(['a', 'b']), { a: '<1>', b: '<2>' });
      assert.deepEqual(await cache.mGetObjects(['a', 'x']), { a: { parsed: '<1>' } });
    });

    it('are not those of another instance of the namespace', async () => {
      const options = tagged();
      await new Cache(options).setObject('k', 5);
      const other = new Cache({ namespace: options.namespace, parse: (text) => text.length });
      assert.equal(await other.getObject('k'), 3);
    });

    it('reject with what they throw', async () => {
      const broken = () => {
        throw new RangeError('no');
      };
      const cache = new Cache({ namespace: unique('options'), parse: broken, stringify: broken });
      await cache.set('k', 'raw');
      await assert.rejects(cache.setObject('k', 1), RangeError);
      await assert.rejects(cache.mSetObjects({ k: 1 }), RangeError);
      await assert.rejects(cache.getObject('k'), RangeError);
      await assert.rejects(cache.mGetObjects(['k']), RangeError);
      assert.equal(await cache.get('k'), 'raw');
    });
  });
});

for (const transport of TRANSPORTS) {
  describe(`options in a worker, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let worker;
    before(async () => {
      worker = await start({ transport });
    });

    for (const [option, value, shown] of bad) {
      it(`${option} ${show(value)}: getInstance and each call reject with an error that says so`, async () => {
        const namespace = unique('options');
        const errors = await worker.run(
          async ({ Cache }, options) => {
            const calls = [Cache.getInstance(options)];
            const cache = new Cache(options);
            calls.push(cache.get('k'), cache.set('k', 1), cache.keys(), cache.execute('pop'));
            const settled = await Promise.allSettled(calls);
            return settled.map(({ reason }) => ({ name: reason?.name, message: reason?.message }));
          },
          { namespace, [option]: value, timeout: option === 'timeout' ? value : 10_000 },
        );
        assert.equal(errors.length, 5);
        for (const error of errors) assertNames(error, option, shown);
        assert.ok(!(namespace in Cache.getAllCaches()), 'no cache was made');
      });
    }

    for (const [options, expected] of defaults) {
      it(`${JSON.stringify(options)} makes ${JSON.stringify(expected)}`, async () => {
        const got = await worker.run(({ Cache }, given) => {
          const { namespace, timeout, failsafe } = new Cache(given);
          return { namespace, timeout, failsafe };
        }, options);
        for (const [name, value] of Object.entries(expected)) assert.equal(got[name], value);
      });
    }

    it('later options change a cache that exists, those left out leave it', async () => {
      const namespace = unique('options');
      const primary = new Cache({ namespace, max: 5, maxAge: 100 }).getCache();
      await worker.open({ namespace, timeout: 10_000 });
      assert.deepEqual([primary.max, primary.maxAge], [5, 100]);
      await worker.open({ namespace, timeout: 10_000, max: 3, stale: true });
      assert.deepEqual([primary.max, primary.maxAge, primary.allowStale], [3, 100, true]);
      await worker.open({ namespace, timeout: 10_000, maxAge: 0, stale: false });
      assert.deepEqual([primary.max, primary.maxAge, primary.allowStale], [3, 0, false]);
      await worker.open({ namespace, timeout: 10_000, maxSize: 5000, maxEntrySize: 500 });
      assert.deepEqual([primary.max, primary.maxSize], [3, 5000]);
      assert.equal(primary.set('k', 'x'.repeat(500)), false);
    });

    it('parse and stringify work on this side', async () => {
      const namespace = unique('options');
      const got = await worker.run(
        async ({ Cache }, options) => {
          const cache = new Cache({
            ...options,
            stringify: (value) => `<${value}>`,
            parse: (text) => `parsed ${text}`,
          });
          await cache.setObject('a', 1);
          await cache.mSetObjects({ b: 2 });
          return [await cache.getObject('a'), await cache.mGetObjects(['b', 'x'])];
        },
        { namespace, timeout: 10_000 },
      );
      assert.deepEqual(got, ['parsed <1>', { b: 'parsed <2>' }]);
      assert.deepEqual(Cache.getAllCaches()[namespace].values(), ['<2>', '<1>']);
    });
  });
}

describe('options that are unknown', () => {
  /** The warnings of this package that `run` causes. */
  async function warningsOf(run) {
    const warnings = [];
    const listen = (warning) => {
      if (warning.code === 'LRU_CACHE_UNKNOWN_OPTION') warnings.push(warning);
    };
    process.on('warning', listen);
    run();
    // Warnings are emitted on the next tick.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', listen);
    return warnings.map(({ message }) => message);
  }

  const cases = [
    ['tll', 'did you mean ttl?'],
    ['maxage', 'did you mean maxAge?'],
    ['timeOut', 'did you mean timeout?'],
    ['nameSpace', 'did you mean namespace?'],
    ['length', 'use maxSize'],
    ['dispose', 'no function is called'],
    ['noDisposeOnSet', 'there is no dispose'],
    ['updateAgeOnGet', 'get never renews an age'],
    ['toString', 'did you mean'],
  ];
  for (const [name, advice] of cases) {
    it(`${name} is warned of once, with what to do instead`, async () => {
      const make = () => new Cache({ namespace: unique('options'), [name]: 1 });
      const [message, ...others] = await warningsOf(() => (make(), make()));
      assert.deepEqual(others, []);
      assert.ok(message.startsWith(`the option ${name} has no effect: `), message);
      assert.ok(message.includes(advice), message);
    });
  }

  it('are none where they are second names: ttl of maxAge, allowStale of stale', async () => {
    const options = { namespace: unique('options'), ttl: 5000, allowStale: true };
    assert.deepEqual(await warningsOf(() => new Cache(options)), []);
    const cache = new Cache({ namespace: options.namespace, ttl: 5000, maxAge: 5000 });
    assert.deepEqual([await cache.maxAge(), await cache.stale()], [5000, true]);
    const own = new Cache.LRUCache({ ttl: 7, allowStale: true });
    assert.deepEqual([own.maxAge, own.allowStale], [7, true]);
    const error = { name: 'TypeError', message: /two names of one option/ };
    const namespace = unique('options');
    assert.throws(() => new Cache({ namespace, ttl: 5, maxAge: 6 }), error);
    assert.throws(() => new Cache({ namespace, allowStale: true, stale: false }), error);
    assert.throws(() => new Cache.LRUCache({ ttl: 5, maxAge: 6 }), error);
    assert.throws(() => new Cache({ namespace, ttl: 'x' }), {
      name: 'TypeError',
      message: /maxAge/,
    });
  });

  it('are warned of by the synchronous class, too', async () => {
    const [message] = await warningsOf(() => new Cache.LRUCache({ max: 5, maxsize: 7 }));
    assert.match(message, /maxsize has no effect: did you mean maxSize\?/);
  });

  it('are no warning where they are known or undefined', async () => {
    const known = { max: 1, maxSize: 1e6, maxEntrySize: 1e6, maxAge: 1, stale: true, prune: false };
    const own = { timeout: 5, failsafe: 'reject', parse: JSON.parse, stringify: JSON.stringify };
    const make = () =>
      new Cache({
        namespace: unique('options'),
        ...known,
        ...own,
        serialization: 'json',
        x: undefined,
      });
    assert.deepEqual(await warningsOf(make), []);
  });
});
