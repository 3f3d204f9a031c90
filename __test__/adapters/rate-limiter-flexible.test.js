'use strict';

// After the tests of `rate-limiter-flexible` for its own stores.

const assert = require('node:assert/strict');

const {
  BurstyRateLimiter,
  RateLimiterMemory,
  RateLimiterQueue,
  RateLimiterRes,
  RateLimiterUnion,
} = require('rate-limiter-flexible');
const LRUCache = require('lru-cache-for-clusters-as-promised');
const {
  RateLimiterLRUCache: Limiter,
} = require('lru-cache-for-clusters-as-promised/rate-limiter-flexible');

let last = 0;

/** A limiter in a namespace of its own. */
function make(options, cache) {
  last += 1;
  return new Limiter({ ...options, cache: { namespace: `flexible-${last}`, ...cache } });
}

/** What a Promise is rejected with. */
async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('It was not rejected.');
}

/** Waits until a condition holds. */
async function until(isSo) {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('rate-limiter-flexible: the limiter', () => {
  it('consumes points', async () => {
    const limiter = make({ points: 2, duration: 5 });
    const first = await limiter.consume('a');
    assert.ok(first instanceof RateLimiterRes);
    assert.deepEqual(first.toJSON(), {
      remainingPoints: 1,
      msBeforeNext: 5000,
      consumedPoints: 1,
      isFirstInDuration: true,
    });
    const second = await limiter.consume('a');
    assert.equal(second.consumedPoints, 2);
    assert.equal(second.remainingPoints, 0);
    assert.equal(second.isFirstInDuration, false);
    assert.ok(second.msBeforeNext > 4000 && second.msBeforeNext <= 5000);
    assert.equal((await limiter.consume('b')).consumedPoints, 1);
  });

  it('rejects what is over the points', async () => {
    const limiter = make({ points: 1, duration: 5 });
    const rejected = await rejection(limiter.consume('a', 2));
    assert.ok(rejected instanceof RateLimiterRes);
    assert.equal(rejected.consumedPoints, 2);
    assert.equal(rejected.remainingPoints, 0);
    assert.ok(rejected.msBeforeNext > 4000 && rejected.msBeforeNext <= 5000);
  });

  it('lets nothing pass with 0 points', async () => {
    const limiter = make({ points: 0, duration: 5 });
    assert.equal((await rejection(limiter.consume('a'))).consumedPoints, 1);
  });

  it('begins anew when the duration is over', async () => {
    const limiter = make({ points: 1, duration: 0.05 });
    await limiter.consume('a');
    await until(async () => (await limiter.get('a')) === null);
    const again = await limiter.consume('a');
    assert.equal(again.consumedPoints, 1);
    assert.equal(again.isFirstInDuration, true);
  });

  it('never ends with duration 0', async () => {
    const limiter = make({ points: 2, duration: 0 });
    assert.equal((await limiter.consume('a')).msBeforeNext, -1);
    await limiter.consume('a');
    const got = await limiter.get('a');
    assert.equal(got.consumedPoints, 2);
    assert.equal(got.msBeforeNext, -1);
    await rejection(limiter.consume('a'));
  });

  it('executes evenly', async () => {
    const limiter = make({ points: 2, duration: 0.4, execEvenly: true });
    await limiter.consume('a');
    const begun = performance.now();
    const second = await limiter.consume('a');
    // 400 ms / (0 remaining points + 2), or 200 ms for a point.
    assert.ok(performance.now() - begun >= 150);
    assert.ok(second.msBeforeNext <= 250);
  });

  it('executes evenly with a least delay', async () => {
    const limiter = make({ points: 100, duration: 1, execEvenly: true, execEvenlyMinDelayMs: 20 });
    await limiter.consume('a');
    const begun = performance.now();
    await limiter.consume('a');
    assert.ok(performance.now() - begun >= 19);
  });

  it('gives penalties and rewards', async () => {
    const limiter = make({ points: 3, duration: 5 });
    await limiter.consume('a');
    const penalty = await limiter.penalty('a', 3);
    assert.equal(penalty.consumedPoints, 4);
    assert.equal(penalty.remainingPoints, 0);
    const reward = await limiter.reward('a', 2);
    assert.equal(reward.consumedPoints, 2);
    assert.equal(reward.remainingPoints, 1);
    assert.ok(reward.msBeforeNext > 4000);
  });

  it('rewards below 0, so that more can be consumed', async () => {
    const limiter = make({ points: 1, duration: 5 });
    const reward = await limiter.reward('a', 2);
    assert.equal(reward.consumedPoints, -2);
    assert.equal(reward.remainingPoints, 3);
    for (let n = 0; n < 3; n += 1) await limiter.consume('a');
    assert.equal((await rejection(limiter.consume('a'))).consumedPoints, 2);
  });

  it('blocks for the block duration what is over the points', async () => {
    const limiter = make({ points: 1, duration: 0.05, blockDuration: 5 });
    const rejected = await rejection(limiter.consume('a', 2));
    assert.equal(rejected.msBeforeNext, 5000);
    const got = await limiter.get('a');
    assert.equal(got.consumedPoints, 2);
    assert.ok(got.msBeforeNext > 4000);
    const again = await rejection(limiter.consume('a'));
    assert.ok(again.msBeforeNext > 4000 && again.msBeforeNext <= 5000, 'it is not blocked anew');
  });

  it('ends a block', async () => {
    const limiter = make({ points: 1, duration: 5, blockDuration: 0.05 });
    await rejection(limiter.consume('a', 2));
    await until(async () => (await limiter.get('a')) === null);
    assert.equal((await limiter.consume('a')).consumedPoints, 1);
  });

  it('blocks from `blockOnConsumed` points on', async () => {
    const limiter = make({ points: 1, duration: 5, blockDuration: 60, blockOnConsumed: 3 });
    await limiter.consume('a');
    assert.ok((await rejection(limiter.consume('a'))).msBeforeNext <= 5000);
    assert.equal((await rejection(limiter.consume('a'))).msBeforeNext, 60_000);
  });

  it('blocks keys, also forever', async () => {
    const limiter = make({ points: 1, duration: 1 });
    const blocked = await limiter.block('a', 2);
    assert.equal(blocked.consumedPoints, 2);
    assert.equal(blocked.msBeforeNext, 2000);
    assert.ok((await rejection(limiter.consume('a'))).msBeforeNext > 1000);

    assert.equal((await limiter.block('b', 0)).msBeforeNext, -1);
    assert.equal((await rejection(limiter.consume('b'))).msBeforeNext, -1);
    assert.equal((await limiter.get('b')).msBeforeNext, -1);
  });

  it('sets points, also forever', async () => {
    const limiter = make({ points: 20, duration: 1 });
    await limiter.set('a', 12);
    const got = await limiter.get('a');
    assert.equal(got.consumedPoints, 12);
    assert.equal(got.remainingPoints, 8);
    assert.ok(got.msBeforeNext > 0 && got.msBeforeNext <= 1000);
    assert.equal((await limiter.consume('a')).consumedPoints, 13);

    await limiter.set('b', 12, 0);
    assert.equal((await limiter.get('b')).msBeforeNext, -1);
  });

  it('takes the duration of a call', async () => {
    const limiter = make({ points: 2, duration: 5 });
    assert.equal((await limiter.consume('a', 1, { customDuration: 1 })).msBeforeNext, 1000);
    assert.ok((await limiter.consume('a', 1, { customDuration: 9 })).msBeforeNext <= 1000);
  });

  it('gets null where there is nothing, and deletes', async () => {
    const limiter = make({ points: 2, duration: 5 });
    assert.equal(await limiter.get('a'), null);
    assert.equal(await limiter.delete('a'), false);
    await limiter.consume('a');
    assert.equal((await limiter.get('a')).isFirstInDuration, false);
    assert.equal(await limiter.delete('a'), true);
    assert.equal(await limiter.get('a'), null);
  });

  it('blocks in the memory of the process', async () => {
    const options = { points: 1, duration: 5, inMemoryBlockOnConsumed: 2 };
    const namespace = 'flexible-in-memory';
    const limiter = make({ ...options, inMemoryBlockDuration: 10 }, { namespace });
    await limiter.consume('a');
    assert.equal((await rejection(limiter.consume('a'))).msBeforeNext, 10_000);
    const blocked = await rejection(limiter.consume('a'));
    assert.ok(blocked.msBeforeNext > 5000);
    // The store is not asked.
    assert.equal((await limiter.get('a')).consumedPoints, 2);
    await limiter.delete('a');
    assert.equal((await limiter.consume('a')).consumedPoints, 1);
  });

  it('blocks in the memory of the process until the duration is over', async () => {
    const limiter = make({ points: 1, duration: 0.2, inMemoryBlockOnConsumed: 1 });
    await limiter.consume('a');
    const blocked = await rejection(limiter.consume('a'));
    assert.ok(blocked.msBeforeNext > 0 && blocked.msBeforeNext <= 200);
    await until(async () => (await limiter.get('a')) === null);
    await until(() => limiter.getInMemoryBlockMsBeforeExpire(limiter.getKey('a')) === 0);
    assert.equal((await limiter.consume('a')).consumedPoints, 1);
  });

  it('asks its insurance where the cache fails', async () => {
    const insuranceLimiter = new RateLimiterMemory({ points: 2, duration: 2 });
    const limiter = make({ points: 1, duration: 1, insuranceLimiter });
    await limiter.close();
    assert.equal((await limiter.consume('a')).remainingPoints, 1);
    assert.equal((await limiter.penalty('a')).consumedPoints, 2);
    assert.equal((await limiter.reward('a')).consumedPoints, 1);
    assert.equal((await limiter.get('a')).consumedPoints, 1);
    assert.equal((await limiter.block('b', 3)).msBeforeNext, 3000);
    assert.equal((await limiter.set('c', 5, 3)).consumedPoints, 5);
    assert.equal(await limiter.delete('c'), true);
  });

  it('rejects with an error where the cache fails and there is no insurance', async () => {
    const limiter = make({ points: 1, duration: 1 });
    await limiter.close();
    for (const call of ['consume', 'penalty', 'reward', 'get', 'delete']) {
      await assert.rejects(limiter[call]('a'), { code: 'ERR_CLOSED' }, call);
    }
    await assert.rejects(limiter.block('a', 1), { code: 'ERR_CLOSED' });
    await assert.rejects(limiter.set('a', 1, 1), { code: 'ERR_CLOSED' });
  });

  it('keeps limiters apart by `keyPrefix`, and by the namespace', async () => {
    const namespace = 'flexible-prefixes';
    const a = make({ points: 5, duration: 5, keyPrefix: 'a' }, { namespace });
    const b = make({ points: 5, duration: 5, keyPrefix: 'b' }, { namespace });
    const bare = make({ points: 5, duration: 5, keyPrefix: '' }, { namespace });
    await a.consume('x');
    assert.equal((await b.consume('x')).consumedPoints, 1);
    assert.equal((await bare.consume('a:x')).consumedPoints, 2);
    assert.equal(
      (await make({ points: 5, duration: 5, keyPrefix: 'a' }).consume('x')).consumedPoints,
      1,
    );
  });

  it('refuses the options that the package refuses', () => {
    const options = { points: 2, duration: 1 };
    assert.throws(() => make({ ...options, inMemoryBlockDuration: 2 }), /inMemoryBlockOnConsumed/);
    assert.throws(
      () => make({ ...options, inMemoryBlockOnConsumed: 1 }),
      /inMemoryBlockOnConsumed/,
    );
  });

  it('stores plain numbers, which a cache of the namespace reads', async () => {
    const limiter = make({ points: 5, duration: 5 }, { namespace: 'flexible-plain' });
    await limiter.consume('a', 3);
    const cache = new LRUCache({ namespace: 'flexible-plain' });
    assert.equal(await cache.get(limiter.getKey('a')), 3);
  });

  it('works in what the package builds of limiters', async () => {
    const union = new RateLimiterUnion(
      make({ points: 1, duration: 5, keyPrefix: 'one' }),
      make({ points: 2, duration: 60, keyPrefix: 'two' }),
    );
    await union.consume('a');
    const rejected = await rejection(union.consume('a'));
    assert.equal(rejected.one.consumedPoints, 2);

    const bursty = new BurstyRateLimiter(
      make({ points: 1, duration: 5 }),
      make({ points: 1, duration: 5, keyPrefix: 'burst' }),
    );
    await bursty.consume('a');
    await bursty.consume('a');
    await rejection(bursty.consume('a'));

    const queue = new RateLimiterQueue(make({ points: 1, duration: 0.05 }));
    await queue.removeTokens(1);
    assert.equal(await queue.removeTokens(1), 0);
  });
});
