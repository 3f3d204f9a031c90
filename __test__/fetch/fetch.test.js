'use strict';

// `fetch` over a double of the leases, where every race is decided by the test: point by point, as docs/fetch.md has them.

const assert = require('node:assert/strict');
const { setImmediate: turn } = require('node:timers/promises');
const { Fetcher } = require('../../lib/fetch/fetcher');
const { fakeClock, unique } = require('../helpers');
const { LeaseStore } = require('../helpers/leases');

/** A loader whose calls the test ends. */
function loader() {
  const calls = [];
  const load = (key, context) =>
    new Promise((resolve, reject) => calls.push({ key, context, resolve, reject }));
  load.calls = calls;
  return load;
}

/** A promise that the test resolves. */
function gate() {
  let open;
  const promise = new Promise((resolve) => (open = resolve));
  return { promise, open };
}

const closed = Object.assign(new Error('the cache was closed'), { code: 'ERR_CLOSED' });

describe('fetch', () => {
  const clock = fakeClock();
  let store;
  let key;

  beforeEach(() => {
    store = new LeaseStore();
    key = unique('key');
  });

  /** A process with its `fetch`. */
  function start({ defaults = {}, ...options } = {}) {
    const process = store.process(options);
    const count = (...counts) => process.count(...counts);
    const fetcher = new Fetcher(process, defaults, { count });
    process.fetcher = fetcher;
    process.fetch = (...args) => fetcher.fetch(...args);
    return process;
  }

  describe('the call', () => {
    it('gives the value of the loader, and stores it', async () => {
      const one = start();
      const load = (given) => ({ of: given });
      assert.deepEqual(await one.fetch(key, load), { of: key });
      assert.deepEqual(one.get(key), { of: key });
    });

    it('gives the value that is there without a loader being called', async () => {
      const one = start();
      one.set(key, 'there');
      assert.equal(await one.fetch(key, () => assert.fail('called')), 'there');
    });

    it('uses the fetchMethod of the instance, called as lru-cache calls it', async () => {
      const calls = [];
      const fetchMethod = (...args) => (calls.push(args), 'value');
      const one = start({ defaults: { fetchMethod } });
      assert.equal(await one.fetch(key, { context: 'of the call', maxAge: 5 }), 'value');
      const [[given, stale, { signal, options, context, setTtl }]] = calls;
      assert.deepEqual([given, stale, context, options.maxAge], [key, undefined, 'of the call', 5]);
      assert.ok(signal instanceof AbortSignal);
      assert.equal(typeof setTtl, 'function');
    });

    it('gives fetchMethod the value that is past its age', async () => {
      const one = start({ defaults: { staleIfError: 1000 } });
      await one.fetch(key, () => 'old', { ttl: 10 });
      await clock.tick(11);
      const fetchMethod = (given, stale) => `${stale} and new`;
      const two = start({ defaults: { fetchMethod } });
      assert.equal(await two.fetch(key), 'old and new');
    });

    it('takes an age that fetchMethod writes into its options', async () => {
      const fetchMethod = (given, stale, { options }) => ((options.ttl = 5), 'value');
      const one = start({ defaults: { fetchMethod } });
      await one.fetch(key);
      assert.equal(store.entries.get(key).expires, clock.now + 5);
    });

    it('shares a claim that is a message with all calls of its tick', async () => {
      const one = start();
      const { leases } = one;
      let tick = 1;
      let claims = 0;
      const claim = leases.claim.bind(leases);
      leases.claim = async (...args) => {
        claims += 1;
        await turn();
        return claim(...args);
      };
      leases.tickOfSending = () => tick;
      const load = loader();
      const callers = Array.from({ length: 5 }, () => one.fetch(key, load));
      tick += 1;
      callers.push(one.fetch(key, load));
      await clock.tick(0);
      while (load.calls.length === 0) await turn();
      load.calls[0].resolve({ a: 1 });
      const values = await Promise.all(callers);
      assert.deepEqual([claims, load.calls.length], [2, 1]);
      const hits = await Promise.all([one.fetch(key, load), one.fetch(key, load)]);
      assert.equal(claims, 3);
      for (const value of [...values, ...hits]) assert.deepEqual(value, { a: 1 });
      assert.equal(new Set([...values, ...hits]).size, 8, 'each has an object of its own');
    });

    it('rejects without a loader', async () => {
      const one = start();
      one.set(key, 1);
      for (const args of [[key], [key, {}], [key, undefined, {}], [key, 'no function', {}]]) {
        await assert.rejects(one.fetch(...args), {
          name: 'TypeError',
          code: 'ERR_INVALID_ARG_TYPE',
        });
      }
    });

    it('names an unknown option and the nearest known one', async () => {
      const one = start();
      await assert.rejects(
        one.fetch(key, () => 1, { staleWhileRevalidat: 1 }),
        {
          name: 'TypeError',
          message: 'fetch has no option staleWhileRevalidat: did you mean staleWhileRevalidate?',
        },
      );
      await assert.rejects(
        one.fetch(key, () => 1, 'text'),
        /options as an object/,
      );
    });

    it('names the value of an option that is wrong', async () => {
      const one = start();
      const wrong = {
        ttl: -1,
        maxAge: NaN,
        tags: [1],
        staleWhileRevalidate: '1',
        staleIfError: -1,
        refreshAfter: NaN,
        refreshBackoff: -5,
        negativeTtl: true,
        errorTtl: {},
        onError: 'again',
        softTimeout: -1,
        hardTimeout: 'soon',
        leaseTimeout: 0,
        forceRefresh: 1,
        signal: {},
        status: 1,
      };
      for (const [name, value] of Object.entries(wrong)) {
        const pattern = name === 'ttl' ? /maxAge must be/ : new RegExp(`${name} must be .*got`);
        await assert.rejects(
          one.fetch(key, () => 1, { [name]: value }),
          (error) => {
            assert.ok(error instanceof TypeError, name);
            assert.match(error.message, pattern);
            return true;
          },
        );
      }
      await assert.rejects(
        one.fetch(key, () => 1, { ttl: 1, maxAge: 2 }),
        /two names/,
      );
    });

    it('takes an option that is undefined for none', async () => {
      const one = start({ defaults: { negativeTtl: 50 } });
      await one.fetch(key, () => undefined, { negativeTtl: undefined, signal: undefined });
      assert.ok(store.entries.has(key));
    });
  });

  describe('1. look-up and claim', () => {
    it('all callers of a process share one run', async () => {
      const one = start();
      const load = loader();
      const all = Array.from({ length: 1000 }, () => one.fetch(key, load));
      await turn();
      assert.equal(load.calls.length, 1);
      load.calls[0].resolve('value');
      assert.deepEqual(new Set(await Promise.all(all)), new Set(['value']));
      assert.equal(store.held.size, 0);
    });

    it('one loader runs for all processes', async () => {
      const load = loader();
      const processes = Array.from({ length: 16 }, () => start());
      const all = processes.flatMap((one) =>
        Array.from({ length: 10 }, () => one.fetch(key, load)),
      );
      await turn();
      assert.equal(load.calls.length, 1);
      // Each process waits once.
      assert.deepEqual(
        processes.map(({ calls }) => calls.wait),
        [0, ...Array(15).fill(1)],
      );
      load.calls[0].resolve({ n: 1 });
      for (const value of await Promise.all(all)) assert.deepEqual(value, { n: 1 });
    });

    it('who waits for another process gets the entry with the end of the wait, each its own', async () => {
      const load = loader();
      const [one, two] = [start(), start()];
      const claims = () => two.calls.claim;
      const owner = one.fetch(key, load);
      const status = {};
      const all = [two.fetch(key, load, { status }), two.fetch(key, load), two.fetch(key, load)];
      await turn();
      const before = claims();
      load.calls[0].resolve({ n: 1 });
      const values = await Promise.all(all);
      for (const value of values) assert.deepEqual(value, { n: 1 });
      assert.equal(new Set(values).size, 3);
      assert.deepEqual([claims() - before, status.fetch], [0, 'hit']);
      assert.deepEqual(await owner, { n: 1 });
    });

    it('who waits looks the key up where the entry cannot be read with the end of the wait', async () => {
      const load = loader();
      const [one, two] = [start(), start({ readsEntries: false })];
      const all = [one.fetch(key, load), two.fetch(key, load)];
      await turn();
      load.calls[0].resolve({ n: 1 });
      assert.deepEqual(await Promise.all(all), [{ n: 1 }, { n: 1 }]);
      assert.deepEqual([load.calls.length, two.calls.claim], [1, 2]);
    });

    it('callers join by IPC, too, where nobody can look at the lease', async () => {
      const one = start({ isSync: false });
      const load = loader();
      const all = Array.from({ length: 100 }, () => one.fetch(key, load));
      await turn();
      assert.equal(load.calls.length, 1);
      load.calls[0].resolve('value');
      assert.deepEqual(new Set(await Promise.all(all)), new Set(['value']));
    });

    it('a caller whose claim is under way is not answered from before a write', async () => {
      const one = start({ isSync: false });
      const { promise, open } = gate();
      one.set(key, 'old');
      one.gate = promise;
      const early = one.fetch(key, () => 'loaded');
      one.del(key);
      const late = one.fetch(key, () => 'loaded');
      open();
      assert.deepEqual(await Promise.all([early, late]), ['old', 'loaded']);
    });
  });

  describe('2. a caller after a write begins anew', () => {
    for (const isSync of [true, false]) {
      it(`${isSync ? 'where the lease can be looked at' : 'by IPC'}`, async () => {
        const one = start({ isSync });
        const load = loader();
        const early = one.fetch(key, load);
        await turn();
        one.del(key);
        const late = one.fetch(key, load);
        await turn();
        assert.equal(load.calls.length, 2);
        load.calls[1].resolve('new');
        assert.equal(await late, 'new');
        load.calls[0].resolve('old');
        assert.equal(await early, 'old');
        assert.equal(one.get(key), 'new');
      });
    }

    it('in another process, too', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const early = [one.fetch(key, load), two.fetch(key, load)];
      await turn();
      two.del(key);
      const late = two.fetch(key, load);
      await turn();
      load.calls[0].resolve('old');
      assert.deepEqual(await Promise.all(early), ['old', 'old']);
      assert.equal(two.get(key), undefined);
      load.calls[1].resolve('new');
      assert.equal(await late, 'new');
      assert.equal(one.get(key), 'new');
    });
  });

  describe('3. void', () => {
    it('a result whose lease is void is given to those who waited, and not stored', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const all = [one.fetch(key, load), one.fetch(key, load), two.fetch(key, load)];
      await turn();
      two.set(key, 'written');
      load.calls[0].resolve('loaded');
      assert.deepEqual(await Promise.all(all), ['loaded', 'loaded', 'loaded']);
      assert.equal(one.get(key), 'written');
    });

    it('the signal of the loader fires', async () => {
      const one = start();
      const load = loader();
      const value = one.fetch(key, load);
      await turn();
      const { signal } = load.calls[0].context;
      assert.equal(signal.aborted, false);
      one.set(key, 'written');
      assert.equal(signal.aborted, true);
      assert.equal(signal.reason.name, 'AbortError');
      load.calls[0].resolve('loaded');
      assert.equal(await value, 'loaded');
    });

    it('a loader that gives up then is no failure: its callers look again', async () => {
      const [one, two] = [start(), start()];
      const untilAborted = (given, { signal }) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      const all = [one, one, two].map((process) => process.fetch(key, untilAborted));
      await turn();
      two.set(key, 'written');
      assert.deepEqual(await Promise.all(all), ['written', 'written', 'written']);
      assert.equal(store.counts.loads, 1);
    });

    it('a loader that is stopped again and again is left to end', async () => {
      const one = start();
      let loads = 0;
      let aborted = 0;
      const load = (given, { signal }) =>
        new Promise((resolve, reject) => {
          loads += 1;
          signal.addEventListener('abort', () => {
            aborted += 1;
            reject(signal.reason);
          });
          setImmediate(() => {
            one.del(key);
            setImmediate(resolve, `loaded ${loads}`);
          });
        });
      assert.equal(await one.fetch(key, load), 'loaded 4');
      assert.equal(aborted, 3);
    });
  });

  describe('4. what is stored', () => {
    it('null is a value', async () => {
      const one = start();
      assert.equal(await one.fetch(key, () => null), null);
      assert.ok(store.entries.has(key));
      assert.equal(await one.fetch(key, () => assert.fail('called')), null);
    });

    it('undefined, and what is skipped, is given to everybody and not stored', async () => {
      const [one, two] = [start(), start()];
      for (const [give, expected] of [
        [() => undefined, undefined],
        [({ skip }) => skip({ n: 1 }), { n: 1 }],
        [({ skip }) => skip(), undefined],
      ]) {
        const load = loader();
        const all = [one, one, two].map((process) => process.fetch(key, load));
        await turn();
        load.calls[0].resolve(give(load.calls[0].context));
        for (const value of await Promise.all(all)) assert.deepEqual(value, expected);
        assert.equal(load.calls.length, 1);
        assert.ok(!store.entries.has(key));
      }
    });

    it('they are stored for negativeTtl', async () => {
      const one = start({ defaults: { negativeTtl: 50 } });
      await one.fetch(key, () => undefined, { ttl: 1000 });
      assert.equal(store.entries.get(key).expires, clock.now + 50);
      assert.equal(await one.fetch(key, () => assert.fail('called')), undefined);
      await clock.tick(51);
      assert.equal(await one.fetch(key, (given, { skip }) => skip('none')), 'none');
      assert.equal(store.entries.get(key).expires, clock.now + 50);
    });

    it('ages and tags may be functions of the value and the key', async () => {
      const one = start();
      for (const name of ['ttl', 'maxAge']) {
        const own = unique('key');
        const tags = (value, given) => [`${value.of}`, given];
        const age = (value, given) => value.age + given.length;
        await one.fetch(own, () => ({ of: 'it', age: 100 }), { [name]: age, tags });
        const entry = store.entries.get(own);
        assert.equal(entry.expires, clock.now + 100 + own.length);
        assert.deepEqual(entry.tags, ['it', own]);
      }
    });

    it('what the loader says goes before the options', async () => {
      const one = start();
      const load = (given, { setTtl, setTags }) => {
        setTtl(5);
        setTags('own');
        return 1;
      };
      await one.fetch(key, load, { ttl: 1000, tags: ['of the call'] });
      const { expires, tags } = store.entries.get(key);
      assert.deepEqual([expires, tags], [clock.now + 5, ['own']]);
    });

    it('an age or tags that are none reject the call, and nothing is stored', async () => {
      const one = start();
      const wrong = [
        [() => 1, { ttl: () => -1 }],
        [() => 1, { tags: () => 5 }],
        [(given, { setTtl }) => setTtl('soon')],
        [(given, { setTags }) => setTags({})],
      ];
      for (const args of wrong) await assert.rejects(one.fetch(key, ...args), TypeError);
      const failing = () => {
        throw new Error('in ttl');
      };
      await assert.rejects(
        one.fetch(key, () => 1, { ttl: failing }),
        /in ttl/,
      );
      assert.equal(store.entries.size, 0);
      assert.equal(store.held.size, 0);
    });

    it('a value that has no form rejects', async () => {
      const one = start();
      const circular = {};
      circular.self = circular;
      await assert.rejects(
        one.fetch(key, () => circular),
        /circular/,
      );
      assert.equal(store.held.size, 0);
    });
  });

  describe('5. whose object it is', () => {
    it('each caller has an object of its own, as a later get gives it', async () => {
      const [one, two] = [start(), start()];
      const loaded = { at: new Date(0), list: [1], none: undefined };
      const all = await Promise.all([one, one, two].map((p) => p.fetch(key, () => loaded)));
      for (const value of all) {
        assert.deepEqual(value, { at: '1970-01-01T00:00:00.000Z', list: [1] });
      }
      assert.equal(new Set([...all, loaded]).size, 4);
    });

    it('what the loader does with its object afterwards changes nothing', async () => {
      const one = start();
      const loaded = { n: 1 };
      const value = one.fetch(key, () => loaded);
      await turn();
      loaded.n = 2;
      assert.deepEqual([await value, one.get(key)], [{ n: 1 }, { n: 1 }]);
    });

    it('by reference all have the same', async () => {
      const one = start({ copy: 'reference' });
      const loaded = { n: 1 };
      const all = await Promise.all([one.fetch(key, () => loaded), one.fetch(key, () => loaded)]);
      assert.ok(all.every((value) => value === loaded));
    });

    it('objects past their age are own ones, too, that of the loader included', async () => {
      const one = start({ defaults: { staleWhileRevalidate: 1000 } });
      await one.fetch(key, () => ({ n: 1 }), { ttl: 10 });
      await clock.tick(11);
      const load = loader();
      const all = await Promise.all([one.fetch(key, load), one.fetch(key, load)]);
      all.push(load.calls[0].context.stale);
      for (const value of all) assert.deepEqual(value, { n: 1 });
      assert.equal(new Set(all).size, 3);
      load.calls[0].resolve({ n: 2 });
    });
  });

  describe('6. stale entries', () => {
    /** A process that has stored `old`, which has expired since. */
    async function stored(defaults, process = start({ defaults })) {
      await process.fetch(key, () => 'old', { ttl: 10 });
      await clock.tick(11);
      return process;
    }

    it('staleWhileRevalidate gives them at once, while one process renews', async () => {
      const defaults = { staleWhileRevalidate: 100 };
      const one = await stored(defaults);
      const two = start({ defaults });
      const load = loader();
      const all = [one, one, two].map((process) => process.fetch(key, load));
      assert.deepEqual(await Promise.all(all), ['old', 'old', 'old']);
      assert.equal(load.calls.length, 1);
      load.calls[0].resolve('new');
      await turn();
      assert.equal(await two.fetch(key, load), 'new');
    });

    it('not longer than it says', async () => {
      const one = await stored({ staleWhileRevalidate: 100 });
      await clock.tick(100);
      assert.equal(await one.fetch(key, () => 'new'), 'new');
    });

    it('only to callers that ask for it', async () => {
      const one = await stored({ staleWhileRevalidate: 100 });
      assert.equal(await one.fetch(key, () => 'new', { staleWhileRevalidate: 0 }), 'new');
    });

    it('a get, and a fetch without these options, leave nothing to give', async () => {
      const one = await stored({});
      assert.equal(await one.fetch(key, () => 'new', { staleWhileRevalidate: 100 }), 'new');
    });

    it('a renewal goes on though nobody waits', async () => {
      const one = await stored({ staleWhileRevalidate: 100 });
      const load = loader();
      await one.fetch(key, load, { signal: AbortSignal.timeout(1e6) });
      await turn();
      assert.equal(load.calls[0].context.signal.aborted, false);
      load.calls[0].resolve('new');
      await turn();
      assert.equal(one.get(key), 'new');
    });

    it('a renewal that fails is not tried again before refreshBackoff, and harms nobody', async () => {
      const one = await stored({ staleWhileRevalidate: 100_000, refreshBackoff: 100_000 });
      const load = loader();
      assert.equal(await one.fetch(key, load), 'old');
      load.calls[0].reject(new Error('away'));
      await turn();
      assert.equal(await one.fetch(key, load), 'old');
      assert.equal(await one.fetch(key, load), 'old');
      assert.equal(load.calls.length, 1);
      assert.equal(store.held.size, 0);
    });

    it('nor does another process try it', async () => {
      const defaults = { staleWhileRevalidate: 100_000, refreshBackoff: 1000 };
      const one = await stored(defaults);
      const two = start({ defaults });
      const load = loader();
      assert.equal(await one.fetch(key, load), 'old');
      load.calls[0].reject(new Error('away'));
      await turn();
      assert.equal(await two.fetch(key, () => assert.fail('called')), 'old');
      await clock.tick(1000);
      assert.equal(await two.fetch(key, load), 'old');
      assert.equal(load.calls.length, 2);
      load.calls[1].resolve('new');
      await turn();
      assert.equal(one.get(key), 'new');
    });

    it('but a caller that does not take the entry has its loader called', async () => {
      const one = await stored({ staleWhileRevalidate: 100_000, refreshBackoff: 1000 });
      const two = start({ defaults: { staleWhileRevalidate: 10 } });
      const load = loader();
      await one.fetch(key, load);
      load.calls[0].reject(new Error('away'));
      await turn();
      await clock.tick(500);
      assert.equal(await two.fetch(key, () => 'new'), 'new');
    });

    it('after that time it is', async () => {
      const one = await stored({ staleWhileRevalidate: 100_000, refreshBackoff: 0 });
      const load = loader();
      assert.equal(await one.fetch(key, load), 'old');
      load.calls[0].reject(new Error('away'));
      await turn();
      assert.equal(await one.fetch(key, load), 'old');
      assert.equal(load.calls.length, 2);
      load.calls[1].resolve('new');
      await turn();
      assert.equal(one.get(key), 'new');
    });

    it('staleIfError gives them where the loader fails, to all who waited', async () => {
      const defaults = { staleIfError: 100 };
      const one = await stored(defaults);
      const two = start({ defaults });
      const load = loader();
      const all = [one, one, two].map((process) => process.fetch(key, load));
      await turn();
      load.calls[0].reject(new Error('away'));
      assert.deepEqual(await Promise.all(all), ['old', 'old', 'old']);
    });

    it('staleIfError waits for the loader', async () => {
      const one = await stored({ staleIfError: 100 });
      assert.equal(await one.fetch(key, () => 'new'), 'new');
    });

    it('after staleIfError the error is thrown', async () => {
      const one = await stored({ staleIfError: 100 });
      await clock.tick(100);
      const failing = () => Promise.reject(new Error('away'));
      await assert.rejects(one.fetch(key, failing), /away/);
    });

    it('an entry is kept for the longer of the two', async () => {
      const one = await stored({ staleWhileRevalidate: 50, staleIfError: 100 });
      assert.equal(store.entries.get(key).grace, 100);
      await clock.tick(50);
      const failing = () => Promise.reject(new Error('away'));
      assert.equal(await one.fetch(key, failing), 'old');
    });
  });

  describe('7. refreshAfter', () => {
    it('renews an older entry in the background, once', async () => {
      const one = start({ defaults: { refreshAfter: 50, ttl: 100 } });
      await one.fetch(key, () => 'old', { ttl: 100 });
      await clock.tick(50);
      const load = loader();
      assert.equal(await one.fetch(key, load), 'old');
      assert.equal(load.calls.length, 0);
      await clock.tick(1);
      const all = await Promise.all([one.fetch(key, load), one.fetch(key, load)]);
      await turn();
      assert.deepEqual(all, ['old', 'old']);
      assert.equal(load.calls.length, 1);
      assert.equal(load.calls[0].context.stale, 'old');
      load.calls[0].resolve('new');
      await turn();
      assert.equal(one.get(key), 'new');
    });

    it('leaves the entry where that fails, and waits for refreshBackoff', async () => {
      const one = start({ defaults: { refreshAfter: 50 } });
      await one.fetch(key, () => 'old', { ttl: 100 });
      await clock.tick(51);
      const load = loader();
      await one.fetch(key, load);
      await turn();
      load.calls[0].reject(new Error('away'));
      await turn();
      assert.equal(await one.fetch(key, load), 'old');
      await turn();
      assert.equal(load.calls.length, 1);
      const two = start({ defaults: { refreshAfter: 50 } });
      for (let times = 0; times < 2; times += 1) {
        assert.equal(await two.fetch(key, () => assert.fail('called')), 'old');
        await turn();
      }
      // The second one knew.
      assert.equal(two.calls.claim, 3);
    });
  });

  describe('8. timeouts', () => {
    it('hardTimeout ends the wait, not the work', async () => {
      const one = start();
      const load = loader();
      await assert.rejects(one.fetch(key, load, { hardTimeout: 1 }), {
        code: 'ETIMEDOUT',
        command: 'fetch',
        namespace: one.namespace,
      });
      assert.equal(load.calls[0].context.signal.aborted, false);
      load.calls[0].resolve('late');
      await turn();
      assert.equal(one.get(key), 'late');
    });

    it('softTimeout gives an entry past its age after that time', async () => {
      const one = start({ defaults: { staleIfError: 100 } });
      await one.fetch(key, () => 'old', { ttl: 10 });
      await clock.tick(11);
      const load = loader();
      assert.equal(await one.fetch(key, load, { softTimeout: 1 }), 'old');
      assert.equal(load.calls[0].context.signal.aborted, false);
      load.calls[0].resolve('new');
      await turn();
      assert.equal(one.get(key), 'new');
    });

    it('without such an entry softTimeout does nothing', async () => {
      const one = start();
      const load = loader();
      const value = one.fetch(key, load, { softTimeout: 1, hardTimeout: 20 });
      await assert.rejects(value, { code: 'ETIMEDOUT' });
    });

    it('after leaseTimeout another may claim, and the late result is void', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const late = one.fetch(key, load, { leaseTimeout: 100 });
      await turn();
      await clock.tick(100);
      assert.equal(await two.fetch(key, () => 'new'), 'new');
      load.calls[0].resolve('late');
      assert.equal(await late, 'late');
      assert.equal(one.get(key), 'new');
    });

    it('the late result is stored where nobody has claimed', async () => {
      const one = start();
      const load = loader();
      const late = one.fetch(key, load, { leaseTimeout: 100 });
      await turn();
      await clock.tick(100);
      load.calls[0].resolve('late');
      assert.equal(await late, 'late');
      assert.equal(one.get(key), 'late');
    });

    it('callers of the same process do not wait longer for it either', async () => {
      const one = start();
      const load = loader();
      const late = one.fetch(key, load, { leaseTimeout: 5 });
      await turn();
      const waiting = one.fetch(key, load, { leaseTimeout: 5 });
      await clock.tick(6);
      while (load.calls.length < 2) await turn();
      load.calls[1].resolve('new');
      assert.equal(await waiting, 'new');
      load.calls[0].resolve('late');
      assert.equal(await late, 'late');
      assert.equal(one.get(key), 'new');
    });
  });

  describe('9. signals', () => {
    it('end the wait of one caller alone', async () => {
      const one = start();
      const load = loader();
      const controller = new AbortController();
      const left = one.fetch(key, load, { signal: controller.signal });
      const stays = one.fetch(key, load);
      await turn();
      controller.abort(new RangeError('enough'));
      await assert.rejects(left, new RangeError('enough'));
      assert.equal(load.calls[0].context.signal.aborted, false);
      load.calls[0].resolve('value');
      assert.equal(await stays, 'value');
    });

    it('one that is aborted already rejects at once', async () => {
      const one = start();
      one.set(key, 1);
      const signal = AbortSignal.abort('why');
      const reason = await one.fetch(key, () => 1, { signal }).catch((thrown) => thrown);
      assert.equal(reason, 'why');
    });

    it('where nobody waits any more the loader is aborted, and its lease given back', async () => {
      const one = start();
      const load = loader();
      const controllers = [new AbortController(), new AbortController()];
      const all = controllers.map(({ signal }) => one.fetch(key, load, { signal }));
      await turn();
      const { signal } = load.calls[0].context;
      controllers[0].abort();
      assert.equal(signal.aborted, false);
      controllers[1].abort('the last');
      assert.equal(signal.aborted, true);
      assert.equal(signal.reason, 'the last');
      assert.equal(store.held.size, 0);
      await Promise.allSettled(all);
      assert.equal(await one.fetch(key, () => 'anew'), 'anew');
      load.calls[0].resolve('too late');
      await turn();
      assert.equal(one.get(key), 'anew');
    });

    it('while another process waits the loader goes on', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const controller = new AbortController();
      const left = one.fetch(key, load, { signal: controller.signal });
      await turn();
      const stays = two.fetch(key, load);
      await turn();
      controller.abort();
      await assert.rejects(left, { name: 'AbortError' });
      assert.equal(load.calls[0].context.signal.aborted, false);
      load.calls[0].resolve('value');
      assert.equal(await stays, 'value');
    });

    it('a caller that leaves while its claim is under way leaves no lease', async () => {
      const one = start({ isSync: false });
      const { promise, open } = gate();
      one.gate = promise;
      const controller = new AbortController();
      const left = one.fetch(key, () => assert.fail('called'), { signal: controller.signal });
      controller.abort();
      await assert.rejects(left, { name: 'AbortError' });
      open();
      await turn();
      assert.equal(store.held.size, 0);
    });

    it('leave no listener behind', async () => {
      const { getEventListeners } = require('node:events');
      const one = start();
      const { signal } = new AbortController();
      await one.fetch(key, () => 'value', { signal });
      assert.equal(getEventListeners(signal, 'abort').length, 0);
    });
  });

  describe('10. an owner that dies', () => {
    it('the next one takes over', async () => {
      const [one, two, three] = [start(), start(), start()];
      const load = loader();
      one.fetch(key, load);
      await turn();
      const all = [two.fetch(key, load), three.fetch(key, load), three.fetch(key, load)];
      await turn();
      one.die();
      await turn();
      assert.equal(load.calls.length, 2);
      load.calls[1].resolve('value');
      assert.deepEqual(await Promise.all(all), ['value', 'value', 'value']);
    });
  });

  describe('11. forceRefresh', () => {
    it('runs the loader anew though there is an entry', async () => {
      const one = start();
      one.set(key, 'old');
      assert.equal(await one.fetch(key, () => 'new', { forceRefresh: true }), 'new');
      assert.equal(one.get(key), 'new');
    });

    it('runs one behind the present run; later calls of either kind join that', async () => {
      for (const isSync of [true, false]) {
        const [one, two] = [start({ isSync }), start({ isSync })];
        const own = unique('key');
        const load = loader();
        const first = one.fetch(own, load);
        await turn();
        const forced = [one, one, two].map((p) => p.fetch(own, load, { forceRefresh: true }));
        await turn();
        const later = [one, two].map((p) => p.fetch(own, load));
        await turn();
        assert.equal(load.calls.length, 1);
        load.calls[0].resolve('older');
        assert.equal(await first, 'older');
        await turn();
        assert.equal(load.calls.length, 2);
        load.calls[1].resolve('newer');
        const all = await Promise.all([...forced, ...later]);
        assert.deepEqual(new Set(all), new Set(['newer']));
        assert.equal(load.calls.length, 2);
        assert.equal(one.get(own), 'newer');
      }
    });

    it('joins a run that began after the call', async () => {
      const one = start({ isSync: false });
      const load = loader();
      const options = { forceRefresh: true };
      const all = [one.fetch(key, load, options), one.fetch(key, load, options)];
      await turn();
      load.calls[0].resolve('value');
      assert.deepEqual(await Promise.all(all), ['value', 'value']);
      assert.equal(load.calls.length, 1);
    });

    it('an entry past its age is no answer', async () => {
      const one = start({ defaults: { staleWhileRevalidate: 1000 } });
      await one.fetch(key, () => 'old', { ttl: 10 });
      await clock.tick(11);
      assert.equal(await one.fetch(key, () => 'new', { forceRefresh: true }), 'new');
    });

    it('gives the loader the entry, past its age or not, and the caller where that fails', async () => {
      const one = start({ defaults: { staleIfError: 100 } });
      const seen = [];
      const failing = (given, { stale }) => {
        seen.push(stale);
        throw new Error('away');
      };
      await one.fetch(key, () => ({ n: 1 }), { ttl: 10 });
      assert.deepEqual(await one.fetch(key, failing, { forceRefresh: true }), { n: 1 });
      await clock.tick(11);
      assert.deepEqual(await one.fetch(key, failing, { forceRefresh: true }), { n: 1 });
      const options = { forceRefresh: true, staleIfError: 0 };
      await assert.rejects(one.fetch(key, failing, options), /away/);
      await clock.tick(100);
      await assert.rejects(one.fetch(key, failing, { forceRefresh: true }), /away/);
      assert.deepEqual(seen, [{ n: 1 }, { n: 1 }, { n: 1 }, undefined]);
    });

    it('gives up with its signal while it waits', async () => {
      const one = start();
      const load = loader();
      const first = one.fetch(key, load);
      await turn();
      const controller = new AbortController();
      const forced = one.fetch(key, load, { forceRefresh: true, signal: controller.signal });
      await turn();
      controller.abort();
      await assert.rejects(forced, { name: 'AbortError' });
      load.calls[0].resolve('value');
      assert.equal(await first, 'value');
      await turn();
      assert.equal(load.calls.length, 1);
    });
  });

  describe('12. a store that cannot be reached', () => {
    it('the loader runs, one per key and process, and its value is given', async () => {
      const [one, two] = [start(), start()];
      one.failure = two.failure = Object.assign(new Error('away'), { code: 'ETIMEDOUT' });
      const load = loader();
      const all = [one, one, two].map((process) => process.fetch(key, load));
      all.push(one.fetch(unique('key'), () => 'another'));
      await turn();
      assert.equal(load.calls.length, 2);
      for (const { resolve } of load.calls) resolve({ n: 1 });
      assert.deepEqual(await Promise.all(all), [{ n: 1 }, { n: 1 }, { n: 1 }, 'another']);
      assert.equal(store.entries.size, 0);
    });

    it('it may go away between claim and settle', async () => {
      const one = start();
      const load = loader();
      const value = one.fetch(key, load);
      await turn();
      one.failure = new Error('away');
      load.calls[0].resolve('value');
      assert.equal(await value, 'value');
    });

    it('those who wait for another process load then', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      one.fetch(key, load);
      await turn();
      const wait = two.leases.wait;
      two.leases.wait = () => Promise.reject(new Error('away'));
      const all = [two.fetch(key, load), two.fetch(key, load)];
      await turn();
      two.leases.wait = wait;
      assert.equal(load.calls.length, 2);
      load.calls[1].resolve('own');
      assert.deepEqual(await Promise.all(all), ['own', 'own']);
    });

    it('without a lease to be had a value is given and not stored', async () => {
      store.most = 0;
      const one = start();
      const load = loader();
      const first = one.fetch(key, load);
      await turn();
      // A write may have come since: this one begins after it.
      const second = one.fetch(key, load);
      const third = one.fetch(key, load);
      await turn();
      assert.equal(load.calls.length, 1);
      load.calls[0].resolve('first');
      assert.equal(await first, 'first');
      await turn();
      load.calls[1].resolve('second');
      assert.deepEqual(await Promise.all([second, third]), ['second', 'second']);
      assert.equal(load.calls.length, 2);
      assert.equal(store.entries.size, 0);
    });

    it('what is wrong with the call is thrown', async () => {
      const one = start();
      one.failure = Object.assign(new TypeError('no key'), { code: 'ERR_INVALID_ARG_TYPE' });
      await assert.rejects(
        one.fetch({}, () => assert.fail('called')),
        /no key/,
      );
    });
  });

  describe('what is the caller’s and throws', () => {
    const frozen = Object.freeze({});
    const thrower = {
      set fetch(value) {
        throw new Error(value);
      },
    };
    /** Takes no listener back. */
    const signal = {
      aborted: false,
      addEventListener: () => {},
      removeEventListener: () => {
        throw new Error('none');
      },
    };

    it('changes nothing of the call', async () => {
      const one = start({ defaults: { staleIfError: 100 } });
      for (const options of [{ status: frozen }, { status: thrower }, { signal }]) {
        const own = unique('key');
        assert.equal(await one.fetch(own, () => 'value', { ...options, ttl: 10 }), 'value');
        assert.equal(await one.fetch(own, () => assert.fail('called'), options), 'value');
        const hanging = () => new Promise(() => {});
        const limited = { ...options, hardTimeout: 1 };
        await assert.rejects(one.fetch(unique('key'), hanging, limited), { code: 'ETIMEDOUT' });
        await clock.tick(11);
        assert.equal(await one.fetch(own, hanging, { ...options, softTimeout: 1 }), 'value');
      }
    });

    it('leaves no run and no lease', async () => {
      const one = start();
      const ownThen = Promise.resolve(1);
      ownThen.then = () => {
        throw new Error('away');
      };
      const ownClass = Object.defineProperty(Promise.resolve(1), 'constructor', {
        get() {
          throw new Error('away');
        },
      });
      for (const given of [ownThen, ownClass]) {
        const own = unique('key');
        await assert.rejects(
          one.fetch(own, () => given),
          /away/,
        );
        assert.equal(store.held.size, 0);
        assert.equal(await one.fetch(own, () => 'value'), 'value');
      }
    });
  });

  describe('13. status', () => {
    it('says how the call went', async () => {
      const [one, two] = [start({ defaults: { staleIfError: 100 } }), start()];
      const all = [{}, {}, {}, {}, {}, {}, {}];
      const [miss, inflight, elsewhere, hit, refresh, stale, failed] = all;
      const load = loader();
      const options = (status, more) => ({ status, ttl: 10, ...more });
      const calls = [
        one.fetch(key, load, options(miss)),
        one.fetch(key, load, options(inflight)),
        two.fetch(key, load, options(elsewhere)),
      ];
      await turn();
      load.calls[0].resolve(1);
      await Promise.all(calls);
      await one.fetch(key, load, options(hit));
      await one.fetch(key, () => 2, options(refresh, { forceRefresh: true }));
      await clock.tick(11);
      const failing = () => Promise.reject(new Error('away'));
      await one.fetch(key, failing, options(stale));
      await one.fetch(unique('key'), failing, options(failed)).catch(() => {});
      assert.deepEqual(
        all.map((status) => status.fetch),
        ['miss', 'inflight', 'hit', 'hit', 'refresh', 'stale', undefined],
      );
      for (const { start: began, duration } of all) {
        assert.ok(began <= clock.now && duration >= 0);
      }
      assert.ok(miss.loadTime >= 0 && miss.loadTime <= miss.duration);
      assert.equal(hit.loadTime, undefined);
    });
  });

  describe('errors', () => {
    it('reach everyone who waited, and are not stored', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const all = [one, one, two, two].map((process) => process.fetch(key, load));
      await turn();
      const cause = new Error('no route');
      const error = Object.assign(new TypeError('away', { cause }), { code: 'E_AWAY' });
      load.calls[0].reject(error);
      const thrownBy = (await Promise.allSettled(all)).map(({ reason }) => reason);
      for (const thrown of thrownBy) {
        assert.ok(thrown instanceof TypeError);
        assert.equal(thrown.name, 'TypeError');
        assert.equal(thrown.message, 'away');
        assert.equal(thrown.code, 'E_AWAY');
        assert.equal(thrown.cause.message, 'no route');
      }
      assert.equal(thrownBy[0], error);
      assert.equal(load.calls.length, 1);
      assert.equal(await two.fetch(key, () => 'value'), 'value');
    });

    it('one that is thrown at once is one that is rejected with', async () => {
      const one = start();
      const failing = () => {
        throw new RangeError('at once');
      };
      await assert.rejects(one.fetch(key, failing), new RangeError('at once'));
      assert.equal(store.held.size, 0);
    });

    it('are stored for errorTtl, for fetch alone', async () => {
      const [one, two] = [start({ defaults: { errorTtl: 50 } }), start()];
      await assert.rejects(
        one.fetch(key, () => Promise.reject(new RangeError('away'))),
        /away/,
      );
      await assert.rejects(
        two.fetch(key, () => assert.fail('called')),
        new RangeError('away'),
      );
      assert.equal(two.get(key), undefined);
      await clock.tick(51);
      assert.equal(await two.fetch(key, () => 'value'), 'value');
    });

    it('forceRefresh tries in spite of a stored error', async () => {
      const one = start({ defaults: { errorTtl: 50 } });
      await one.fetch(key, () => Promise.reject(new Error('away'))).catch(() => {});
      assert.equal(await one.fetch(key, () => 'value', { forceRefresh: true }), 'value');
    });

    it("with onError: 'retry' each waiter tries in turn", async () => {
      const defaults = { onError: 'retry' };
      const [one, two] = [start({ defaults }), start({ defaults })];
      let running = 0;
      let most = 0;
      const failing = (n) => async () => {
        running += 1;
        most = Math.max(most, running);
        await turn();
        running -= 1;
        throw new Error(`away ${n}`);
      };
      const all = [one, one, two, two].map((process, n) => process.fetch(key, failing(n)));
      const messages = (await Promise.allSettled(all)).map(({ reason }) => reason.message);
      assert.deepEqual(messages, ['away 0', 'away 1', 'away 2', 'away 3']);
      assert.equal(most, 1);
    });

    it("with onError: 'retry' a success ends the tries", async () => {
      const one = start({ defaults: { onError: 'retry' } });
      const load = loader();
      const all = Promise.allSettled(Array.from({ length: 5 }, () => one.fetch(key, load)));
      await turn();
      load.calls[0].reject(new Error('away'));
      await turn();
      load.calls[1].resolve('value');
      const results = await all;
      assert.deepEqual(
        results.map(({ status }) => status),
        ['rejected', ...Array(4).fill('fulfilled')],
      );
      assert.equal(load.calls.length, 2);
    });
  });

  describe('close', () => {
    it('aborts loaders, gives leases back, and rejects what waits', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const [loading, following] = [one.fetch(key, load), one.fetch(key, load)];
      await turn();
      const { signal } = load.calls[0].context;
      const other = two.fetch(key, load);
      await turn();
      one.fetcher.close(closed);
      assert.equal(signal.aborted, true);
      assert.equal(signal.reason, closed);
      const ended = await Promise.allSettled([loading, following, one.fetch(key, load)]);
      assert.deepEqual(
        ended.map(({ reason }) => reason),
        [closed, closed, closed],
      );
      await turn();
      assert.equal(load.calls.length, 2);
      load.calls[1].resolve('of another');
      assert.equal(await other, 'of another');
    });

    it('leaves callers of other instances of the process: they begin anew', async () => {
      const process = store.process();
      const [one, two] = [new Fetcher(process), new Fetcher(process)];
      const load = loader();
      const [first, second] = [one.fetch(key, load), two.fetch(key, load)];
      await turn();
      assert.equal(load.calls.length, 1);
      one.close(closed);
      await assert.rejects(first, closed);
      await turn();
      load.calls[1].resolve('value');
      assert.equal(await second, 'value');
    });
  });

  describe('statistics', () => {
    it('count loads, those who waited, failures, and the time of loaders', async () => {
      const [one, two] = [start(), start()];
      const load = loader();
      const all = [one, one, one, two, two].map((process) => process.fetch(key, load));
      await turn();
      load.calls[0].resolve('value');
      await Promise.all(all);
      await one.fetch(unique('key'), () => Promise.reject(new Error('away'))).catch(() => {});
      const { loads, followers, errors, loadTime } = store.counts;
      assert.deepEqual([loads, followers, errors], [2, 4, 1]);
      assert.ok(loadTime >= 0);
    });
  });
});
