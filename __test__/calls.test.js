'use strict';

// Every call of the class, by every road: in a process without workers, in a primary that shares its memory with a
// worker, and from a worker through either transport. Same calls, same results.

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, describeShared, fakeClock, processes, unique } = require('./helpers');

/** Calls that set entries up; an age below 0 makes one that has expired already. */
const abc = (cache) => cache.mSet({ a: 1, b: 2, c: 3 });
const expired = (cache) => cache.set('old', 'value', -1);

/** A string that takes something above this many bytes as a value: less than 250 more, with key and overhead. */
const bytes = (count) => 'x'.repeat(count);
const large = (cache) => cache.mSet({ a: bytes(1000), b: bytes(1000) });

/** What a call gives: [title, calls, result, options]. */
const results = [
  ['set gives true', (c) => c.set('k', 'v'), true],
  [
    'get gives the value',
    async (c) => (await c.set('k', { n: [1, null] }), c.get('k')),
    { n: [1, null] },
  ],
  ['get of a missing key gives undefined', (c) => c.get('k'), undefined],
  [
    'get gives the value that was set last',
    async (c) => (await c.set('k', 1), await c.set('k', 2), c.get('k')),
    2,
  ],
  [
    'get of an expired entry gives undefined',
    async (c) => (await expired(c), c.get('old')),
    undefined,
  ],
  [
    'get removes an expired entry',
    async (c) => (await expired(c), await c.get('old'), c.length()),
    0,
  ],
  [
    'get gives an expired value with stale',
    async (c) => (await expired(c), c.get('old')),
    'value',
    { stale: true },
  ],
  [
    'get gives an expired value once',
    async (c) => (await expired(c), await c.get('old'), c.get('old')),
    undefined,
    { stale: true },
  ],
  ['peek gives the value', async (c) => (await abc(c), c.peek('a')), 1],
  ['peek of a missing key gives undefined', (c) => c.peek('k'), undefined],
  [
    'peek of an expired entry gives undefined',
    async (c) => (await expired(c), c.peek('old')),
    undefined,
  ],
  [
    'peek removes an expired entry',
    async (c) => (await expired(c), await c.peek('old'), c.length()),
    0,
  ],
  [
    'peek gives an expired value with stale',
    async (c) => (await expired(c), c.peek('old')),
    'value',
    { stale: true },
  ],
  ['has is true for an entry', async (c) => (await c.set('k', 0), c.has('k')), true],
  [
    'has is true for an entry that holds undefined',
    async (c) => (await c.set('k', undefined), c.has('k')),
    true,
  ],
  ['has is false for a missing key', (c) => c.has('k'), false],
  ['has is false for an expired entry', async (c) => (await expired(c), c.has('old')), false],
  [
    'has is false for an expired entry with stale',
    async (c) => (await expired(c), c.has('old')),
    false,
    { stale: true },
  ],
  ['has removes nothing', async (c) => (await expired(c), await c.has('old'), c.length()), 1],
  ['del gives undefined', async (c) => (await abc(c), c.del('a')), undefined],
  ['del of a missing key gives undefined', (c) => c.del('k'), undefined],
  [
    'del removes the entry and no other',
    async (c) => (await abc(c), await c.del('b'), c.keys()),
    ['c', 'a'],
  ],

  ['mSet gives true', (c) => c.mSet({ a: 1 }), true],
  ['mSet sets in order', async (c) => (await c.mSet({ b: 1, a: 2 }), c.keys()), ['a', 'b']],
  [
    'mSet takes an array as an object',
    async (c) => (await c.mSet(['x', 'y']), c.dump()),
    [
      { k: '1', v: 'y', e: 0 },
      { k: '0', v: 'x', e: 0 },
    ],
  ],
  [
    'mSet takes the entries of a Map',
    async (c) => (
      await c.mSet(
        new Map([
          ['b', 1],
          [5, 2],
          [true, 3],
        ]),
      ),
      [await c.keys(), await c.get(5)]
    ),
    [[true, 5, 'b'], 2],
  ],
  [
    'mSet takes pairs',
    async (c) => (
      await c.mSet([
        ['a', 1],
        [null, 2],
      ]),
      [await c.keys(), await c.values()]
    ),
    [
      [null, 'a'],
      [2, 1],
    ],
  ],
  [
    'mSet takes an age for each pair, before that of the call',
    async (c) => (
      await c.mSet(
        [
          ['a', 1],
          ['b', 2, 1e6],
          ['c', 3, 0],
        ],
        -1,
      ),
      c.mGet(['a', 'b', 'c'])
    ),
    { b: 2 },
  ],
  [
    'mSet takes an array as an object where not every element is a pair',
    async (c) => (await c.mSet([['a', 1], ['b']]), c.keys()),
    ['1', '0'],
  ],
  [
    'mSetObjects takes a Map and pairs',
    async (c) => {
      await c.mSetObjects(new Map([['a', [1]]]));
      await c.mSetObjects([['b', { x: 2 }, 1e6]]);
      return c.mGetObjects(['a', 'b']);
    },
    { a: [1], b: { x: 2 } },
  ],
  [
    'mSet gives its entries their age',
    async (c) => (await c.mSet({ a: 1, b: 2 }, -1), c.mGet(['a', 'b'])),
    {},
  ],
  ['mSet evicts over max', async (c) => (await abc(c), c.keys()), ['c', 'b'], { max: 2 }],
  ...[null, undefined, 'text', 5, true].map((pairs) => [
    `mSet(${JSON.stringify(pairs)}) gives true and sets nothing`,
    async (c) => [await c.mSet(pairs), await c.length()],
    [true, 0],
  ]),
  [
    'mGet gives what is there',
    async (c) => (await abc(c), c.mGet(['a', 'c', 'x'])),
    { a: 1, c: 3 },
  ],
  ['mGet leaves out an expired entry', async (c) => (await expired(c), c.mGet(['old'])), {}],
  [
    'mGet gives an expired value with stale',
    async (c) => (await expired(c), c.mGet(['old'])),
    { old: 'value' },
    { stale: true },
  ],
  [
    'mGet gives a value that is undefined',
    async (c) => (await c.set('k', undefined), c.mGet(['k'])),
    { k: undefined },
  ],
  [
    'mGet makes its entries the most recent',
    async (c) => (await abc(c), await c.mGet(['b', 'a']), c.keys()),
    ['a', 'b', 'c'],
  ],
  [
    'mGet finds a number and answers under its string',
    async (c) => (await c.set(1, 'n'), await c.set('2', 's'), c.mGet([1, 2])),
    { 1: 'n' },
  ],
  ['mGet of no keys gives {}', (c) => c.mGet([]), {}],
  ...[undefined, null, 'a', 1, { 0: 'a', length: 1 }].map((keys) => [
    `mGet(${JSON.stringify(keys)}) gives {}`,
    async (c) => (await abc(c), c.mGet(keys)),
    {},
  ]),
  ['mDel gives true', async (c) => (await abc(c), c.mDel(['a'])), true],
  [
    'mDel removes its keys and no other',
    async (c) => (await abc(c), await c.mDel(['a', 'c', 'x']), c.keys()),
    ['b'],
  ],
  ...[undefined, null, 'a', { 0: 'a', length: 1 }].map((keys) => [
    `mDel(${JSON.stringify(keys)}) gives true and removes nothing`,
    async (c) => (await abc(c), [await c.mDel(keys), await c.length()]),
    [true, 3],
  ]),

  ['setObject gives true', (c) => c.setObject('k', { a: 1 }), true],
  ['setObject stores JSON', async (c) => (await c.setObject('k', { a: 1 }), c.get('k')), '{"a":1}'],
  [
    'setObject takes an age',
    async (c) => (await c.setObject('k', {}, -1), c.getObject('k')),
    undefined,
  ],
  [
    'getObject gives the object',
    async (c) => (await c.setObject('k', { a: [1] }), c.getObject('k')),
    { a: [1] },
  ],
  ['getObject of a missing key gives undefined', (c) => c.getObject('k'), undefined],
  [
    'getObject gives a null that was stored',
    async (c) => (await c.setObject('k', null), c.getObject('k')),
    null,
  ],
  ...['', 0, false, null].map((raw) => [
    `getObject of the raw value ${JSON.stringify(raw)} gives undefined`,
    async (c) => (await c.set('k', raw), c.getObject('k')),
    undefined,
  ]),
  ['mSetObjects gives true', (c) => c.mSetObjects({ a: {} }), true],
  [
    'mSetObjects stores JSON',
    async (c) => (await c.mSetObjects({ a: [1], b: null }), c.mGet(['a', 'b'])),
    { a: '[1]', b: 'null' },
  ],
  [
    'mSetObjects takes an age',
    async (c) => (await c.mSetObjects({ a: [1] }, -1), c.mGetObjects(['a'])),
    {},
  ],
  [
    'mGetObjects gives objects, and no property for a miss',
    async (c) => (await c.mSetObjects({ a: { x: 1 }, b: null }), c.mGetObjects(['a', 'b', 'x'])),
    { a: { x: 1 }, b: null },
  ],

  ['incr counts from 0', (c) => c.incr('n'), 1],
  ['incr counts on', async (c) => (await c.incr('n'), await c.incr('n'), c.incr('n')), 3],
  ['incr adds an amount', async (c) => (await c.set('n', 40), c.incr('n', 2)), 42],
  ['incr adds 0', async (c) => (await c.set('n', 40), c.incr('n', 0)), 40],
  [
    'incr adds what is below 0 and between',
    async (c) => (await c.incr('n', -2), c.incr('n', 0.5)),
    -1.5,
  ],
  ['incr counts what is no number as 0', async (c) => (await c.set('n', '7'), c.incr('n', 2)), 2],
  ['incr counts an expired number as 0', async (c) => (await c.set('n', 7, -1), c.incr('n')), 1],
  [
    'incr makes the entry the most recent',
    async (c) => (await abc(c), await c.incr('a'), c.keys()),
    ['a', 'c', 'b'],
  ],
  ['decr counts from 0', (c) => c.decr('n'), -1],
  ['decr takes an amount', async (c) => (await c.set('n', 40), c.decr('n', 2)), 38],
  ['decr takes 0', async (c) => (await c.set('n', 40), c.decr('n', 0)), 40],

  ['reset gives undefined', async (c) => (await abc(c), c.reset()), undefined],
  ['reset removes all', async (c) => (await abc(c), await c.reset(), c.keys()), []],
  ['keys are most recent first', async (c) => (await abc(c), c.keys()), ['c', 'b', 'a']],
  ['keys of an empty cache are []', (c) => c.keys(), []],
  ['keys include those of expired entries', async (c) => (await expired(c), c.keys()), ['old']],
  ['values are most recent first', async (c) => (await abc(c), c.values()), [3, 2, 1]],
  ['values of an empty cache are []', (c) => c.values(), []],
  ['values include expired ones', async (c) => (await expired(c), c.values()), ['value']],
  [
    'dump is most recent first, e 0 for no age',
    async (c) => (await c.mSet({ a: 1, b: [] }), c.dump()),
    [
      { k: 'b', v: [], e: 0 },
      { k: 'a', v: 1, e: 0 },
    ],
  ],
  [
    'dump leaves out what has expired',
    async (c) => (await abc(c), await expired(c), (await c.dump()).length),
    3,
  ],
  ['dump of an empty cache is []', (c) => c.dump(), []],
  ['prune gives undefined', (c) => c.prune(), undefined],
  [
    'prune removes what has expired',
    async (c) => (await abc(c), await expired(c), await c.prune(), c.keys()),
    ['c', 'b', 'a'],
  ],
  ['length counts expired entries', async (c) => (await abc(c), await expired(c), c.length()), 4],
  ['itemCount is length', async (c) => (await abc(c), await expired(c), c.itemCount()), 4],

  [
    'get makes the entry the most recent',
    async (c) => (await abc(c), await c.get('a'), c.keys()),
    ['a', 'c', 'b'],
  ],
  [
    'set makes the entry the most recent',
    async (c) => (await abc(c), await c.set('a', 0), c.keys()),
    ['a', 'c', 'b'],
  ],
  [
    'peek, has, values and dump leave the order',
    async (c) => (
      await abc(c),
      await c.peek('a'),
      await c.has('a'),
      await c.values(),
      await c.dump(),
      c.keys()
    ),
    ['c', 'b', 'a'],
  ],
  [
    'over max, the least recent entry goes',
    async (c) => (
      await c.set('a', 1),
      await c.set('b', 1),
      await c.get('a'),
      await c.set('c', 1),
      c.keys()
    ),
    ['c', 'a'],
    { max: 2 },
  ],
  [
    'over max, the least recent entry goes though a later one has expired',
    async (c) => (await c.set('a', 1), await expired(c), await c.set('c', 1), c.keys()),
    ['c', 'old'],
    { max: 2 },
  ],
  [
    'set gives false where nothing can ever fit',
    async (c) => [await c.set('k', 1), await c.length()],
    [false, 0],
    { max: 0.5 },
  ],

  ['max without a bound is Infinity', (c) => c.max(), Infinity],
  ['max(0) means no bound', async (c) => [await c.max(3), await c.max(0)], [3, Infinity]],
  [
    'max(Infinity) means no bound',
    async (c) => [await c.max(3), await c.max(Infinity)],
    [3, Infinity],
  ],
  ['max lowered evicts at once', async (c) => (await abc(c), await c.max(1), c.keys()), ['c']],
  [
    'over maxSize, the least recent entry goes',
    async (c) => (await large(c), await c.get('a'), await c.set('c', bytes(1000)), c.keys()),
    ['c', 'a'],
    { maxSize: 2500 },
  ],
  [
    'over maxSize, as many go as it takes',
    async (c) => (await large(c), [await c.set('c', bytes(2000)), await c.keys()]),
    [true, ['c']],
    { maxSize: 2500 },
  ],
  [
    'over maxSize, replacing a value by a larger one evicts others',
    async (c) => (await large(c), [await c.set('a', bytes(2000)), await c.keys()]),
    [true, ['a']],
    { maxSize: 2500 },
  ],
  [
    'over maxSize, a counter evicts others',
    async (c) => (await large(c), [await c.incr('n'), await c.incr('m', 1, 1000), await c.keys()]),
    [1, 1, ['m', 'n', 'b']],
    { maxSize: 2500 },
  ],
  ...[{ maxSize: 2500 }, { maxEntrySize: 2500 }].flatMap((bound) => [
    [
      `set of what never fits gives false with ${JSON.stringify(bound)}, and evicts nothing`,
      async (c) => (await large(c), [await c.set('c', bytes(2500)), await c.keys()]),
      [false, ['b', 'a']],
      bound,
    ],
    [
      `set of what never fits takes the old value with ${JSON.stringify(bound)}, and no other`,
      async (c) => (
        await large(c),
        [await c.set('a', bytes(2500)), await c.get('a'), await c.keys()]
      ),
      [false, undefined, ['b']],
      bound,
    ],
    [
      `mSet leaves out what never fits with ${JSON.stringify(bound)}, and gives true`,
      async (c) => [await c.mSet({ a: 1, b: bytes(2500), c: 3 }), await c.keys()],
      [true, ['c', 'a']],
      bound,
    ],
    [
      `load leaves out what never fits with ${JSON.stringify(bound)}`,
      async (c) => {
        const entry = (k, v) => ({ k, v, e: 0 });
        await c.execute('load', [entry('a', 1), entry('b', bytes(2500)), entry('c', 3)]);
        return c.keys();
      },
      ['a', 'c'],
      bound,
    ],
  ]),
  [
    'a counter that never fits is not kept, and its old value goes',
    async (c) => (await c.set('n', 5), await c.maxSize(10), [await c.incr('n'), await c.keys()]),
    [1, []],
  ],
  ['maxSize without a bound is Infinity', (c) => c.maxSize(), Infinity],
  [
    'maxSize gives what was set',
    async (c) => [await c.maxSize(5e9), await c.maxSize(), await c.execute('maxSize')],
    [5e9, 5e9, 5e9],
  ],
  [
    'maxSize(0) means no bound',
    async (c) => [await c.maxSize(3), await c.maxSize(0)],
    [3, Infinity],
  ],
  [
    'maxSize lowered evicts at once',
    async (c) => (await large(c), await c.maxSize(2000), c.keys()),
    ['b'],
    { maxSize: 2500 },
  ],
  ['maxAge is 0 unless given', (c) => c.maxAge(), 0],
  ['maxAge gives what was set', async (c) => [await c.maxAge(50), await c.maxAge()], [50, 50]],
  ['maxAge(0) takes the age away', async (c) => [await c.maxAge(50), await c.maxAge(0)], [50, 0]],
  ['allowStale is false unless given', (c) => c.allowStale(), false],
  [
    'allowStale(true), then (false)',
    async (c) => [
      await c.allowStale(true),
      await c.allowStale(),
      await c.allowStale(false),
      await c.allowStale(),
    ],
    [true, true, false, false],
  ],
  [
    'stale is allowStale',
    async (c) => [await c.stale(true), await c.allowStale(), await c.stale()],
    [true, true, true],
  ],
  [
    'max, maxSize, maxAge and stale are what the options say',
    async (c) => [await c.max(), await c.maxSize(), await c.maxAge(), await c.stale()],
    [7, 9, 8, true],
    { max: 7, maxSize: 9, maxAge: 8, stale: true },
  ],

  [
    'execute gives what the method gives',
    async (c) => [
      await c.execute('set', 'k', 5),
      await c.execute('get', 'k'),
      await c.execute('has', 'k'),
      await c.execute('del', 'k'),
    ],
    [true, 5, true, undefined],
  ],
  [
    'execute reaches the calls of the class',
    async (c) => [
      await c.execute('mSet', { a: 1 }),
      await c.execute('mGet', ['a']),
      await c.execute('incr', 'a', 2),
      await c.execute('max'),
      await c.execute('length'),
    ],
    [true, { a: 1 }, 3, Infinity, 1],
  ],
  [
    'execute pop removes the least recent entry',
    async (c) => (await abc(c), [await c.execute('pop'), await c.keys()]),
    [{ key: 'a', value: 1, length: 1, now: 0, maxAge: 0 }, ['c', 'b']],
  ],
  ['execute pop of an empty cache gives null', (c) => c.execute('pop'), null],
  [
    'execute load restores what dump gave',
    async (c) => {
      await abc(c);
      const dump = await c.dump();
      await c.reset();
      return [await c.execute('load', dump), await c.keys(), await c.values()];
    },
    [undefined, ['c', 'b', 'a'], [3, 2, 1]],
  ],
  [
    'execute load empties first',
    async (c) => (await abc(c), await c.execute('load', []), c.keys()),
    [],
  ],
];

