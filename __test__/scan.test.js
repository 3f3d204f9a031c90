'use strict';

// Calls on many entries: deletePrefix, scan, entries, keys with a prefix, iteration. In every transport, beside writers, and with
// cursors that go from process to process.

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, describeShared, processes, unique } = require('./helpers');

const PATIENT = { timeout: 20_000, failsafe: 'reject' };

/** What an error must be. */
const typeError = (message, code) => ({ name: 'TypeError', message, ...(code && { code }) });

/** All keys that a scan gives, and in how many parts. */
async function scanned(cache, options) {
  const keys = [];
  let parts = 0;
  let cursor;
  do {
    const part = await cache.scan({ ...options, cursor });
    keys.push(...part.keys);
    ({ cursor } = part);
    parts += 1;
  } while (cursor !== undefined);
  return { keys, parts };
}

/** @param {(options?: object) => any} open gives a cache, or a Promise of one */
function tests(open) {
  /** A cache with these entries, least recent first. */
  async function filled(...entries) {
    const cache = await open();
    for (const [key, value = 1, maxAge] of entries) await cache.set(key, value, maxAge);
    return cache;
  }

  it('deletePrefix removes the keys that begin with it, and says how many', async () => {
    const cache = await filled(['a:1'], ['a:2'], ['a'], ['b:a:'], [5], ['5'], ['a:old', 1, 1]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(await cache.deletePrefix('a:'), 2, 'an expired entry is none');
    assert.deepEqual(await cache.keys(), ['5', 5, 'b:a:', 'a']);
    assert.equal(await cache.deletePrefix('a:'), 0);
    assert.equal(await cache.deletePrefix('5'), 1);
    assert.deepEqual(await cache.keys(), [5, 'b:a:', 'a']);
  });

  it('deletePrefix needs a string that is not empty', async () => {
    const cache = await filled(['a'], [null]);
    for (const wrong of ['', undefined, null]) {
      await assert.rejects(async () => cache.deletePrefix(wrong), typeError(/not empty/));
    }
    for (const wrong of [5, {}, ['a'], true]) {
      await assert.rejects(async () => cache.deletePrefix(wrong), typeError(/needs a string/));
    }
    assert.equal((await cache.keys()).length, 2);
  });

  it('entries and keys are most recent first, without expired ones', async () => {
    const cache = await filled(
      ['a:1', 'x'],
      ['b', { n: [1] }],
      ['a:2', null],
      [7, 8],
      ['a:old', 1, 1],
    );
    await cache.get('a:1');
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(await cache.entries(), [
      ['a:1', 'x'],
      [7, 8],
      ['a:2', null],
      ['b', { n: [1] }],
    ]);
    assert.deepEqual(await cache.entries({ prefix: 'a:' }), [
      ['a:1', 'x'],
      ['a:2', null],
    ]);
    assert.deepEqual(await cache.keys({ prefix: 'a:' }), ['a:1', 'a:2']);
    assert.deepEqual(await cache.keys({}), ['a:1', 7, 'a:2', 'b']);
    assert.deepEqual(await cache.keys({ prefix: '' }), ['a:1', 'a:2', 'b']);
    assert.deepEqual(await cache.keys({ prefix: undefined }), ['a:1', 7, 'a:2', 'b']);
    assert.deepEqual(await cache.keys({ prefix: 'none' }), []);
    assert.deepEqual(await cache.entries({ prefix: 'none' }), []);
  });

  it('keys without options is that of 1.x: expired entries too, whatever the argument', async () => {
    const cache = await filled(['a'], ['old', 1, 1], [1]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (const args of [[], ['a'], [5], [null], [undefined], [true, 2]]) {
      assert.deepEqual(await cache.keys(...args), [1, 'old', 'a']);
    }
  });

  it('a prefix is that of startsWith, halves of surrogate pairs too', async () => {
    const keys = [
      '',
      'a',
      'aé',
      'a\u{1F600}',
      'a\u{1F601}b',
      'a\u{1F900}',
      'a\uD83D',
      'a\uD83Db',
      '\uDE00',
    ];
    const cache = await filled(...keys.map((key) => [key]));
    for (const prefix of ['', ...keys, 'a\uD83E', 'a\uD800', 'a\uDBFF', '\uD83D', 'a\uDE00']) {
      const wanted = keys.filter((key) => key.startsWith(prefix)).sort();
      assert.deepEqual((await cache.keys({ prefix })).sort(), wanted, JSON.stringify(prefix));
      assert.deepEqual((await scanned(cache, { prefix })).keys.sort(), wanted);
    }
    assert.equal(await cache.deletePrefix('a\uD83D'), 4);
    assert.deepEqual(await cache.keys(), ['\uDE00', 'a\u{1F900}', 'aé', 'a', '']);
  });

  it('scan gives all keys in parts', async () => {
    const numbers = Array.from({ length: 300 }, (_, at) => at);
    const cache = await filled(...numbers.flatMap((at) => [[`a:${at}`], [at]]));
    const texts = numbers.map((at) => `a:${at}`);
    const all = await scanned(cache);
    assert.deepEqual(new Set(all.keys), new Set([...texts, ...numbers]));
    assert.equal(all.keys.length, 600, 'nothing changes meanwhile: each comes once');
    assert.ok(all.parts >= 3 && all.parts <= 7, String(all.parts));
    const some = await scanned(cache, { prefix: 'a:', count: 20 });
    assert.deepEqual(some.keys.sort(), texts.sort());
    assert.ok(some.parts >= 5 && some.parts <= 16, String(some.parts));
    assert.deepEqual((await scanned(cache, { prefix: 'none' })).keys, []);
    const few = await cache.scan({ count: 1 });
    assert.ok(few.keys.length >= 1 && few.keys.length < 20);
    assert.equal(typeof few.cursor, 'string');
  });

  it('scan leaves out expired entries, and an empty cache has none', async () => {
    const cache = await filled(['a'], ['old', 1, 1]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(await cache.scan(), { keys: ['a'], cursor: undefined });
    await cache.reset();
    assert.deepEqual(await cache.scan(), { keys: [], cursor: undefined });
  });

  it('what is no cursor is an error with a code, another storage’s begins anew', async () => {
    const cache = await filled(['a'], ['b']);
    for (const cursor of [
      '',
      'x',
      '0',
      'f'.repeat(39),
      'F'.repeat(40),
      'f'.repeat(41),
      5,
      {},
      true,
    ]) {
      await assert.rejects(
        async () => cache.scan({ cursor }),
        typeError(/cursor must be/, 'ERR_CURSOR'),
        String(cursor),
      );
    }
    const { keys } = await cache.scan({ cursor: 'f'.repeat(40) });
    assert.deepEqual(keys.sort(), ['a', 'b']);
    assert.deepEqual((await cache.scan({ cursor: null, prefix: null })).keys.sort(), ['a', 'b']);
  });

  it('unknown options, and those of a wrong type, are a TypeError', async () => {
    const cache = await filled(['a']);
    for (const [options, message] of [
      [{ prefx: 'a' }, /prefx.*prefix/],
      [{ prefix: 5 }, /prefix.*5/],
      [{ prefix: {} }, /prefix/],
    ]) {
      for (const name of ['scan', 'entries', 'keys']) {
        await assert.rejects(async () => cache[name](options), typeError(message), name);
      }
    }
    for (const count of [0, -1, NaN, 'many']) {
      await assert.rejects(async () => cache.scan({ count }), typeError(/count/));
    }
    await assert.rejects(async () => cache.scan({ cursr: 'a' }), typeError(/cursr.*cursor/));
    await assert.rejects(async () => cache.scan('a'), typeError(/options as an object/));
    await assert.rejects(async () => cache.entries(5), typeError(/options as an object/));
    assert.equal((await cache.scan({ count: 1e9 })).keys.length, 1);
  });

  it('leaves recency and statistics alone', async () => {
    const cache = await filled(['a'], ['b'], ['c']);
    const before = await cache.stats();
    await cache.entries();
    await cache.scan();
    await cache.keys({ prefix: 'a' });
    assert.deepEqual(await cache.keys(), ['c', 'b', 'a']);
    const { hits, misses, deletes } = await cache.stats();
    assert.deepEqual([hits, misses, deletes], [before.hits, before.misses, before.deletes]);
    await cache.deletePrefix('a');
    assert.equal((await cache.stats()).deletes, before.deletes + 1);
  });
}

/** Iteration, and what needs the class itself. @param {(fn: Function, options: object) => Promise<any>} run */
function iterations(run) {
  const options = () => ({ ...PATIENT, namespace: unique('iterate') });

  it('for await reads all entries', async () => {
    const got = await run(async ({ Cache: Class }, given) => {
      const cache = await Class.getInstance(given);
      const wanted = Array.from({ length: 250 }, (_, at) => [`key ${at}`, { at }]);
      await cache.setMany(wanted);
      await cache.set(5, 'five');
      await cache.set('old', 1, -1);
      const found = [];
      for await (const [key, value] of cache) found.push([key, value]);
      const byKey = new Map(found);
      const whole = wanted.every(([key, { at }]) => byKey.get(key)?.at === at);
      const empty = [];
      await cache.reset();
      for await (const entry of cache) empty.push(entry);
      return [found.length, whole, byKey.get(5), empty];
    }, options());
    assert.deepEqual(got, [251, true, 'five', []]);
  });

  it('for await may be left at any entry, beside calls on the same cache', async () => {
    const got = await run(async ({ Cache: Class }, given) => {
      const cache = await Class.getInstance(given);
      for (let at = 0; at < 500; at += 1) await cache.set(`key ${at}`, at);
      let seen = 0;
      for await (const [key] of cache) {
        seen += 1;
        await cache.del(key);
        if (seen === 150) break;
      }
      const left = await cache.length();
      const rest = [];
      for await (const [key, value] of cache) {
        rest.push(value);
        // Values of keys that are still to come change, and new keys come.
        await cache.set(key, -1);
      }
      return [left, rest.filter((value) => value >= 0).length];
    }, options());
    assert.deepEqual(got, [350, 350]);
  });

  it('a failure ends it', async () => {
    const code = await run(async ({ Cache: Class }, given) => {
      const cache = await Class.getInstance(given);
      await cache.set('a', 1);
      await cache.close();
      try {
        for await (const entry of cache) return entry;
      } catch (error) {
        return error.code;
      }
      return undefined;
    }, options());
    assert.equal(code, 'ERR_CLOSED');
  });
}

const here = (fn, options) => fn({ Cache }, options);

describe('many entries, in a process without workers', () => {
  tests(() => Cache.getInstance({ ...PATIENT, namespace: unique('scan') }));
  iterations(here);

  it('entries and iteration give objects that are kept by reference themselves', async () => {
    const cache = new Cache({ namespace: unique('scan') });
    const object = { own: () => 1 };
    await cache.set('k', object);
    assert.equal((await cache.entries())[0][1], object);
    for await (const [, value] of cache) assert.equal(value, object);
  });
});

describe('many entries, on the synchronous class', () => {
  tests(() => new Cache.LRUCache());

  it('calls give what they give, without a Promise', () => {
    const cache = new Cache.LRUCache();
    cache.set('a:1', 1);
    cache.set('b', 2);
    assert.deepEqual(cache.entries(), [
      ['b', 2],
      ['a:1', 1],
    ]);
    assert.deepEqual(cache.scan({ prefix: 'b' }), { keys: ['b'], cursor: undefined });
    assert.equal(cache.deletePrefix('a'), 1);
  });
});

describe('many entries, by execute', () => {
  tests(async () => {
    const cache = await Cache.getInstance({ ...PATIENT, namespace: unique('scan') });
    return new Proxy(
      {},
      { get: (_, name) => name !== 'then' && ((...args) => cache.execute(name, ...args)) },
    );
  });
});

describeShared('many entries, in a primary, in the memory that a worker has attached', () => {
  const { worker: start } = processes();
  let worker;
  before(async () => {
    worker = await start({ transport: 'shared-memory' });
  });

  tests(async () => {
    const options = { ...PATIENT, namespace: unique('scan') };
    const cache = await Cache.getInstance(options);
    await worker.open(options);
    return cache;
  });
  iterations(here);

  it('a scan that began on the heap leaves nothing out where the cache moves to shared memory', async () => {
    const options = { ...PATIENT, namespace: unique('scan') };
    const cache = await Cache.getInstance(options);
    const wanted = Array.from({ length: 200 }, (_, at) => `key ${at}`);
    for (const key of wanted) await cache.set(key, 1);
    const { keys, cursor } = await cache.scan({ count: 90 });
    const found = new Set(keys);
    const other = await worker.open(options);
    const first = await other.scan({ cursor, count: 50 });
    for (const key of first.keys) found.add(key);
    for (let next = first.cursor; next !== undefined;) {
      const part = await cache.scan({ cursor: next });
      for (const key of part.keys) found.add(key);
      next = part.cursor;
    }
    assert.deepEqual([...found].sort(), wanted.sort());
  });
});

for (const transport of TRANSPORTS) {
  describe(`many entries, from a worker, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let workers;
    before(async () => {
      workers = await Promise.all([1, 2, 3].map(() => start({ transport })));
    });

    const open = (options) =>
      workers[0].open({ ...PATIENT, namespace: unique('scan'), ...options });
    tests(open);
    iterations((fn, options) => workers[0].run(fn, options));

    it('execute reaches them', async () => {
      const cache = await open();
      await cache.mSet({ 'a:1': 1, 'a:2': { n: 2 }, b: 3 });
      assert.deepEqual(await cache.execute('entries', { prefix: 'a:' }), [
        ['a:2', { n: 2 }],
        ['a:1', 1],
      ]);
      assert.deepEqual(await cache.execute('keys', { prefix: 'b' }), ['b']);
      assert.deepEqual((await cache.execute('scan')).keys.sort(), ['a:1', 'a:2', 'b']);
      assert.equal(await cache.execute('deletePrefix', 'a:'), 2);
    });

    it('values that the primary keeps by reference come as copies', async () => {
      const namespace = unique('scan');
      const cache = await open({ namespace });
      const primary = new Cache({ namespace });
      await primary.set('kept', { by: ['reference'] });
      await cache.set('own', { n: 1 });
      const wanted = [
        ['own', { n: 1 }],
        ['kept', { by: ['reference'] }],
      ];
      assert.deepEqual(await cache.entries(), wanted);
      assert.deepEqual(await cache.keys({ prefix: 'k' }), ['kept']);
      const iterated = await workers[0].run(
        async ({ Cache: Class }, given) => {
          const found = [];
          for await (const entry of await Class.getInstance(given)) found.push(entry);
          return found;
        },
        { ...PATIENT, namespace },
      );
      assert.deepEqual(new Map(iterated), new Map(wanted));
      assert.equal(await cache.deletePrefix('k'), 1);
      assert.deepEqual(await primary.keys(), ['own']);
    });

    it('a value larger than what fits a part comes', async () => {
      const cache = await open();
      for (let at = 0; at < 5; at += 1) await cache.set(`large ${at}`, 'x'.repeat(1e6));
      assert.deepEqual(
        (await cache.entries()).map(([, value]) => value.length),
        Array(5).fill(1e6),
      );
    });

    it('a cursor goes from process to process, and beside writers no key is left out', async () => {
      const namespace = unique('scan');
      const caches = await Promise.all(
        workers.map((worker) => worker.open({ ...PATIENT, namespace })),
      );
      caches.push(new Cache({ ...PATIENT, namespace }));
      const wanted = Array.from({ length: 3000 }, (_, at) => `kept ${at}`);
      await caches[0].setMany(wanted.map((key) => [key, 0]));
      // They set keys again that are there throughout, set others and remove them, with recency that changes.
      const write = async ({ Cache: Class, state }, given, keys) => {
        const cache = await Class.getInstance(given);
        state.writes = true;
        for (let at = 0; state.writes; at += 1) {
          const key = keys[(at * 7919) % keys.length];
          await Promise.all([
            cache.set(key, at),
            cache.get(keys[(at * 104_729) % keys.length]),
            cache.set(`${process.pid} ${at}`, at),
            cache.del(`${process.pid} ${at - 500}`),
          ]);
          if (at % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const writers = workers.slice(1);
      const writing = writers.map((worker) => worker.run(write, { ...PATIENT, namespace }, wanted));
      for (let round = 0; round < 4; round += 1) {
        const found = new Set();
        let cursor;
        let at = round;
        do {
          const part = await caches[at % caches.length].scan({
            cursor,
            prefix: 'kept ',
            count: 200,
          });
          for (const key of part.keys) found.add(key);
          ({ cursor } = part);
          at += 1;
        } while (cursor !== undefined);
        assert.equal(found.size, wanted.length);
        assert.ok(at > round + 5);
      }
      const listed = await caches[0].keys({ prefix: 'kept ' });
      assert.deepEqual(new Set(listed), new Set(wanted));
      assert.equal(listed.length, wanted.length, 'a listing gives each once');
      assert.equal(await caches[0].deletePrefix('nothing '), 0);
      await Promise.all(writers.map((worker) => worker.run(({ state }) => (state.writes = false))));
      await Promise.all(writing);
      assert.equal(await caches[1].deletePrefix('kept '), wanted.length);
      assert.deepEqual(await caches[2].keys({ prefix: 'kept ' }), []);
    });

    it('deletePrefix leaves nothing that was there before, whoever writes meanwhile', async () => {
      const namespace = unique('scan');
      const [cache, other] = await Promise.all(
        workers.slice(0, 2).map((worker) => worker.open({ ...PATIENT, namespace })),
      );
      const keys = Array.from({ length: 2000 }, (_, at) => `p:${at}`);
      for (let round = 0; round < 5; round += 1) {
        await cache.setMany(keys.map((key) => [key, round]));
        await cache.set('other', round);
        // `touch` and `incr` make an entry anew of the one that is there: none of them brings it back.
        const touching = workers[1].run(
          async ({ Cache: Class }, given, all) => {
            const instance = await Class.getInstance(given);
            for (const key of all) await Promise.all([instance.touch(key), instance.get(key)]);
          },
          { ...PATIENT, namespace },
          keys,
        );
        assert.equal(await cache.deletePrefix('p:'), keys.length);
        await touching;
        assert.deepEqual(await other.keys(), ['other']);
      }
    });
  });
}
