'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');

const express = require('express');
const { rateLimit } = require('express-rate-limit');
const LRUCache = require('lru-cache-for-clusters-as-promised');
const { LRUCacheStore: Store } = require('lru-cache-for-clusters-as-promised/express-rate-limit');

let last = 0;

/** A store in a namespace of its own. */
function makeStore(options) {
  last += 1;
  return new Store({ namespace: `express-rate-limit-${last}`, ...options });
}

/** Waits until a condition holds. */
async function until(isSo) {
  while (!(await isSo())) await new Promise(setImmediate);
}

describe('express-rate-limit: the store', () => {
  it('counts in a window that begins with its first hit', async () => {
    const store = makeStore();
    store.init({ windowMs: 60_000 });
    const before = Date.now();
    const first = await store.increment('a');
    assert.equal(first.totalHits, 1);
    assert.ok(first.resetTime instanceof Date);
    assert.ok(first.resetTime >= before + 60_000 && first.resetTime <= Date.now() + 60_000);
    const { resetTime } = await store.get('a');
    assert.equal((await store.increment('a')).totalHits, 2);
    assert.deepEqual(await store.get('a'), { totalHits: 2, resetTime });
    assert.equal((await store.increment('b')).totalHits, 1);
  });

  it('begins anew when the window is over', async () => {
    const store = makeStore();
    store.init({ windowMs: 30 });
    await store.increment('a');
    await until(async () => (await store.get('a')) === undefined);
    assert.equal((await store.increment('a')).totalHits, 1);
  });

  it('takes hits back, neither below 0 nor where there are none', async () => {
    const store = makeStore();
    store.init({ windowMs: 60_000 });
    await store.decrement('a');
    assert.equal(await store.get('a'), undefined);
    await store.increment('a');
    const { resetTime } = await store.get('a');
    await store.decrement('a');
    await store.decrement('a');
    const info = await store.get('a');
    assert.equal(info.totalHits, 0);
    assert.deepEqual(info.resetTime, resetTime, 'the window runs on');
    assert.equal((await store.increment('a')).totalHits, 1);
  });

  it('has a window without an end', async () => {
    const store = makeStore();
    store.init({ windowMs: Infinity });
    assert.deepEqual(await store.increment('a'), { totalHits: 1, resetTime: undefined });
    assert.deepEqual(await store.get('a'), { totalHits: 1, resetTime: undefined });
  });

  it('resets a key', async () => {
    const store = makeStore();
    store.init({ windowMs: 60_000 });
    await store.increment('a');
    await store.increment('b');
    await store.resetKey('a');
    assert.equal(await store.get('a'), undefined);
    assert.equal((await store.get('b')).totalHits, 1);
  });

  it('resets all keys of its prefix', async () => {
    const namespace = 'express-rate-limit-prefixes';
    const [a, b] = ['a:', 'b:'].map((prefix) => new Store({ namespace, prefix }));
    for (const store of [a, b]) {
      store.init({ windowMs: 60_000 });
      await store.increment('x');
    }
    await a.resetAll();
    assert.equal(await a.get('x'), undefined);
    assert.equal((await b.get('x')).totalHits, 1);

    const bare = new Store({ namespace, prefix: '' });
    await bare.resetAll();
    assert.equal(await b.get('x'), undefined);
  });

  it('rejects after shutdown; the counters stay', async () => {
    const namespace = 'express-rate-limit-shutdown';
    const store = new Store({ namespace });
    store.init({ windowMs: 60_000 });
    await store.increment('a');
    await store.shutdown();
    await assert.rejects(store.increment('a'), { code: 'ERR_CLOSED' });
    assert.equal((await new Store({ namespace }).get('a')).totalHits, 1);
  });

  it('rejects whatever `failsafe` says', () => {
    const failsafe = 'resolve';
    // Nothing else shows it in a process without a cluster: the option is not taken.
    const seen = [];
    const { prototype } = LRUCache;
    const hit = prototype.hit;
    prototype.hit = function () {
      seen.push(this.failsafe);
      return Promise.resolve({ count: 1, resetIn: 1, first: true });
    };
    try {
      const store = makeStore({ failsafe });
      store.init({ windowMs: 1 });
      store.increment('a');
    } finally {
      prototype.hit = hit;
    }
    assert.deepEqual(seen, ['reject']);
  });
});

describe('express-rate-limit: in Express', () => {
  let server;
  let url;
  const errors = [];
  const logger = { error: (error) => errors.push(error), warn: (error) => errors.push(error) };

  async function serve(...limiters) {
    const app = express();
    app.use(...limiters);
    app.get('/', (request, response) => response.sendStatus(Number(request.query.status ?? 200)));
    // Express's own handler of errors writes them to the console.
    app.use((error, request, response, next) => (error ? response.sendStatus(500) : next()));
    server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${server.address().port}/`;
  }

  const status = async (query = '') => (await fetch(url + query)).status;

  afterEach(() => {
    server.closeAllConnections();
    server.close();
    errors.length = 0;
  });

  it('limits, and tells when the window ends', async () => {
    const store = makeStore();
    await serve(
      rateLimit({ windowMs: 60_000, limit: 2, standardHeaders: 'draft-8', store, logger }),
    );
    assert.equal(await status(), 200);
    assert.equal(await status(), 200);
    const response = await fetch(url);
    assert.equal(response.status, 429);
    assert.ok(Number(response.headers.get('retry-after')) > 50);
    assert.deepEqual(errors, []);
  });

  it('takes failed requests back', async () => {
    const store = makeStore();
    const options = { windowMs: 60_000, limit: 2, skipFailedRequests: true, store, logger };
    await serve(rateLimit({ ...options, keyGenerator: () => 'k' }));
    for (let n = 0; n < 5; n += 1) {
      assert.equal(await status('?status=500'), 500);
      await until(async () => (await store.get('k')).totalHits === 0);
    }
    assert.equal(await status(), 200);
    assert.equal(await status(), 200);
    assert.equal(await status(), 429);
    assert.deepEqual(errors, []);
  });

  it('lets requests pass two limiters, which are told apart by their namespaces', async () => {
    const [few, many] = [makeStore(), makeStore()];
    await serve(
      rateLimit({ windowMs: 60_000, limit: 100, store: many, logger }),
      rateLimit({ windowMs: 1_000, limit: 1, store: few, logger }),
    );
    assert.equal(await status(), 200);
    assert.equal(await status(), 429);
    assert.deepEqual(errors, []);
  });

  it('tells of one request that is counted twice', async () => {
    const namespace = 'express-rate-limit-double';
    const [a, b] = [new Store({ namespace }), new Store({ namespace })];
    await serve(
      rateLimit({ windowMs: 60_000, limit: 100, store: a, logger }),
      rateLimit({ windowMs: 60_000, limit: 100, store: b, logger }),
    );
    assert.equal(await status(), 200);
    assert.deepEqual(
      errors.map((error) => error.code),
      ['ERR_ERL_DOUBLE_COUNT'],
    );
  });

  it('fails the request where the store fails, unless `passOnStoreError`', async () => {
    const store = makeStore();
    await serve(rateLimit({ windowMs: 60_000, limit: 2, store, logger }));
    await store.shutdown();
    assert.equal(await status(), 500);
    server.close();

    const other = makeStore();
    const options = { windowMs: 60_000, limit: 2, passOnStoreError: true, logger };
    await serve(rateLimit({ ...options, store: other }));
    await other.shutdown();
    assert.equal(await status(), 200);
  });
});