/** What a call rejects with: [title, calls, properties of the error]. */
const failures = [
  ...[
    'nothing',
    'constructor',
    '__proto__',
    'toString',
    'hasOwnProperty',
    'lengthCalculator',
    '',
  ].map((name) => [
    `execute(${JSON.stringify(name)}) rejects`,
    (c) => c.execute(name),
    {
      name: 'Error',
      message: `LRUCache.${name}() is not a valid function`,
      code: 'ERR_UNKNOWN_COMMAND',
    },
  ]),
  [
    'an object as a key',
    (c) => c.get({}),
    { name: 'TypeError', message: /key must be .* an object/ },
  ],
  [
    'an array as a key',
    (c) => c.set([1], 1),
    { name: 'TypeError', message: /key must be .* an object/ },
  ],
  [
    'an object among the keys of mGet',
    (c) => c.mGet(['a', {}]),
    { name: 'TypeError', message: /an object/ },
  ],
  [
    'an object among the keys of mDel',
    (c) => c.mDel(['a', {}]),
    { name: 'TypeError', message: /an object/ },
  ],
  [
    'an age that is no number',
    (c) => c.set('k', 1, 'soon'),
    { name: 'TypeError', message: /maxAge must be a number.*soon/ },
  ],
  [
    'an amount that is no number',
    (c) => c.incr('k', 'many'),
    { name: 'TypeError', message: /amount must be a number.*many/ },
  ],
  ['max(-1)', (c) => c.max(-1), { name: 'TypeError', message: /max must be .*-1/ }],
  ['max("x")', (c) => c.max('x'), { name: 'TypeError', message: /max must be .*x/ }],
  ['maxSize(-1)', (c) => c.maxSize(-1), { name: 'TypeError', message: /maxSize must be .*-1/ }],
  ['maxSize("x")', (c) => c.maxSize('x'), { name: 'TypeError', message: /maxSize must be .*x/ }],
  ['maxAge("x")', (c) => c.maxAge('x'), { name: 'TypeError', message: /maxAge must be .*x/ }],
  [
    'load of what is no array',
    (c) => c.execute('load', 'dump'),
    { name: 'TypeError', message: /load.*dump/ },
  ],
];

