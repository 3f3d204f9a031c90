'use strict';

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, processes, unique } = require('./helpers');

/** What structured clone carries and JSON does not. */
function values() {
  const circular = { name: 'circular' };
  circular.self = circular;
  const shared = { n: 1 };
  return {
    date: new Date(5),
    map: new Map([[{ k: 1 }, new Set(['v'])]]),
    set: new Set([1, 'a', undefined]),
    bigint: -(2n ** 70n),
    regexp: /x+/gi,
    error: new RangeError('text'),
    buffer: Buffer.from('bytes'),
    bytes: new Uint8Array([1, 2, 255]),
    floats: new Float64Array([NaN, -0, Infinity]),
    view: new DataView(new Uint8Array([1, 2]).buffer),
    memory: new Uint8Array([9, 8]).buffer,
    undefined: { a: undefined, list: [undefined, NaN, -0] },
    boxed: Object(5),
    sparse: [, 1], // eslint-disable-line no-sparse-arrays
    circular,
    twice: [shared, shared],
    text: 'plain',
    number: 5,
    none: null,
  };
}

/** Ways to ask for structured clone: [title, options of the worker, options of the cache]. */
const ways = [
  ['cluster.setupPrimary says advanced', { serialization: 'advanced' }, {}],
  ['an option says advanced on a channel of JSON', {}, { serialization: 'advanced' }],
  ['both say advanced', { serialization: 'advanced' }, { serialization: 'advanced' }],
];

for (const transport of TRANSPORTS)
  for (const [title, workerOptions, cacheOptions] of ways) {
    describe(`serialization: ${title}, transport: ${transport}`, () => {
      const { worker: start } = processes();
      let worker;
      before(async () => {
        worker = await start({ ...workerOptions, transport });
      });
      const open = () =>
        worker.open({
          namespace: unique('clone'),
          timeout: 10_000,
          failsafe: 'reject',
          ...cacheOptions,
        });

      for (const [name, value] of Object.entries(values())) {
        it(`${name} comes back to the worker as it was`, async () => {
          const cache = await open();
          await cache.set('k', value);
          assert.deepEqual(await cache.get('k'), value);
          assert.deepEqual(await cache.peek('k'), value);
          assert.deepEqual(await cache.mGet(['k']), { k: value });
          assert.deepEqual(await cache.values(), [value]);
          assert.deepEqual((await cache.dump())[0].v, value);
          await cache.mSet({ k: value });
          assert.deepEqual((await cache.execute('pop')).value, value);
        });
      }

      it('every kind comes back in one answer', async () => {
        const cache = await open();
        await cache.mSet(values());
        assert.deepEqual(await cache.mGet(Object.keys(values())), values());
        await cache.execute('load', await cache.dump());
        assert.deepEqual(await cache.mGet(Object.keys(values())), values());
      });

      it('the primary reads what the worker set, as an object of its own each time', async () => {
        const namespace = unique('clone');
        const cache = await worker.open({ namespace, timeout: 10_000, ...cacheOptions });
        await cache.mSet(values());
        const primary = new Cache({ namespace });
        for (const [name, value] of Object.entries(values())) {
          assert.deepEqual(await primary.get(name), value);
        }
        const map = await primary.get('map');
        map.clear();
        assert.deepEqual(await primary.get('map'), values().map);
      });

      it('the worker reads what the primary set by reference', async () => {
        const namespace = unique('clone');
        const cache = await worker.open({
          namespace,
          timeout: 10_000,
          failsafe: 'reject',
          ...cacheOptions,
        });
        const primary = new Cache({ namespace });
        await primary.mSet(values());
        assert.deepEqual(await cache.mGet(Object.keys(values())), values());
      });

      it('calls beyond 1.x of the worker find what the primary set by reference', async () => {
        const namespace = unique('clone');
        const options = { timeout: 10_000, failsafe: 'reject', ...cacheOptions };
        const cache = await worker.open({ namespace, ...options });
        const primary = new Cache({ namespace });
        const { map } = values();
        await primary.mSet({ a: map, b: map, c: map, d: map });
        const a = await cache.getEntry('a');
        assert.deepEqual(a.value, map);
        assert.equal((await primary.getEntry('a')).version, a.version);
        assert.equal(await cache.touch('a', 60_000), true);
        assert.equal(await primary.get('a'), map, 'still by reference');
        assert.ok((await cache.getRemainingTTL('a')) <= 60_000);
        assert.equal(await cache.setIfAbsent('a', 1), false);
        assert.equal(await cache.compareAndSet('a', a.version, 1), false);
        const { version } = await cache.getEntry('a');
        assert.equal(await cache.compareAndSet('a', version, map), true);
        assert.deepEqual(await primary.get('a'), map);
        assert.deepEqual(await cache.getMany(['a', 'b', 'none']), [map, map, undefined]);
        assert.deepEqual(await cache.getAndDelete('b'), map);
        assert.deepEqual(await cache.deleteMany(['b', 'c']), [false, true]);
        assert.deepEqual(await cache.setMany([['d', map]]), [true]);
        assert.equal((await cache.hit('d', 1000)).count, 1);
        assert.deepEqual(await primary.keys(), ['d', 'a']);
        const own = await primary.setIfAbsent('e', map);
        assert.deepEqual([own, await primary.get('e')], [true, map]);
        const { version: last } = await primary.getEntry('e');
        const other = { by: 'reference' };
        assert.equal(await primary.compareAndSet('e', last, other), true);
        assert.equal(await primary.get('e'), other);
        assert.equal(await primary.compareAndSet('e', last, map), false);
        assert.equal(await primary.get('e'), other);
        assert.deepEqual(await primary.setMany([['f', map, { ttl: 60_000 }]]), [true]);
        assert.equal(await primary.getAndDelete('f'), map);
      });

      it('a function among the values of the primary is an error for its caller only', async () => {
        const namespace = unique('clone');
        const cache = await worker.open({
          namespace,
          timeout: 10_000,
          failsafe: 'reject',
          ...cacheOptions,
        });
        const primary = new Cache({ namespace });
        await primary.mSet({ bad: () => 1, good: new Date(5) });
        await assert.rejects(cache.get('bad'), /could not be cloned/);
        assert.deepEqual(await cache.get('good'), new Date(5));
      });

      it('a function is refused when it is set', async () => {
        const namespace = unique('clone');
        const failing = worker.run(
          async ({ Cache: Theirs }, options) => {
            const cache = await Theirs.getInstance(options);
            await cache.set('k', { f() {} });
          },
          { namespace, timeout: 10_000, ...cacheOptions },
        );
        await assert.rejects(failing, /could not be cloned/);
        assert.equal(Cache.getAllCaches()[namespace].length, 0);
      });

      it('numbers count all the same', async () => {
        const cache = await open();
        await cache.set('n', 5);
        assert.deepEqual([await cache.incr('n'), await cache.decr('n', 10)], [6, -4]);
      });

      it('setObject keeps to stringify', async () => {
        const cache = await open();
        await cache.setObject('k', { date: new Date(0) });
        assert.equal(await cache.get('k'), '{"date":"1970-01-01T00:00:00.000Z"}');
      });
    });
  }

