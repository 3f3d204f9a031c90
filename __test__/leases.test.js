'use strict';

// The leases of a namespace by the port that `fetch` uses (`lib/transport/leases.js`), on every transport.

const assert = require('node:assert/strict');
const Cache = require('..');
const { TRANSPORTS, processes, unique } = require('./helpers');

/** Opens a cache in a process, and keeps its port there. */
async function open({ Cache: Class, state }, options) {
  const cache = await Class.getInstance(options);
  const symbol = Object.getOwnPropertySymbols(cache).find(
    ({ description }) => description === 'client',
  );
  state.cache = cache;
  state.leases = cache[symbol].leases;
  state.voided = [];
  state.ends = {};
}

const callLease = ({ state }, name, ...args) => state.leases[name](...args);
const callCache = ({ state }, name, ...args) => state.cache[name](...args);
const watch = ({ state }, key, token) => {
  state.ends[token] = state.leases.watch(key, token, () => state.voided.push(token));
};
const endWatch = ({ state }, token) => state.ends[token]();
const voided = ({ state }) => state.voided;

/** One side: an instance in a process, `run` as that of an agent. */
class Side {
  constructor(run) {
    this.run = run;
    const proxy = (call) =>
      new Proxy(
        {},
        {
          get:
            (target, name) =>
            (...args) =>
              run(call, name, ...args),
        },
      );
    this.leases = proxy(callLease);
    this.cache = proxy(callCache);
  }