/**
 * @param {(options: object) => Promise<object>} open gives a cache
 * @param {() => object[]} [clocks] the agents by whose clock its ages count
 * @param {(fn: Function, options: object) => Promise<any>} run calls a function where the calls are made
 */
function callTests(open, clocks, run) {
  describe('results', () => {
    for (const [title, calls, expected, options] of results) {
      it(title, async () => {
        const cache = await open({ ...options, namespace: unique('calls') });
        assert.deepEqual(await calls(cache), expected);
      });
    }

    it("mGet and mSet take '__proto__' as a key like any other", async () => {
      const cache = await open({ namespace: unique('calls') });
      await cache.mSet(JSON.parse('{"__proto__":{"polluted":true}}'));
      const got = await cache.mGet(['__proto__']);
      assert.deepEqual(Object.keys(got), ['__proto__']);
      assert.deepEqual(Object.getOwnPropertyDescriptor(got, '__proto__').value, { polluted: true });
      assert.equal(got.polluted, undefined);
    });
  });

  describe('beyond 1.x', () => {
    const opened = (options) => open({ ...options, namespace: unique('beyond') });
    const options = () => ({ namespace: unique('beyond'), timeout: 10_000 });

    it('setIfAbsent stores where there is no entry, and an expired one is none', async () => {
      const cache = await opened();
      assert.equal(await cache.setIfAbsent('k', { n: 1 }), true);
      assert.equal(await cache.setIfAbsent('k', { n: 2 }), false);
      assert.deepEqual(await cache.get('k'), { n: 1 });
      await cache.set('old', 1, -1);
      assert.equal(await cache.setIfAbsent('old', 2, { ttl: 60_000 }), true);
      assert.equal(await cache.get('old'), 2);
      const left = await cache.getRemainingTTL('old');
      assert.ok(left > 0 && left <= 60_000, String(left));
    });

    it('getAndDelete gives a value once', async () => {
      const cache = await opened();
      await cache.mSet({ a: { n: [1] }, b: 'text', c: 3 });
      assert.deepEqual(await cache.getAndDelete('a'), { n: [1] });
      assert.equal(await cache.getAndDelete('a'), undefined);
      assert.equal(await cache.getAndDelete('b'), 'text');
      assert.deepEqual(await cache.keys(), ['c']);
    });

    it('touch begins an age anew, keeps the value, and makes the entry the most recent', async () => {
      const cache = await opened();
      await cache.mSet({ a: { n: 1 }, b: 2 });
      assert.equal(await cache.touch('a', 60_000), true);
      assert.deepEqual(await cache.keys(), ['a', 'b']);
      assert.deepEqual(await cache.get('a'), { n: 1 });
      const left = await cache.getRemainingTTL('a');
      assert.ok(left > 0 && left <= 60_000, String(left));
      assert.equal(await cache.touch('a', { maxAge: Infinity }), true);
      assert.equal(await cache.getRemainingTTL('a'), Infinity);
      assert.equal(await cache.touch('missing'), false);
      await cache.set('old', 1, -1);
      assert.equal(await cache.touch('old'), false);
    });

    it('getRemainingTTL: Infinity without an age, 0 where there is no entry', async () => {
      const cache = await opened();
      await cache.set('k', 1);
      await cache.set('old', 1, -1);
      assert.equal(await cache.getRemainingTTL('k'), Infinity);
      assert.equal(await cache.getRemainingTTL('old'), 0);
      assert.equal(await cache.getRemainingTTL('missing'), 0);
    });

    it('getMany, hasMany and deleteMany answer in the order of the keys', async () => {
      const cache = await opened();
      await cache.mSet({ a: { n: 1 }, b: 'text' });
      await cache.set('old', 1, -1);
      const keys = ['b', 'missing', 'a', 'old'];
      assert.deepEqual(await cache.getMany(keys), ['text', undefined, { n: 1 }, undefined]);
      await cache.set('old', 1, -1);
      assert.deepEqual(await cache.hasMany(keys), [true, false, true, false]);
      assert.deepEqual(await cache.deleteMany(['b', 'b', 'old']), [true, false, false]);
      assert.deepEqual(await cache.keys(), ['a']);
      assert.deepEqual(await cache.getMany([]), []);
      assert.deepEqual(await cache.execute('hasMany', ['a', 5]), [true, false]);
    });

    it('lists that are none, and unknown options, are a TypeError', async () => {
      const cache = await opened();
      const isTypeError = (message) => ({ name: 'TypeError', message });
      await assert.rejects(cache.getMany('abc'), isTypeError(/getMany needs an iterable/));
      await assert.rejects(cache.hasMany(5), isTypeError(/hasMany needs an iterable/));
      await assert.rejects(cache.setIfAbsent('k', 1, { tll: 5 }), isTypeError(/tll.*ttl/));
      await assert.rejects(cache.touch('k', { maxAge: -1 }), isTypeError(/maxAge/));
      await assert.rejects(cache.touch('k', { maxAge: 1, ttl: 2 }), isTypeError(/two names/));
      await assert.rejects(cache.hit('k', 5, { amuont: 2 }), isTypeError(/amuont.*amount/));
      await assert.rejects(cache.hit('k', 0), isTypeError(/window/));
      await assert.rejects(cache.hit('k', 5, { amount: Infinity }), isTypeError(/amount/));
      assert.equal(await cache.length(), 0);
    });

    it('hit counts in a window that begins with the first hit', async () => {
      const cache = await opened();
      const { resetIn, ...first } = await cache.hit('k', 60_000);
      assert.deepEqual(first, { count: 1, first: true });
      assert.ok(resetIn > 59_000 && resetIn <= 60_000, String(resetIn));
      const second = await cache.hit('k', 5, { amount: 2 });
      assert.deepEqual([second.count, second.first], [3, false]);
      assert.ok(second.resetIn > 5, 'the window goes on');
      assert.equal(await cache.get('k'), 3);
      assert.deepEqual(await cache.hit('long', Infinity), {
        count: 1,
        resetIn: Infinity,
        first: true,
      });
      await cache.set('plain', 7);
      assert.equal((await cache.hit('plain', 1000)).count, 1, 'an entry without an age is absent');
    });

    it('hit with ifPresent begins no window and does not go below 0', async () => {
      const cache = await opened();
      const none = { count: 0, resetIn: 0, first: false };
      assert.deepEqual(await cache.hit('k', 60_000, { ifPresent: true }), none);
      assert.equal(await cache.has('k'), false);
      await cache.hit('k', 60_000);
      const { count } = await cache.hit('k', 60_000, { amount: -5, ifPresent: true });
      assert.equal(count, 0);
    });

    it('an age in options: 0 is that of the cache, Infinity never', async () => {
      const cache = await opened({ maxAge: 60_000 });
      const left = async (key) => Math.ceil((await cache.getRemainingTTL(key)) / 10_000);
      await cache.set('a', 1, { maxAge: 20_000 });
      await cache.set('b', 1, { ttl: Infinity });
      await cache.set('c', { n: 1 }, { ttl: 0 });
      await cache.mSet(
        [
          ['d', 1],
          ['e', 1, { ttl: 0 }],
          ['f', 1, { ttl: 30_000 }],
        ],
        {
          maxAge: 40_000,
        },
      );
      await cache.incr('g', 1, { ttl: 20_000 });
      const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
      const ages = await Promise.all(keys.map(left));
      assert.deepEqual(ages, [2, Infinity, 6, 4, 6, 3, 2]);
      const isTypeError = (message) => ({ name: 'TypeError', message });
      for (const call of [
        (options) => cache.set('x', 1, options),
        (options) => cache.incr('x', 1, options),
        (options) => cache.decr('x', 1, options),
        (options) => cache.mSet({ x: 1 }, options),
        (options) => cache.mSet([['x', 1, options]]),
        (options) => cache.setMany([['x', 1]], options),
        (options) => cache.compareAndSet('x', 0, 1, options),
        (options) => cache.touch('a', options),
      ]) {
        const run = async (options) => call(options);
        await assert.rejects(run({ maxAge: -1 }), isTypeError(/maxAge must be.*-1/));
        await assert.rejects(run({ ttl: NaN }), isTypeError(/maxAge must be.*NaN/));
        await assert.rejects(run({ tll: 1 }), isTypeError(/no option tll.*ttl/));
        await assert.rejects(run({ noUpdateTTL: 1 }), isTypeError(/noUpdateTTL/));
      }
      assert.equal(await cache.has('x'), false);
    });

    it('a write with noUpdateTTL leaves a running age alone', async () => {
      const cache = await opened();
      const options = { ttl: 90_000, noUpdateTTL: true };
      const writes = {
        set: () => cache.set('set', { n: 2 }, options),
        mSet: () => cache.mSet({ mSet: { n: 2 } }, options),
        setMany: () => cache.setMany([['setMany', { n: 2 }, { noUpdateTTL: true }]], 90_000),
        incr: () => cache.incr('incr', 1, { noUpdateTTL: true }),
        decr: () => cache.decr('decr', -1, { noUpdateTTL: true }),
        touch: () => cache.touch('touch', options),
      };
      for (const [key, write] of Object.entries(writes)) {
        await cache.set(key, 1, 30_000);
        await write();
        assert.ok((await cache.getRemainingTTL(key)) <= 30_000, key);
        assert.deepEqual(await cache.keys().then(([first]) => first), key);
      }
      assert.deepEqual(await cache.getMany(Object.keys(writes)), [
        ...Array(3).fill({ n: 2 }),
        2,
        2,
        1,
      ]);
      await cache.set('old', 1, -1);
      await cache.set('old', 2, options);
      assert.ok((await cache.getRemainingTTL('old')) > 30_000, 'an expired entry has no age');
    });

    it('setMany stores any iterable of entries, and says of each whether it was stored', async () => {
      const cache = await opened({ maxEntrySize: 2000 });
      const object = { n: [1] };
      const entries = new Map([
        ['a', object],
        ['b', 'text'],
        ['c', 'x'.repeat(3000)],
        [5, undefined],
      ]);
      assert.deepEqual(await cache.setMany(entries, 60_000), [true, true, false, true]);
      assert.deepEqual(await cache.getMany([...entries.keys()]), [
        object,
        'text',
        undefined,
        undefined,
      ]);
      assert.equal(await cache.has(5), true);
      assert.ok((await cache.getRemainingTTL('a')) <= 60_000);
      assert.deepEqual(await cache.execute('setMany', [['d', 1]]), [true]);
      const own = [
        ['e', 1],
        ['f', { n: 2 }, { ttl: Infinity }],
      ];
      assert.deepEqual(await cache.setMany(own, { ttl: 60_000 }), [true, true]);
      assert.equal(await cache.getRemainingTTL('f'), Infinity);
      assert.deepEqual(await cache.setMany([]), []);
      for (const wrong of ['ab', 5, null, { a: 1 }, ['ab'], [5]]) {
        await assert.rejects(cache.setMany(wrong), { name: 'TypeError', message: /setMany needs/ });
      }
    });

    it('getEntry gives value, version and times', async () => {
      const cache = await opened();
      const before = Date.now();
      await cache.mSet({ a: { n: 1 }, b: 2 });
      await cache.set('c', 'text', 60_000);
      const { version, ...a } = await cache.getEntry('a');
      assert.deepEqual(a, { value: { n: 1 }, setAt: 0, expires: Infinity, tags: [] });
      const c = await cache.getEntry('c');
      assert.ok(c.setAt >= before && c.setAt <= Date.now(), String(c.setAt));
      assert.equal(c.expires, c.setAt + 60_000);
      assert.notEqual(version, c.version);
      assert.deepEqual(await cache.keys(), ['c', 'a', 'b'], 'as get');
      assert.equal(await cache.getEntry('missing'), undefined);
      await cache.set('old', 1, -1);
      assert.equal(await cache.getEntry('old'), undefined);
    });

    it('each call that stores an entry takes tags, and invalidateTags ends what has one', async () => {
      const cache = await opened();
      const tags = ['a tag', 'ä😀'];
      const writes = {
        set: () => cache.set('set', { n: 1 }, { tags }),
        text: () => cache.set('text', 'x'.repeat(300), { ttl: 60_000, tags }),
        setIfAbsent: () => cache.setIfAbsent('setIfAbsent', 1, { tags }),
        compareAndSet: () => cache.compareAndSet('compareAndSet', 0, [1], { tags }),
        mSet: () => cache.mSet([['mSet', 1]], { tags }),
        own: () => cache.mSet([['own', 1, { tags }]], { tags: 'other' }),
        setMany: () => cache.setMany([['setMany', 1]], { tags }),
        incr: () => cache.incr('incr', 2, { tags }),
        decr: () => cache.decr('decr', 2, { maxAge: 60_000, noUpdateTTL: true, tags }),
        setObject: () => cache.setObject('setObject', { n: 1 }, { tags }),
        execute: () => cache.execute('set', 'execute', 1, { tags }),
      };
      for (const [key, write] of Object.entries(writes)) {
        await write();
        assert.deepEqual((await cache.getEntry(key)).tags, tags, key);
      }
      await cache.mSet([
        ['plain', 1],
        ['mixed', 1, { tags: [] }],
        ['common', 1, 60_000],
      ]);
      await cache.setMany(
        [
          ['b', 1, { tags: 'b' }],
          ['both', 2],
        ],
        { tags: ['c', 'c'] },
      );
      assert.deepEqual((await cache.getEntry('b')).tags, ['b']);
      assert.deepEqual((await cache.getEntry('both')).tags, ['c']);
      assert.equal(await cache.invalidateTags('unknown'), undefined);
      assert.equal(await cache.length(), Object.keys(writes).length + 5);
      assert.equal(await cache.invalidateTags(['unknown', 'ä😀']), undefined);
      for (const key of Object.keys(writes)) {
        assert.equal(await cache.get(key), undefined, key);
        assert.equal(await cache.has(key), false, key);
      }
      assert.deepEqual(
        new Set(await cache.keys()),
        new Set(['plain', 'mixed', 'common', 'b', 'both']),
      );
      assert.equal(await cache.execute('invalidateTags', new Set(['b', 'c'])), undefined);
      assert.deepEqual(await cache.mGet(['plain', 'b', 'both']), { plain: 1 });
      assert.equal(await cache.invalidateTags([]), undefined);
    });

    it('an entry with a tag that was invalidated counts as none, in every call', async () => {
      const cache = await opened({ stale: true });
      const fill = async () => {
        await cache.set('k', 5, { tags: 't', ttl: 60_000 });
        await cache.invalidateTags('t');
      };
      const looks = [
        [() => cache.get('k'), undefined],
        [() => cache.peek('k'), undefined],
        [() => cache.has('k'), false],
        [() => cache.getEntry('k'), undefined],
        [() => cache.mGet(['k']), {}],
        [() => cache.getMany(['k']), [undefined]],
        [() => cache.hasMany(['k']), [false]],
        [() => cache.deleteMany(['k']), [false]],
        [() => cache.getAndDelete('k'), undefined],
        [() => cache.getRemainingTTL('k'), 0],
        [() => cache.touch('k'), false],
        [() => cache.compareAndDelete('k', 0), true],
        [() => cache.incr('k', 1), 1],
        [() => cache.hit('k', 1000, { ifPresent: true }), { count: 0, resetIn: 0, first: false }],
        [() => cache.setIfAbsent('k', 1), true],
        [() => cache.keys(), []],
        [() => cache.values(), []],
        [() => cache.dump(), []],
        [() => cache.execute('pop'), null],
      ];
      for (const [look, expected] of looks) {
        await fill();
        assert.deepEqual(await look(), expected, String(look));
        await cache.del('k');
      }
    });

    it('a write replaces the tags, touch keeps them, and what is stored later is there', async () => {
      const cache = await opened();
      await cache.set('k', 1, { tags: ['a', 'b'] });
      await cache.touch('k', 60_000);
      assert.deepEqual((await cache.getEntry('k')).tags, ['a', 'b']);
      await cache.set('k', 2, { tags: 'c', noUpdateTTL: true });
      assert.deepEqual((await cache.getEntry('k')).tags, ['c']);
      assert.ok((await cache.getRemainingTTL('k')) <= 60_000);
      await cache.invalidateTags(['a', 'b']);
      assert.equal(await cache.get('k'), 2);
      await cache.incr('k');
      assert.deepEqual((await cache.getEntry('k')).tags, []);
      await cache.invalidateTags('c');
      assert.equal(await cache.get('k'), 3);
      await cache.set('k', 4, { tags: 'c' });
      assert.equal(await cache.get('k'), 4);
      await cache.invalidateTags('c');
      assert.equal(await cache.touch('k'), false);
      assert.equal(await cache.get('k'), undefined, 'a touch brings nothing back');
    });

    it('what are no tags is named in a TypeError', async () => {
      const cache = await opened();
      const isTypeError = (message) => ({ name: 'TypeError', message });
      const many = Array.from({ length: 129 }, (_, at) => String(at));
      const wrong = [
        [5, /tags.*5/],
        [['a', 1], /a tag must be a string, got 1/],
        [{}, /tags/],
        [many, /at most 128 tags are possible, got 129/],
        ['x'.repeat(1025), /a tag must have at most 1024 characters, got one of 1025/],
      ];
      for (const [tags, message] of wrong) {
        await assert.rejects(cache.invalidateTags(tags), isTypeError(message));
        await assert.rejects(cache.set('k', 1, { tags }), isTypeError(message));
        await assert.rejects(cache.setMany([['k', 1, { tags }]]), isTypeError(message));
        await assert.rejects(cache.incr('k', 1, { tags }), isTypeError(message));
      }
      await assert.rejects(cache.invalidateTags(), isTypeError(/tags/));
      await assert.rejects(
        cache.touch('k', { tags: 'a' }),
        isTypeError(/touch has no option tags/),
      );
      assert.equal(await cache.length(), 0);
      await cache.set('k', 1, { tags: [...many.slice(1), '1'] });
      await cache.set('long', 1, { tags: '😀'.repeat(512) });
      assert.equal((await cache.getEntry('k')).tags.length, 128);
      await cache.invalidateTags([many[128], '😀'.repeat(512)]);
      assert.deepEqual(await cache.keys(), []);
    });

    it('update takes tags', async () => {
      const tagged = await run(async ({ Cache: Class }, given) => {
        const cache = await Class.getInstance(given);
        await cache.update('k', () => ({ n: 1 }), { tags: 'a' });
        const { tags } = await cache.getEntry('k');
        await cache.invalidateTags('a');
        const after = await cache.update('k', (value) => (value === undefined ? 'new' : 'old'));
        return [tags, after];
      }, options());
      assert.deepEqual(tagged, [['a'], 'new']);
    });

    it('a version is given once', async () => {
      const cache = await opened();
      const versions = [];
      const note = async () => versions.push((await cache.getEntry('k')).version);
      const changes = [
        () => cache.set('k', 1),
        () => cache.set('k', 1),
        () => cache.touch('k'),
        () => cache.incr('k'),
        () => cache.hit('k', 1000),
        async () => (await cache.del('k'), cache.set('k', 1)),
        async () => (await cache.reset(), cache.set('k', 1)),
        () => cache.execute('load', [{ k: 'k', v: 1, e: 0 }]),
      ];
      for (const change of changes) {
        await change();
        await note();
        await note();
      }
      assert.equal(new Set(versions).size, changes.length);
      assert.ok(!versions.includes(0));
    });

    it('compareAndSet and compareAndDelete change the entry of that version alone', async () => {
      const cache = await opened();
      assert.equal(await cache.compareAndSet('k', 0, { n: 1 }, { ttl: 60_000 }), true);
      assert.equal(await cache.compareAndSet('k', 0, { n: 2 }), false);
      const first = await cache.getEntry('k');
      assert.deepEqual(first.value, { n: 1 });
      assert.equal(await cache.compareAndSet('k', first.version, { n: 2 }), true);
      assert.equal(await cache.compareAndSet('k', first.version, { n: 3 }), false);
      assert.equal(await cache.compareAndDelete('k', first.version), false);
      assert.deepEqual(await cache.get('k'), { n: 2 });
      const { version } = await cache.getEntry('k');
      assert.equal(await cache.compareAndDelete('k', version), true);
      assert.equal(await cache.compareAndDelete('k', version), false);
      assert.equal(await cache.compareAndDelete('k', 0), true, 'there is none');
      await cache.set('old', 1, -1);
      assert.equal(await cache.compareAndSet('old', 0, 2), true, 'an expired entry is none');
      assert.equal(await cache.execute('compareAndSet', 'old', 0, 3), false);
      const wrong = { name: 'TypeError', message: /version/ };
      await assert.rejects(cache.compareAndSet('k', undefined, 1), wrong);
      await assert.rejects(cache.compareAndDelete('k', 'x'), wrong);
    });

    it('update begins anew where another change came between', async () => {
      const got = await run(async ({ Cache }, options) => {
        const cache = await Cache.getInstance(options);
        const updates = Array.from({ length: 20 }, () =>
          cache.update('k', async (list = []) => [...list, list.length]),
        );
        await Promise.all(updates);
        const left = await cache.update('k', () => undefined);
        const none = await cache.update('none', () => undefined);
        const wrong = [
          cache.update('k', () => {
            throw new RangeError('mine');
          }),
          cache.update('k', 5),
        ];
        const errors = (await Promise.allSettled(wrong)).map(({ reason }) => reason.name);
        let times = 0;
        const always = async () => {
          times += 1;
          await cache.set('k', -times);
          return times;
        };
        const conflict = await cache.update('k', always).catch(({ code }) => code);
        return { left, none, keys: await cache.keys(), errors, times, conflict };
      }, options());
      assert.deepEqual(got, {
        left: Array.from({ length: 20 }, (_, index) => index),
        none: undefined,
        keys: ['k'],
        errors: ['RangeError', 'TypeError'],
        times: 1000,
        conflict: 'ERR_CONFLICT',
      });
    });

    it('update gives undefined, and leaves no entry, where the new value can never fit', async () => {
      const got = await run(
        async ({ Cache }, options) => {
          const cache = await Cache.getInstance(options);
          await cache.set('k', 'small');
          let times = 0;
          const grow = (text) => {
            times += 1;
            return text.repeat(1000);
          };
          const large = 'x'.repeat(3000);
          return {
            updated: await cache.update('k', grow),
            times,
            has: await cache.has('k'),
            compared: await cache.compareAndSet('k', 0, large),
          };
        },
        { ...options(), maxEntrySize: 2000 },
      );
      assert.deepEqual(got, { updated: undefined, times: 1, has: false, compared: false });
    });

    it('lists of keys and entries may come from generators', async () => {
      const got = await run(async ({ Cache }, options) => {
        const cache = await Cache.getInstance(options);
        const entries = function* entries() {
          yield ['a', 1];
          yield ['b', { n: 2 }];
        };
        const keys = () => new Set(['b', 'a', 'c']).values();
        return [
          await cache.setMany(entries()),
          await cache.execute('setMany', entries()),
          await cache.getMany(keys()),
          await cache.execute('getMany', keys()),
          await cache.hasMany(keys()),
          await cache.deleteMany(keys()),
        ];
      }, options());
      const values = [{ n: 2 }, 1, undefined];
      const there = [true, true, false];
      assert.deepEqual(got, [[true, true], [true, true], values, values, there, there]);
    });

    it('hit above a limit changes the window in the same step', async () => {
      const cache = await opened();
      const hits = async (key, options, count) => {
        const left = [];
        for (let n = 0; n < count; n += 1) {
          const { resetIn } = await cache.hit(key, n === 0 ? 40_000 : 60_000, options);
          left.push(Math.ceil(resetIn / 20_000));
        }
        return left;
      };
      assert.deepEqual(await hits('restart', { limit: 2, whenOver: 'restart' }, 4), [2, 2, 3, 3]);
      assert.deepEqual(await hits('double', { limit: 1, whenOver: 'double' }, 4), [2, 3, 6, 12]);
      assert.deepEqual(await hits('time', { limit: 1, whenOver: 200_000 }, 3), [2, 10, 10]);
      assert.deepEqual(await hits('none', { limit: 1 }, 3), [2, 2, 2]);
      assert.deepEqual(await cache.hit('endless', Infinity, { limit: 0, whenOver: 'double' }), {
        count: 1,
        resetIn: Infinity,
        first: true,
      });
      for (const options of [
        { limit: 1, whenOver: 'treble' },
        { limit: 1, whenOver: 0 },
        { limit: 'x', whenOver: 'double' },
        { whenOver: 'double' },
      ]) {
        await assert.rejects(async () => cache.hit('wrong', 1000, options), { name: 'TypeError' });
      }
      assert.equal(await cache.has('wrong'), false);
    });

    it('calls of an instance that was closed reject, and the namespace stays', async () => {
      const got = await run(async ({ Cache }, options) => {
        const cache = await Cache.getInstance(options);
        await cache.set('k', { n: 1 });
        await cache.get('k');
        const closed = [await cache.close(), await cache.close(), await cache.ready];
        if (Symbol.asyncDispose) await cache[Symbol.asyncDispose]();
        const calls = [
          cache.get('k'),
          cache.has('k'),
          cache.mGet(['k']),
          cache.getObject('k'),
          cache.set('k', 2),
          cache.healthCheck(),
          cache.execute('get', 'k'),
        ];
        const codes = (await Promise.allSettled(calls)).map(({ reason }) => reason?.code);
        const other = await Cache.getInstance(options);
        return { closed, codes, value: await other.get('k') };
      }, options());
      assert.deepEqual(got, {
        closed: [undefined, undefined, undefined],
        codes: Array(7).fill('ERR_CLOSED'),
        value: { n: 1 },
      });
    });

    it('healthCheck gives true', async () => {
      const cache = await opened();
      if (cache.healthCheck) assert.equal(await cache.healthCheck(), true);
    });
  });

  describe('errors', () => {
    for (const [title, calls, expected] of failures) {
      it(title, async () => {
        const cache = await open({ namespace: unique('calls') });
        await cache.mSet({ a: 1 });
        await assert.rejects(async () => calls(cache), expected);
        assert.deepEqual(await cache.keys(), ['a'], 'nothing was changed');
      });
    }
  });

  describe('ages', () => {
    const clock = fakeClock(clocks);

    it('an entry expires when more than its age has passed', async () => {
      const cache = await open({ namespace: unique('calls'), maxAge: 100 });
      await cache.set('k', 'v');
      await clock.tick(100);
      assert.equal(await cache.get('k'), 'v');
      await clock.tick(1);
      assert.equal(await cache.get('k'), undefined);
    });

    it("an entry's own age comes before the cache's", async () => {
      const cache = await open({ namespace: unique('calls'), maxAge: 100 });
      await cache.set('short', 1, 50);
      await cache.set('long', 2, 200);
      await clock.tick(51);
      assert.deepEqual(await cache.mGet(['short', 'long']), { long: 2 });
      await clock.tick(149);
      assert.equal(await cache.get('long'), 2);
      await clock.tick(1);
      assert.equal(await cache.get('long'), undefined);
    });

    it('get leaves the age alone, set starts it anew', async () => {
      const cache = await open({ namespace: unique('calls'), maxAge: 100 });
      await cache.mSet({ got: 1, set: 1 });
      await clock.tick(60);
      await cache.get('got');
      await cache.set('set', 2);
      await clock.tick(60);
      assert.deepEqual(await cache.mGet(['got', 'set']), { set: 2 });
    });

    it('dump says when an entry expires', async () => {
      const cache = await open({ namespace: unique('calls') });
      await cache.set('k', 'v', 100);
      const expires = clock.now + 100;
      await clock.tick(60);
      assert.deepEqual(await cache.dump(), [{ k: 'k', v: 'v', e: expires }]);
    });

    it('load restores the age that remains and skips what has expired', async () => {
      const cache = await open({ namespace: unique('calls') });
      await cache.set('short', 1, 50);
      await cache.set('long', 2, 100);
      const dump = await cache.dump();
      await clock.tick(60);
      await cache.execute('load', dump);
      assert.deepEqual(await cache.keys(), ['long']);
      await clock.tick(41);
      assert.equal(await cache.has('long'), false);
    });

    it("incr starts the age anew with the cache's", async () => {
      const cache = await open({ namespace: unique('calls'), maxAge: 100 });
      await cache.incr('n');
      await clock.tick(60);
      await cache.incr('n');
      await clock.tick(60);
      assert.equal(await cache.incr('n'), 3);
      await clock.tick(101);
      assert.equal(await cache.incr('n'), 1);
    });

    it('incr with an age leaves the window of the counter running', async () => {
      const cache = await open({ namespace: unique('calls') });
      await cache.incr('n', 1, 100);
      await clock.tick(60);
      assert.equal(await cache.incr('n', 1, 100), 2);
      await clock.tick(40);
      assert.equal(await cache.decr('n', 5, 100), -3);
      await clock.tick(1);
      assert.equal(await cache.incr('n', 1, 100), 1);
    });

    it("an entry that was set without an age takes on the cache's of now, from the beginning of time", async () => {
      const cache = await open({ namespace: unique('calls') });
      await cache.set('k', 'v');
      await cache.maxAge(100);
      assert.equal(await cache.has('k'), false);
      await cache.maxAge(0);
      assert.equal(await cache.has('k'), true);
    });

    it('pop gives an expired entry too', async () => {
      const cache = await open({ namespace: unique('calls'), maxAge: 100 });
      await cache.set('k', 'v');
      const now = clock.now;
      await clock.tick(101);
      assert.deepEqual(await cache.execute('pop'), {
        key: 'k',
        value: 'v',
        length: 1,
        now,
        maxAge: 100,
      });
    });
  });

  describe('keys', () => {
    const keys = [
      '',
      'text',
      'ä€😀',
      '\ud800',
      'x\udc00y',
      '\0\n"\\',
      '__proto__',
      'constructor',
      'x'.repeat(10_000),
    ]
      .concat([0, 1, -1.5, 1e21, 5e-324, Number.MAX_VALUE, NaN, Infinity, -Infinity])
      .concat([true, false, null, 0n, -5n, 2n ** 64n, -(10n ** 40n)]);

    it('come back from keys() as they came', async () => {
      const cache = await open({ namespace: unique('calls') });
      for (const key of keys) await cache.set(key, 1);
      assert.deepEqual(await cache.keys(), [...keys].reverse());
      assert.deepEqual(new Set((await cache.dump()).map((entry) => entry.k)), new Set(keys));
    });

    it('find each its own value', async () => {
      const cache = await open({ namespace: unique('calls') });
      for (const [index, key] of keys.entries()) await cache.set(key, index);
      for (const [index, key] of keys.entries()) {
        assert.equal(await cache.get(key), index, String(key).slice(0, 20));
        assert.equal(await cache.has(key), true);
      }
    });

    it('are told apart by type', async () => {
      const cache = await open({ namespace: unique('calls') });
      const alike = [1, '1', 1n, true, 'true', null, 'null', 'undefined', ''];
      for (const [index, key] of alike.entries()) await cache.set(key, index);
      assert.equal(await cache.length(), alike.length);
      for (const [index, key] of alike.entries()) assert.equal(await cache.peek(key), index);
    });

    it('-0 is 0, and NaN is NaN', async () => {
      const cache = await open({ namespace: unique('calls') });
      await cache.set(-0, 'zero');
      await cache.set(NaN, 'nan');
      assert.deepEqual([await cache.get(0), await cache.get(NaN)], ['zero', 'nan']);
      assert.ok(Object.is((await cache.keys())[1], 0));
    });

    it('are removed by their own type', async () => {
      const cache = await open({ namespace: unique('calls') });
      for (const key of keys) await cache.set(key, 1);
      await cache.mDel(keys);
      assert.deepEqual(await cache.keys(), []);
    });
  });

  describe('values', () => {
    const values = [null, undefined, true, false, 0, -0, 1.5, -1e300, NaN, Infinity, -Infinity, '']
      .concat(['text', 'ä€😀\ud800', '\0\u001f"\\\u2028', '{"a":1}', 'x'.repeat(100_000)])
      .concat([[], {}, [1, [2]], { a: { b: [null, false, ''] } }].map((value) => [value]).flat());

    for (const value of values) {
      const shown = Object.is(value, -0) ? '-0' : String(JSON.stringify(value) ?? value);
      it(`${shown.slice(0, 30)} comes back`, async () => {
        const cache = await open({ namespace: unique('calls') });
        await cache.set('k', value);
        assert.deepEqual(await cache.get('k'), value);
        assert.deepEqual(await cache.peek('k'), value);
        assert.deepEqual(await cache.mGet(['k']), { k: value });
        assert.deepEqual(await cache.values(), [value]);
        assert.deepEqual(await cache.dump(), [{ k: 'k', v: value, e: 0 }]);
      });
    }
  });
}