for (const transport of TRANSPORTS) {
  describe(`serialization json, transport: ${transport}`, () => {
    const { worker: start } = processes();

    for (const [title, workerOptions, cacheOptions] of [
      ['is the default', {}, {}],
      [
        'can be asked for on an advanced channel',
        { serialization: 'advanced' },
        { serialization: 'json' },
      ],
    ]) {
      it(title, async () => {
        const worker = await start({ ...workerOptions, transport });
        const cache = await worker.open({
          namespace: unique('json'),
          timeout: 10_000,
          ...cacheOptions,
        });
        await cache.set('k', { date: new Date(0), map: new Map() });
        assert.deepEqual(await cache.get('k'), { date: '1970-01-01T00:00:00.000Z', map: {} });
      });
    }

    it('and advanced read what the other set', async () => {
      const worker = await start({ transport });
      const options = { namespace: unique('json'), timeout: 10_000, failsafe: 'reject' };
      const json = await worker.open({ ...options, serialization: 'json' });
      const advanced = await worker.open({ ...options, serialization: 'advanced' });
      await json.set('json', { date: new Date(0) });
      await advanced.set('advanced', { date: new Date(0) });
      const text = { date: '1970-01-01T00:00:00.000Z' };
      assert.deepEqual(await advanced.mGet(['json', 'advanced']), {
        json: text,
        advanced: { date: new Date(0) },
      });
      assert.deepEqual(await json.get('json'), text);
      assert.deepEqual(await json.get('advanced'), { date: new Date(0) });
    });

    it('a worker whose first call comes before it can know still sends what its channel carries', async () => {
      const worker = await start({ transport, serialization: 'advanced' });
      const got = await worker.run(async ({ Cache: Theirs }, namespace) => {
        const cache = new Theirs({ namespace, timeout: 10_000 });
        const calls = [cache.set('k', new Map([[1, new Date(5)]])), cache.get('k')];
        return (await Promise.all(calls))[1];
      }, unique('json'));
      assert.deepEqual(got, new Map([[1, new Date(5)]]));
    });
  });
}
