'use strict';

// `fetch` and `memoize` of the class in a process without workers, where the cache is its own.

const assert = require('node:assert/strict');
const { tracingChannel } = require('node:diagnostics_channel');
const { setImmediate: turn } = require('node:timers/promises');
const Cache = require('../..');
const { fakeClock, unique } = require('../helpers');

const open = (options) => new Cache({ namespace: unique('fetch'), ...options });

/** A promise, and what resolves it. */
function gate() {
  let end;
  const promise = new Promise((resolve) => (end = resolve));
  return { promise, end };
}

describe('fetch in a process without workers', () => {
  it('loads once, stores, and gives what is there', async () => {
    const cache = open();
    let loads = 0;
    const load = async (key) => {
      loads += 1;
      await turn();
      return `of ${key}`;
    };
    const all = await Promise.all(Array.from({ length: 1000 }, () => cache.fetch('k', load)));
    assert.deepEqual([new Set(all), loads], [new Set(['of k']), 1]);
    assert.equal(await cache.get('k'), 'of k');
    assert.equal(await cache.fetch('k', load), 'of k');
    assert.equal(loads, 1);
  });

  it('objects are the same for all, as for get', async () => {
    const cache = open();
    const value = { n: 1 };
    const all = await Promise.all([cache.fetch('k', () => value), cache.fetch('k', () => value)]);
    all.push(await cache.fetch('k', () => assert.fail('called')));
    for (const one of all) assert.equal(one, value);
  });

  it('what fetch stored is given by near reads', async () => {
    const cache = open();
    await cache.fetch('k', () => 'value');
    await cache.fetch('k', () => assert.fail('called'));
    const { near } = await cache.stats();
    await cache.fetch('k', () => assert.fail('called'));
    assert.equal((await cache.stats()).near.hits, near.hits + 1);
  });

  it('a caller after invalidateTags gets what was loaded after it', async () => {
    for (const how of ['tags of the call', 'setTags']) {
      const cache = open();
      const options = how === 'setTags' ? {} : { tags: ['t'] };
      const ends = [];
      const load = async (key, { setTags }) => {
        if (how === 'setTags') setTags(['t']);
        const number = ends.length;
        await new Promise((resolve) => ends.push(resolve));
        return number;
      };
      const first = cache.fetch('k', load, options);
      await turn();
      await cache.invalidateTags(['t']);
      const second = cache.fetch('k', load, options);
      await turn();
      ends[0]();
      assert.equal(await first, 0);
      while (ends.length < 2) await turn();
      ends[1]();
      assert.equal(await second, 1);
      assert.equal(await cache.get('k'), 1);
    }
  });

  it('without near reads, too', async () => {
    const cache = open({ near: false });
    await cache.fetch('k', () => 'value');
    assert.equal(await cache.fetch('k', () => assert.fail('called')), 'value');
  });

  it('undefined that is stored is given', async () => {
    const cache = open({ negativeTtl: 10_000 });
    await cache.fetch('k', () => undefined);
    for (let read = 0; read < 3; read += 1) {
      assert.equal(await cache.fetch('k', () => assert.fail('called')), undefined);
    }
    assert.equal(await cache.has('k'), true);
  });

  it('an age in the options is that of the entry', async () => {
    const cache = open();
    await cache.fetch('k', () => 1, { ttl: 10_000 });
    const left = await cache.getRemainingTTL('k');
    assert.ok(left > 9000 && left <= 10_000, `${left}`);
  });

  for (const [name, write] of Object.entries({
    set: (cache) => cache.set('k', 'written'),
    del: (cache) => cache.del('k'),
    mSet: (cache) => cache.mSet({ k: 'written' }),
    mDel: (cache) => cache.mDel(['k']),
    incr: (cache) => cache.incr('k'),
    setIfAbsent: (cache) => cache.setIfAbsent('k', 'written'),
    reset: (cache) => cache.reset(),
    deletePrefix: (cache) => cache.deletePrefix('k'),
    destroy: (cache) => cache.destroy(),
    getAndDelete: (cache) => cache.getAndDelete('k'),
    setMany: (cache) => cache.setMany([['k', 'written']]),
    hit: (cache) => cache.hit('k', 60_000),
    load: (cache) => cache.execute('load', [{ k: 'k', v: 'written', e: 0 }]),
    'set of the synchronous cache': (cache) => cache.getCache().set('k', 'written'),
  })) {
    it(`${name} voids a lease: the late result is given, and not stored`, async () => {
      const cache = open();
      const { promise, end } = gate();
      const late = cache.fetch('k', () => promise);
      await turn();
      await write(cache);
      const present = await cache.get('k');
      end('late');
      assert.equal(await late, 'late');
      assert.equal(await cache.get('k'), present);
    });
  }

  it('tags that cannot be stored reject the call, from wherever they come', async () => {
    const cache = open();
    const long = 'x'.repeat(1025);
    const many = Array.from({ length: 129 }, (_, at) => `tag ${at}`);
    for (const [tags, message] of [
      [long, /at most 1024 characters, got one of 1025/],
      [many, /at most 128 tags are possible, got 129/],
    ]) {
      const refused = { name: 'TypeError', message };
      await assert.rejects(
        cache.fetch('refused', () => 1, { tags }),
        refused,
      );
      await assert.rejects(
        cache.fetch('refused', () => 1, { tags: () => tags }),
        refused,
      );
      const loader = (key, { setTags }) => (setTags(tags), 1);
      await assert.rejects(cache.fetch('refused', loader), refused);
      assert.equal(await cache.get('refused'), undefined);
    }
  });

  it('tags of the options, and of the loader, end the entry', async () => {
    const cache = open();
    await cache.fetch('a', () => 1, { tags: (value, key) => [`n${value}`, key] });
    await cache.fetch('b', (key, { setTags }) => (setTags('own'), 2), { tags: 'n2' });
    assert.deepEqual((await cache.getEntry('a')).tags, ['n1', 'a']);
    assert.deepEqual((await cache.getEntry('b')).tags, ['own']);
    await cache.invalidateTags('n1');
    assert.equal(await cache.fetch('a', () => 'anew'), 'anew');
  });

  it('a tag that is invalidated while a loader runs voids its result', async () => {
    const cache = open();
    const { promise, end } = gate();
    const late = cache.fetch('k', () => promise, { tags: ['t', 'other'] });
    await turn();
    await cache.invalidateTags(['t']);
    end('late');
    assert.equal(await late, 'late');
    assert.equal(await cache.get('k'), undefined);
  });

  it('the signal of a loader fires when its key is written', async () => {
    const cache = open();
    const { promise, end } = gate();
    let aborted;
    const late = cache.fetch('k', (key, { signal }) => {
      aborted = signal;
      return promise;
    });
    await turn();
    await cache.set('k', 'written');
    await turn();
    assert.equal(aborted.aborted, true);
    end('late');
    assert.equal(await late, 'late');
  });

  it('forceRefresh runs behind the present run', async () => {
    const cache = open();
    const gates = [gate(), gate()];
    let loads = 0;
    const load = () => gates[loads++].promise;
    const first = cache.fetch('k', load);
    await turn();
    const forced = cache.fetch('k', load, { forceRefresh: true });
    await turn();
    assert.equal(loads, 1);
    gates[0].end('older');
    assert.equal(await first, 'older');
    gates[1].end('newer');
    assert.equal(await forced, 'newer');
    assert.equal(await cache.get('k'), 'newer');
  });

  it('an error reaches all, and is not stored', async () => {
    const cache = open();
    const error = new RangeError('away');
    const failing = () => Promise.reject(error);
    const all = await Promise.allSettled([cache.fetch('k', failing), cache.fetch('k', failing)]);
    assert.deepEqual(
      all.map(({ reason }) => reason),
      [error, error],
    );
    assert.equal(await cache.fetch('k', () => 'value'), 'value');
  });

  describe('entries past their age', () => {
    const clock = fakeClock();
    const failing = () => Promise.reject(new Error('away'));

    /** A cache with an entry that fetch has stored, and that has expired. */
    async function expired(options, more) {
      const cache = open({ staleIfError: 1000, ...options });
      await cache.fetch('k', () => ({ n: 1 }), { ttl: 10, ...more });
      await clock.tick(11);
      return cache;
    }

    it('are given where the loader fails, and until staleIfError is over', async () => {
      const cache = await expired();
      assert.deepEqual(await cache.fetch('k', failing), { n: 1 });
      await clock.tick(1000);
      await assert.rejects(cache.fetch('k', failing), /away/);
    });

    it('are given at once with staleWhileRevalidate, and renewed', async () => {
      const cache = await expired({ staleWhileRevalidate: 1000 });
      const { promise, end } = gate();
      assert.deepEqual(await cache.fetch('k', () => promise), { n: 1 });
      assert.deepEqual(await cache.fetch('k', () => promise), { n: 1 });
      end('new');
      await turn();
      assert.equal(await cache.get('k'), 'new');
    });

    it('are a miss for every other call, and left alone by it', async () => {
      const cache = await expired({ stale: true });
      assert.equal(await cache.get('k'), undefined);
      assert.equal(await cache.peek('k'), undefined);
      assert.equal(await cache.has('k'), false);
      assert.deepEqual(await cache.mGet(['k']), {});
      assert.deepEqual(await cache.getMany(['k']), [undefined]);
      assert.equal(await cache.getEntry('k'), undefined);
      assert.equal(await cache.touch('k'), false);
      assert.equal(await cache.getRemainingTTL('k'), 0);
      assert.deepEqual(await cache.dump(), []);
      await cache.prune();
      cache.getCache().forEach(() => assert.fail('visited'));
      assert.equal(await cache.length(), 1);
      assert.deepEqual(await cache.fetch('k', failing), { n: 1 });
    });

    it('are gone with any write, and count as none for it', async () => {
      const cache = await expired();
      assert.equal(await cache.setIfAbsent('k', 'set', { maxAge: 10 }), true);
      await clock.tick(11);
      await assert.rejects(cache.fetch('k', failing), /away/);
      assert.equal(await cache.incr('k'), 1);
    });

    it('go when that time ends', async () => {
      const cache = await expired();
      // It is kept a fifth longer at most.
      await clock.tick(1200);
      await cache.prune();
      assert.equal(await cache.length(), 0);
    });

    it('are not kept without these options', async () => {
      const cache = await expired({ staleIfError: 0 });
      assert.equal(await cache.get('k'), undefined);
      assert.equal(await cache.length(), 0);
    });

    it('have the age of the cache where they have none of their own', async () => {
      const cache = await expired({ maxAge: 10 }, { ttl: undefined });
      assert.deepEqual(await cache.fetch('k', failing), { n: 1 });
    });

    it('an error is stored for errorTtl, for fetch alone', async () => {
      const cache = open({ errorTtl: 50, stale: true });
      await assert.rejects(cache.fetch('k', () => Promise.reject(new RangeError('away'))));
      await assert.rejects(
        cache.fetch('k', () => assert.fail('called')),
        new RangeError('away'),
      );
      assert.equal(await cache.get('k'), undefined);
      assert.equal(await cache.has('k'), false);
      await clock.tick(51);
      assert.equal(await cache.fetch('k', () => 'value'), 'value');
    });

    it('an error leaves an entry, and one past its age', async () => {
      const cache = await expired({ errorTtl: 50 });
      assert.deepEqual(await cache.fetch('k', failing), { n: 1 });
      assert.deepEqual(await cache.fetch('k', failing), { n: 1 });
      await cache.set('k', 'written');
      assert.equal(await cache.fetch('k', failing, { forceRefresh: true }), 'written');
      const options = { forceRefresh: true, staleIfError: 0 };
      await assert.rejects(cache.fetch('k', failing, options), /away/);
      assert.equal(await cache.get('k'), 'written');
    });

    it('refreshAfter renews what is older, before it expires', async () => {
      const cache = open({ refreshAfter: 50 });
      await cache.fetch('k', () => 'old', { ttl: 100 });
      await clock.tick(51);
      assert.equal(await cache.fetch('k', () => 'new', { ttl: 100 }), 'old');
      await turn();
      assert.equal(await cache.fetch('k', () => assert.fail('called')), 'new');
    });

    it('by near reads with refreshAfter while it is young, and with status', async () => {
      const cache = open({ refreshAfter: 50 });
      const status = {};
      const never = () => assert.fail('called');
      const hits = async () => (await cache.stats()).near.hits;
      await cache.fetch('k', () => 'old', { ttl: 1000 });
      await cache.get('k');
      const before = await hits();
      assert.equal(await cache.fetch('k', never), 'old');
      assert.equal(await cache.fetch('k', never, { status, staleIfError: 5 }), 'old');
      assert.equal(await hits(), before + 2);
      assert.equal(status.fetch, 'hit');
      assert.ok(status.duration >= 0 && status.start <= Date.now());
      await clock.tick(51);
      assert.equal(await cache.fetch('k', () => 'new', { ttl: 1000 }), 'old');
      assert.equal(await hits(), before + 2, 'the store was asked');
      await turn();
      assert.equal(await cache.fetch('k', never), 'new');
    });

    it('by near reads while an old entry is not to be renewed', async () => {
      const cache = open({ refreshAfter: 50, refreshBackoff: 1000 });
      await cache.fetch('k', () => 'old', { ttl: 100_000 });
      await cache.get('k');
      await clock.tick(51);
      let end;
      const load = () => new Promise((resolve, reject) => (end = reject));
      const { near } = await cache.stats();
      assert.equal(await cache.fetch('k', load), 'old');
      await turn();
      for (let times = 0; times < 3; times += 1) {
        assert.equal(await cache.fetch('k', () => assert.fail('called')), 'old');
      }
      end(new Error('away'));
      await turn();
      assert.equal(await cache.fetch('k', () => assert.fail('called')), 'old');
      assert.equal((await cache.stats()).near.hits, near.hits + 4);
    });
  });

  it('close aborts loaders and gives leases back', async () => {
    const namespace = unique('fetch');
    const [one, two] = [new Cache({ namespace }), new Cache({ namespace })];
    let signal;
    const hanging = one.fetch('k', (key, context) => {
      ({ signal } = context);
      return new Promise(() => {});
    });
    await turn();
    const other = two.fetch('k', () => 'of the other');
    const closing = one.close();
    await assert.rejects(hanging, { code: 'ERR_CLOSED' });
    await closing;
    assert.equal(signal.aborted, true);
    assert.equal(await other, 'of the other');
    await assert.rejects(
      one.fetch('k', () => 1),
      { code: 'ERR_CLOSED' },
    );
  });

  it('options of the instance are checked, and named', () => {
    for (const [option, value] of Object.entries({
      fetchMethod: 'text',
      staleWhileRevalidate: -1,
      staleIfError: NaN,
      refreshAfter: 'soon',
      refreshBackoff: -1,
      negativeTtl: true,
      errorTtl: {},
      onError: 'again',
      softTimeout: -1,
      hardTimeout: '5',
      leaseTimeout: 0,
    })) {
      assert.throws(
        () => open({ [option]: value }),
        (error) => error instanceof TypeError && error.message.startsWith(`${option} must be`),
        option,
      );
    }
  });

  it('an unknown option is named where the entry is there, too', async () => {
    const cache = open();
    await cache.set('k', 1);
    await cache.get('k');
    await assert.rejects(
      cache.fetch('k', () => 1, { tll: 1 }),
      /no option tll: did you mean ttl/,
    );
  });

  it('a key that is none rejects', async () => {
    const cache = open();
    await assert.rejects(
      cache.fetch({}, () => assert.fail('called')),
      { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' },
    );
  });

  it('counts', async () => {
    const cache = open();
    const load = () => turn().then(() => 'value');
    await Promise.all([cache.fetch('k', load), cache.fetch('k', load), cache.fetch('k', load)]);
    await cache.fetch('other', () => Promise.reject(new Error('away'))).catch(() => {});
    const { fetches } = await cache.stats();
    const { loads, followers, errors, loadTime } = fetches;
    assert.deepEqual([loads, followers, errors], [2, 2, 1]);
    assert.ok(loadTime > 0);
    assert.deepEqual(cache.getCache().stats().fetches, fetches);
  });

  it('is traced', async () => {
    const cache = open();
    const channel = tracingChannel('lru-cache-for-clusters-as-promised:fetch');
    const seen = [];
    const handlers = {
      start: ({ namespace, key }) => seen.push(['start', namespace === cache.namespace, key]),
      asyncEnd: ({ key, fetch, result }) => seen.push(['end', key, fetch, result]),
      error: ({ key, error }) => seen.push(['error', key, error.message]),
    };
    channel.subscribe(handlers);
    try {
      await cache.fetch('k', () => 'value');
      await cache.fetch('k', () => 'value');
      await cache.fetch('other', () => Promise.reject(new Error('away'))).catch(() => {});
    } finally {
      channel.unsubscribe(handlers);
    }
    assert.deepEqual(seen, [
      ['start', true, 'k'],
      ['end', 'k', 'miss', 'value'],
      ['start', true, 'k'],
      ['end', 'k', 'hit', 'value'],
      ['start', true, 'other'],
      ['error', 'other', 'away'],
      ['end', 'other', undefined, undefined],
    ]);
  });

  it('memoize of an instance', async () => {
    const cache = open();
    let calls = 0;
    const add = cache.memoize(async function sum(a, b) {
      calls += 1;
      return a + b;
    });
    assert.deepEqual(await Promise.all([add(1, 2), add(1, 2)]), [3, 3]);
    assert.equal(await cache.get('["sum",1,2]'), 3);
    assert.equal(await add.refresh(1, 2), 3);
    assert.equal(await add.delete(1, 2), true);
    assert.equal(await add(1, 2), 3);
    assert.equal(calls, 3);
  });
});