/** In this process: whatever the cache lies in. */
function localTests(open) {
  callTests(open, undefined, async (fn, options) => {
    await open(options);
    return fn({ Cache }, options);
  });

  it('undefined and null are two keys', async () => {
    const cache = await open({ namespace: unique('calls') });
    await cache.set(undefined, 'undefined');
    await cache.set(null, 'null');
    assert.deepEqual(await cache.keys(), [null, undefined]);
    assert.equal(await cache.get(undefined), 'undefined');
  });

  for (const [title, key] of [
    ['a symbol', Symbol('key')],
    ['a function', () => {}],
  ]) {
    it(`${title} as a key is a TypeError`, async () => {
      const cache = await open({ namespace: unique('calls') });
      await assert.rejects(cache.set(key, 1), { name: 'TypeError', message: new RegExp(title) });
      assert.equal(await cache.length(), 0);
    });
  }
}

describe('calls in a process without workers', () => {
  localTests((options) => Cache.getInstance(options));
});

describeShared('calls in a primary, in the memory that a worker has attached', () => {
  const { worker: start } = processes();
  let worker;
  before(async () => {
    worker = await start({ transport: 'shared-memory' });
  });

  localTests(async (options) => {
    const cache = await Cache.getInstance(options);
    await worker.open({ namespace: options.namespace, timeout: 10_000 });
    return cache;
  });
});