  /** Waits until the watch of a token was called. Returns the tokens of all that were. */
  async voided(token) {
    const due = performance.now() + 5000;
    for (;;) {
      const found = await this.run(voided);
      if (found.includes(token) || performance.now() > due) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** An instance of this process. */
async function localSide(options) {
  const context = { Cache, state: {} };
  const run = async (fn, ...args) => fn(context, ...args);
  await run(open, options);
  return new Side(run);
}

async function workerSide(agent, options) {
  await agent.run(open, options);
  return new Side((fn, ...args) => agent.run(fn, ...args));
}

/** Writes that end the lease on the key `k`, and what `get` gives then. */
const WRITES = [
  ['set', (cache) => cache.set('k', 'written'), 'written'],
  ['del', (cache) => cache.del('k'), undefined],
  ['reset', (cache) => cache.reset(), undefined],
  ['mSet', (cache) => cache.mSet({ a: 1, k: 'written' }), 'written'],
  ['setMany', (cache) => cache.setMany([['k', 'written']]), 'written'],
  ['mDel', (cache) => cache.mDel(['a', 'k']), undefined],
  ['deleteMany', (cache) => cache.deleteMany(['k']), undefined],
  ['incr', (cache) => cache.incr('k', 2), 2],
  ['decr', (cache) => cache.decr('k', 2), -2],
  ['hit', (cache) => cache.hit('k', 60_000), 1],
  ['setIfAbsent', (cache) => cache.setIfAbsent('k', 'written'), 'written'],
  ['compareAndSet', (cache) => cache.compareAndSet('k', 0, 'written'), 'written'],
  ['getAndDelete', (cache) => cache.getAndDelete('k'), undefined],
  ['a value that can never fit', (cache) => cache.set('k', 'x'.repeat(300_000)), undefined],
];

/** Calls that leave a lease on the key `k`. */
const OTHERS = [
  ['a write of another key', (cache) => cache.set('other', 1)],
  ['get', (cache) => cache.get('k')],
  ['touch', (cache) => cache.touch('k')],
  ['prune', (cache) => cache.prune()],
  ['compareAndSet of another version', (cache) => cache.compareAndSet('k', 12345, 'written')],
  ['an eviction', async (cache) => (await cache.max(1), await cache.set('b', 1), cache.max(10))],
];

/** @param {() => [Side, Side]} sides */
function tests(sides) {
  let owner;
  let other;
  beforeEach(async () => {
    [owner, other] = sides();
    await owner.cache.reset();
  });

  it('one caller has the lease of a key, and the others are told which', async () => {
    const claimed = await owner.leases.claim('k', {});
    assert.equal(claimed.state, 'leased');
    assert.deepEqual(await other.leases.claim('k', {}), { state: 'held', token: claimed.token });
    assert.equal(await other.leases.isHeld('k', claimed.token), true);
    assert.equal((await other.leases.claim('another', {})).state, 'leased');
    const value = { deep: [1, null, 'ü'] };
    const settled = await owner.leases.settle('k', claimed.token, { kind: 'value', value });
    assert.deepEqual(settled, { stored: true, value });
    assert.equal(await other.leases.isHeld('k', claimed.token), false);
    const hit = await other.leases.claim('k', {});
    assert.deepEqual(hit, { state: 'hit', value, setAt: 0, expires: Infinity });
    assert.deepEqual(await other.cache.get('k'), value);
  });

  it('a hit says when the entry was set and when it expires, and counts as a get', async () => {
    const before = Date.now();
    await owner.cache.set('k', 'v', 60_000);
    const { hits, misses } = await owner.cache.stats();
    const { setAt, expires, ...hit } = await other.leases.claim('k', {});
    assert.deepEqual(hit, { state: 'hit', value: 'v' });
    assert.ok(setAt >= before && setAt <= Date.now());
    assert.equal(expires, setAt + 60_000);
    await other.leases.claim('missing', {});
    const after = await owner.cache.stats();
    assert.deepEqual([after.hits - hits, after.misses - misses], [1, 1]);
  });

  it('an entry that has expired is none', async () => {
    await owner.cache.allowStale(true);
    await owner.cache.set('k', 'v', -1);
    assert.equal((await other.leases.claim('k', {})).state, 'leased');
    await owner.cache.allowStale(false);
  });

  it('who waits is told when the value is there', async () => {
    const { token } = await owner.leases.claim('k', {});
    const waits = Array.from({ length: 100 }, () => other.leases.wait('k', token, 5000));
    await other.leases.isHeld('k', token);
    const outcome = { kind: 'value', value: 'v', maxAge: 60_000 };
    await owner.leases.settle('k', token, outcome);
    for (const wait of waits) assert.deepEqual(await wait, { state: 'settled' });
    assert.ok((await other.cache.getRemainingTTL('k')) > 50_000);
    assert.deepEqual(await other.leases.wait('k', token, 5000), { state: 'settled' });
  });

  it('who waits and reads is given the entry, as a claim gives it', async () => {
    const value = 'text ü';
    const before = Date.now();
    const { token } = await owner.leases.claim('k', {});
    const reading = () => other.leases.wait('k', token, 5000, undefined, true);
    const waits = [reading(), reading(), other.leases.wait('k', token, 5000)];
    await other.leases.isHeld('k', token);
    const { hits, misses } = await owner.cache.stats();
    await owner.leases.settle('k', token, { kind: 'value', value, maxAge: 60_000 });
    const ended = await Promise.all(waits);
    assert.deepEqual(ended.pop(), { state: 'settled' });
    // After the end, too: it was claimed before.
    ended.push(await reading());
    for (const { setAt, expires, ...found } of ended) {
      assert.deepEqual(found, { state: 'settled', value });
      assert.ok(setAt >= before && setAt <= Date.now());
      assert.equal(expires, setAt + 60_000);
    }
    const after = await owner.cache.stats();
    assert.deepEqual([after.hits - hits, after.misses - misses], [3, 0]);
  });

  it('who waits and reads is told so where there is no entry', async () => {
    const { token } = await owner.leases.claim('k', {});
    const wait = other.leases.wait('k', token, 5000, undefined, true);
    await other.leases.isHeld('k', token);
    await owner.leases.settle('k', token, { kind: 'unstored', value: { a: 1 } });
    assert.deepEqual(await wait, { state: 'unstored', value: { a: 1 } });
    const next = await owner.leases.claim('k', {});
    assert.equal(next.state, 'leased');
    const given = other.leases.wait('k', next.token, 5000, undefined, true);
    await other.leases.isHeld('k', next.token);
    await owner.leases.release('k', next.token);
    assert.deepEqual(await given, { state: 'gone' });
  });

  for (const [what, value] of [
    ['undefined', undefined],
    ['a number', -0.5],
    ['null', null],
    ['a string', 'text ü'],
    ['an object', { a: [1, 2] }],
    ['a long string', 'x'.repeat(60_000)],
  ]) {
    it(`${what} that is not stored is left for those who wait`, async () => {
      const { token } = await owner.leases.claim('k', {});
      const waits = [other.leases.wait('k', token, 5000), other.leases.wait('k', token, 5000)];
      await other.leases.isHeld('k', token);
      const settled = await owner.leases.settle('k', token, { kind: 'unstored', value });
      assert.equal(settled.stored, false);
      for (const wait of waits) assert.deepEqual(await wait, { state: 'unstored', value });
      assert.deepEqual(await other.leases.wait('k', token, 5000), { state: 'gone' });
      assert.equal((await other.leases.claim('k', {})).state, 'leased');
    });
  }

  it('an error is left for those who wait', async () => {
    const error = JSON.stringify({ name: 'TypeError', message: 'nö' });
    const { token } = await owner.leases.claim('k', {});
    const wait = other.leases.wait('k', token, 5000);
    await other.leases.isHeld('k', token);
    await owner.leases.settle('k', token, { kind: 'error', error });
    assert.deepEqual(await wait, { state: 'error', error });
  });

  it('an outcome that is too long, or that nobody waits for, is gone', async () => {
    const { token } = await owner.leases.claim('k', {});
    const wait = other.leases.wait('k', token, 5000);
    await other.leases.isHeld('k', token);
    await owner.leases.settle('k', token, { kind: 'unstored', value: 'x'.repeat(70_000) });
    assert.deepEqual(await wait, { state: 'gone' });
    const second = await owner.leases.claim('k', {});
    await owner.leases.settle('k', second.token, { kind: 'unstored', value: 1 });
    assert.deepEqual(await other.leases.wait('k', second.token, 5000), { state: 'gone' });
  });

  it('a value that can never fit is left for those who wait', async () => {
    const value = 'x'.repeat(40_000);
    await owner.cache.set('limit', 1);
    await owner.cache.maxSize(30_000);
    const { token } = await owner.leases.claim('k', {});
    const wait = other.leases.wait('k', token, 5000);
    await other.leases.isHeld('k', token);
    const settled = await owner.leases.settle('k', token, { kind: 'value', value });
    assert.deepEqual(settled, { stored: false, value });
    assert.deepEqual(await wait, { state: 'unstored', value });
    await owner.cache.maxSize(1e9);
  });

  it('a lease that is given up is claimed by the next', async () => {
    const { token } = await owner.leases.claim('k', {});
    const wait = other.leases.wait('k', token, 5000);
    await other.leases.isHeld('k', token);
    await owner.leases.release('k', token);
    assert.deepEqual(await wait, { state: 'gone' });
    assert.equal((await other.leases.claim('k', {})).state, 'leased');
  });

  it('a wait ends after its time, and the lease goes on', async () => {
    const { token } = await owner.leases.claim('k', {});
    assert.deepEqual(await other.leases.wait('k', token, 20), { state: 'timeout' });
    const settled = await owner.leases.settle('k', token, { kind: 'value', value: 1 });
    assert.equal(settled.stored, true);
  });

  for (const [name, write, value] of WRITES) {
    it(`${name} makes a lease void`, async () => {
      await owner.cache.maxSize(200_000);
      for (const writer of [other, owner]) {
        await owner.cache.reset();
        const { token } = await owner.leases.claim('k', {});
        await owner.run(watch, 'k', token);
        const wait = other.leases.wait('k', token, 5000);
        await other.leases.isHeld('k', token);
        await write(writer.cache);
        assert.equal(await owner.leases.isHeld('k', token), false);
        assert.ok((await owner.voided(token)).includes(token));
        const next = await other.leases.claim('k', { fresh: true });
        assert.equal(next.state, 'leased', 'who comes after the write begins anew');
        const late = await owner.leases.settle('k', token, { kind: 'value', value: 'late' });
        assert.equal(late.stored, false);
        assert.deepEqual(await wait, { state: 'unstored', value: 'late' });
        assert.equal(await other.cache.get('k'), value);
        assert.equal(await other.leases.isHeld('k', next.token), true);
      }
      await owner.cache.maxSize(1e9);
    });
  }

  it('who waits for a void lease gets an error of its owner, or claims where it is given up', async () => {
    const error = JSON.stringify({ name: 'Error', message: 'late' });
    for (const [settlement, expected] of [
      [
        { kind: 'error', error, ttl: 60_000 },
        { state: 'error', error },
      ],
      [undefined, { state: 'gone' }],
    ]) {
      const { token } = await owner.leases.claim('k', {});
      const wait = other.leases.wait('k', token, 5000);
      await other.leases.isHeld('k', token);
      await other.cache.del('k');
      if (settlement) await owner.leases.settle('k', token, settlement);
      else await owner.leases.release('k', token);
      assert.deepEqual(await wait, expected);
      const claimed = await other.leases.claim('k', {});
      assert.equal(claimed.state, 'leased', 'the error is not stored');
      await other.leases.release('k', claimed.token);
    }
  });

  it('who waits for a void lease claims after its time', async () => {
    const { token } = await owner.leases.claim('k', { leaseTimeout: 60 });
    const wait = other.leases.wait('k', token, 5000);
    await other.leases.isHeld('k', token);
    await other.cache.set('k', 1);
    const { state } = await wait;
    assert.ok(['gone', 'settled'].includes(state), state);
    const late = await owner.leases.settle('k', token, { kind: 'value', value: 'late' });
    assert.deepEqual([late.stored, await other.cache.get('k')], [false, 1]);
  });

  it('an invalidation of a tag given at settle makes a lease void, of another does not', async () => {
    for (const [tags, stored] of [
      [['a', 'b'], false],
      ['b', false],
      [['c'], true],
      [undefined, true],
    ]) {
      await owner.cache.invalidateTags('a');
      const { token } = await owner.leases.claim('k', {});
      await other.cache.invalidateTags(['b', 'd']);
      const settled = await owner.leases.settle('k', token, { kind: 'value', value: 'v', tags });
      assert.equal(settled.stored, stored, String(tags));
      assert.equal(await other.cache.get('k'), stored ? 'v' : undefined);
      if (tags?.[0] === 'c') await other.cache.invalidateTags('c');
      else await other.cache.del('k');
      assert.equal(await other.cache.get('k'), undefined);
    }
  });

  for (const [name, call] of OTHERS) {
    it(`${name} leaves a lease as it is`, async () => {
      await owner.cache.set('k', 'old');
      const { token } = await owner.leases.claim('k', { fresh: true });
      await call(other.cache);
      const settled = await owner.leases.settle('k', token, { kind: 'value', value: 'new' });
      assert.equal(settled.stored, true);
      assert.equal(await other.cache.get('k'), 'new');
    });
  }

  it('a fresh value is claimed beside an entry, one at a time', async () => {
    await owner.cache.set('k', 'old');
    const claimed = await owner.leases.claim('k', { fresh: true });
    assert.equal(claimed.state, 'leased');
    const held = await other.leases.claim('k', { fresh: true });
    const stale = { value: 'old', setAt: 0, expires: Infinity };
    assert.deepEqual(held, { state: 'held', token: claimed.token, stale });
    assert.deepEqual(claimed.stale, stale);
    assert.equal((await other.leases.claim('k', {})).value, 'old');
    await owner.leases.settle('k', claimed.token, { kind: 'value', value: 'new' });
    assert.equal((await other.leases.claim('k', {})).value, 'new');
  });

  it('has no end where leaseTimeout is infinite', async () => {
    const { token } = await owner.leases.claim('k', { leaseTimeout: Infinity });
    assert.deepEqual(await other.leases.claim('k', {}), { state: 'held', token });
  });

  it('after a renewal that failed no process renews, and who needs the value claims', async () => {
    const renewal = { fresh: true, renew: true };
    const fail = async (token, rest) => {
      const outcome = { kind: 'error', error: '{}', rest };
      assert.deepEqual(await owner.leases.settle('k', token, outcome), { stored: false });
    };
    await owner.cache.set('k', 'old');
    await fail((await owner.leases.claim('k', renewal)).token, 60_000);
    for (const { leases } of [owner, other]) {
      const { state, left, stale } = await leases.claim('k', renewal);
      assert.deepEqual([state, stale.value], ['resting', 'old']);
      assert.ok(left > 50_000 && left <= 60_000);
      assert.equal((await leases.claim('k', { renew: true })).state, 'hit');
    }
    const { state, token } = await other.leases.claim('k', { fresh: true });
    assert.equal(state, 'leased');
    assert.equal((await owner.leases.claim('k', renewal)).token, token);
    await other.leases.release('k', token);
    // The rest is over with that, and with a write.
    await fail((await owner.leases.claim('k', renewal)).token, 60_000);
    await other.cache.set('k', 'new');
    assert.equal((await owner.leases.claim('k', renewal)).state, 'leased');
    // Without an entry there is nothing to renew.
    await owner.cache.del('k');
    await fail((await owner.leases.claim('k', {})).token, 60_000);
    assert.equal((await other.leases.claim('k', renewal)).state, 'leased');
  });

  it('after its time another claims, and the late result is void', async () => {
    const late = await owner.leases.claim('k', { leaseTimeout: 60 });
    await owner.run(watch, 'k', late.token);
    const begin = performance.now();
    assert.deepEqual(await other.leases.wait('k', late.token, 5000), { state: 'gone' });
    assert.ok(performance.now() - begin > 40);
    assert.deepEqual(await owner.run(voided), [], 'nobody has claimed yet');
    const next = await other.leases.claim('k', {});
    assert.equal(next.state, 'leased');
    assert.deepEqual(await owner.voided(late.token), [late.token]);
    const settled = await owner.leases.settle('k', late.token, { kind: 'value', value: 'late' });
    assert.equal(settled.stored, false);
    await other.leases.settle('k', next.token, { kind: 'value', value: 'next' });
    assert.equal(await owner.cache.get('k'), 'next');
  });

  it('after its time a lease that nobody claims stores its result', async () => {
    const { token } = await owner.leases.claim('k', { leaseTimeout: 20 });
    assert.deepEqual(await other.leases.wait('k', token, 5000), { state: 'gone' });
    const settled = await owner.leases.settle('k', token, { kind: 'value', value: 'late' });
    assert.equal(settled.stored, true);
  });

  it('its own settle calls no watch, nor does a watch that was ended', async () => {
    for (const [key, outcome] of [
      ['k', { kind: 'value', value: 1 }],
      ['l', { kind: 'unstored', value: 1 }],
    ]) {
      const { token } = await owner.leases.claim(key, {});
      await owner.run(watch, key, token);
      const wait = other.leases.wait(key, token, 5000);
      await owner.leases.settle(key, token, outcome);
      await wait;
    }
    const ended = await owner.leases.claim('m', {});
    await owner.run(watch, 'm', ended.token);
    await owner.run(endWatch, ended.token);
    const sentinel = await owner.leases.claim('n', {});
    await owner.run(watch, 'n', sentinel.token);
    await other.cache.mSet({ m: 1, n: 1 });
    assert.deepEqual(await owner.voided(sentinel.token), [sentinel.token]);
  });

  it('its owner knows whether somebody waits', async () => {
    const { token } = await owner.leases.claim('k', {});
    await owner.run(watch, 'k', token);
    assert.equal(await owner.leases.isAwaited('k', token), false);
    const wait = other.leases.wait('k', token, 100);
    await other.leases.isHeld('k', token);
    assert.equal(await owner.leases.isAwaited('k', token), true);
    assert.deepEqual(await wait, { state: 'timeout' });
    assert.equal(await owner.leases.isAwaited('k', token), false);
  });

  it('a copy is what get gives, and each is another', async () => {
    const given = await owner.run(({ state }) => {
      const value = { a: [1, undefined], date: new Date(0) };
      const copies = state.leases.copier(value);
      const [first, second] = [copies(), copies()];
      return [first, second, state.leases.copier('text')(), first === second && first !== value];
    });
    await owner.cache.set('k', { a: [1, undefined], date: new Date(0) });
    const value = await owner.cache.get('k');
    assert.deepEqual(given, [value, value, 'text', false]);
  });

  it('keys of all kinds have leases of their own', async () => {
    const keys = ['1', 1, true, null, 1n, 'x'.repeat(500)];
    const tokens = new Set();
    for (const key of keys) {
      const { state, token } = await owner.leases.claim(key, {});
      assert.equal(state, 'leased', String(key));
      tokens.add(token);
      await other.cache.set(key, 1);
      assert.equal(await owner.leases.isHeld(key, token), false, String(key));
    }
    assert.equal(tokens.size, keys.length);
  });

  it('there is an end to leases, and who gets none is told', async () => {
    const states = [];
    for (let key = 0; key < 2200; key += 1) {
      states.push((await owner.leases.claim(`many ${key}`, {})).state);
    }
    assert.ok(states.filter((state) => state === 'leased').length > 1000);
    assert.ok(states.includes('full'));
    await owner.cache.reset();
    assert.equal((await other.leases.claim('many 1', {})).state, 'leased');
  }).timeout(60_000);
}

describe('leases in one process', () => {
  let both;
  before(async () => {
    const namespace = unique('leases');
    both = [await localSide({ namespace }), await localSide({ namespace })];
  });
  beforeEach(async () =>
    Promise.all(both.map((side) => side.run(({ state }) => (state.voided = [])))),
  );
  tests(() => both);

  it('values that stay by reference are given as they are', async () => {
    const [{ leases, cache }] = both;
    const value = { by: 'reference' };
    const { token } = await leases.claim('by reference', {});
    const settled = await leases.settle('by reference', token, { kind: 'value', value });
    assert.equal(settled.value, value);
    assert.equal(await cache.get('by reference'), value);
  });
});

for (const transport of TRANSPORTS) {
  describe(`leases of workers, transport: ${transport}`, () => {
    const { worker } = processes();
    const namespace = unique('leases');
    let agents;
    let both;
    let primary;
    before(async () => {
      agents = [await worker({ transport }), await worker({ transport })];
      both = await Promise.all(
        agents.map((agent) => workerSide(agent, { namespace, timeout: 10_000 })),
      );
      primary = await localSide({ namespace, timeout: 10_000 });
    });
    beforeEach(async () =>
      Promise.all(both.map((side) => side.run(({ state }) => void (state.voided = [])))),
    );

    describe('between two workers', () => {
      tests(() => both);

      it('each who waits and reads is given a value of its own', async () => {
        const [owner, other] = both;
        const value = { deep: [1, null, 'ü'] };
        const { token } = await owner.leases.claim('own', {});
        const waiting = other.run(async ({ state }, given) => {
          const wait = () => state.leases.wait('own', given, 5000, undefined, true);
          const ended = await Promise.all([wait(), wait(), wait()]);
          return [ended, new Set(ended.map((one) => one.value)).size];
        }, token);
        await other.leases.isHeld('own', token);
        await owner.leases.settle('own', token, { kind: 'value', value });
        const [ended, different] = await waiting;
        for (const one of ended) assert.deepEqual([one.state, one.value], ['settled', value]);
        assert.equal(different, 3);
      });
    });
    describe('between a worker and the primary', () => {
      beforeEach(async () => primary.run(({ state }) => void (state.voided = [])));
      tests(() => [both[0], primary]);
    });
    describe('between the primary and a worker', () => {
      beforeEach(async () => primary.run(({ state }) => void (state.voided = [])));
      tests(() => [primary, both[0]]);
    });
  });

  describe(`owners of leases that end, transport: ${transport}`, () => {
    const { worker } = processes();
    const options = { namespace: unique('leases'), timeout: 10_000 };

    it('is killed: who waits claims within 100 ms', async () => {
      const waiter = await workerSide(await worker({ transport }), options);
      const times = [];
      for (let round = 0; round < 5; round += 1) {
        const agent = await worker({ transport });
        const owner = await workerSide(agent, options);
        const { token } = await owner.leases.claim(`k${round}`, {});
        const wait = waiter.leases.wait(`k${round}`, token, 20_000);
        await waiter.leases.isHeld(`k${round}`, token);
        const begin = performance.now();
        await agent.kill();
        assert.deepEqual(await wait, { state: 'gone' });
        assert.equal((await waiter.leases.claim(`k${round}`, {})).state, 'leased');
        times.push(performance.now() - begin);
      }
      times.sort((a, b) => a - b);
      assert.ok(times[2] < 150, `${times}`);
    }).timeout(60_000);

    it('is killed while nobody waits: the next claim takes over', async () => {
      const next = await workerSide(await worker({ transport }), options);
      const agent = await worker({ transport });
      const owner = await workerSide(agent, options);
      const { token } = await owner.leases.claim('unwatched', {});
      await agent.kill();
      // By IPC the primary has to hear of the end first.
      if (transport === 'ipc') await next.leases.wait('unwatched', token, 5000);
      assert.equal((await next.leases.claim('unwatched', {})).state, 'leased');
    }).timeout(60_000);

    it('is stopped: who waits claims after the time of the lease', async () => {
      const waiter = await workerSide(await worker({ transport }), options);
      const agent = await worker({ transport });
      const owner = await workerSide(agent, options);
      const { token } = await owner.leases.claim('stopped', { leaseTimeout: 300 });
      agent.child.kill('SIGSTOP');
      const begin = performance.now();
      assert.deepEqual(await waiter.leases.wait('stopped', token, 20_000), { state: 'gone' });
      const next = await waiter.leases.claim('stopped', {});
      assert.equal(next.state, 'leased');
      assert.ok(performance.now() - begin < 2000);
      agent.child.kill('SIGCONT');
      const late = await owner.leases.settle('stopped', token, { kind: 'value', value: 'late' });
      assert.equal(late.stored, false);
    }).timeout(60_000);

    it('is closed: its leases are given back at once', async () => {
      const waiter = await workerSide(await worker({ transport }), options);
      const owner = await workerSide(await worker({ transport }), options);
      const { token } = await owner.leases.claim('closed', {});
      const wait = waiter.leases.wait('closed', token, 20_000);
      await waiter.leases.isHeld('closed', token);
      await owner.cache.close();
      assert.deepEqual(await wait, { state: 'gone' });
      await assert.rejects(owner.leases.claim('closed', {}), { code: 'ERR_CLOSED' });
    }).timeout(60_000);
  });
}