for (const transport of TRANSPORTS) {
  describe(`calls from a worker, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let worker;
    before(async () => {
      worker = await start({ transport });
    });

    callTests(
      (options) => worker.open({ timeout: 10_000, failsafe: 'reject', ...options }),
      // By messages the primary's clock counts, whatever that of the worker says.
      () => (transport === 'shared-memory' ? [worker] : []),
      (fn, options) => worker.run(fn, options),
    );

    it('undefined and null are one key', async () => {
      const cache = await worker.open({ namespace: unique('calls'), timeout: 10_000 });
      await cache.set(undefined, 'undefined');
      await cache.set(null, 'null');
      assert.deepEqual(await cache.keys(), [null]);
      assert.equal(await cache.get(undefined), 'null');
    });

    it('a symbol or a function as a key is a TypeError', async () => {
      const options = { namespace: unique('calls'), timeout: 10_000 };
      const errors = await worker.run(async ({ Cache }, given) => {
        const cache = await Cache.getInstance(given);
        const calls = [cache.set(Symbol('key'), 1), cache.get(() => {})];
        return (await Promise.allSettled(calls)).map(
          ({ reason }) => `${reason.name}: ${reason.message}`,
        );
      }, options);
      assert.match(errors[0], /^TypeError: .*a symbol/);
      assert.match(errors[1], /^TypeError: .*a function/);
    });

    it('mSet sets own enumerable string keys only', async () => {
      const keys = await worker.run(
        async ({ Cache }, options) => {
          const cache = await Cache.getInstance(options);
          const pairs = Object.create({ inherited: 1 });
          Object.defineProperty(pairs, 'hidden', { value: 1 });
          await cache.mSet(Object.assign(pairs, { own: 1, [Symbol('symbol')]: 1 }));
          return cache.keys();
        },
        { namespace: unique('calls'), timeout: 10_000 },
      );
      assert.deepEqual(keys, ['own']);
    });

    it('forEach and rforEach cannot be sent: a TypeError', async () => {
      const cache = await worker.open({ namespace: unique('calls'), timeout: 10_000 });
      for (const name of ['forEach', 'rforEach']) {
        await assert.rejects(cache.execute(name), { name: 'TypeError', message: new RegExp(name) });
      }
    });

    it('getAllCaches and getCache throw the error of 1.x, with a code', async () => {
      const message =
        'LRUCacheForClustersAsPromised.getAllCaches() should only be called from the master thread.';
      const options = { namespace: unique('calls') };
      await assert.rejects(
        worker.run(({ Cache }) => Cache.getAllCaches()),
        { message, code: 'ERR_NOT_PRIMARY' },
      );
      await assert.rejects(
        worker.run(({ Cache }, given) => new Cache(given).getCache(), options),
        { message, code: 'ERR_NOT_PRIMARY' },
      );
    });

    it('every get gives an object of its own', async () => {
      const got = await worker.run(
        async ({ Cache }, options) => {
          const cache = await Cache.getInstance(options);
          await cache.set('k', { list: [1] });
          (await cache.get('k')).list.push(2);
          return cache.get('k');
        },
        { namespace: unique('calls'), timeout: 10_000 },
      );
      assert.deepEqual(got, { list: [1] });
    });
  });
}
