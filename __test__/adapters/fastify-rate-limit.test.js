'use strict';

const assert = require('node:assert/strict');

const fastify = require('fastify');
const rateLimit = require('@fastify/rate-limit');
const { createStore } = require('lru-cache-for-clusters-as-promised/fastify-rate-limit');

let last = 0;

/** A store class in a namespace of its own. */
function makeStore(options) {
  last += 1;
  return createStore({ namespace: `fastify-rate-limit-${last}`, ...options });
}

/** Calls `incr` or `read` of a store. */
function call(store, method, ...args) {
  const [key, ...others] = args;
  return new Promise((resolve, reject) => {
    store[method](key, (error, result) => (error ? reject(error) : resolve(result)), ...others);
  });
}

/** Waits until a condition holds. */
async function until(isSo) {
  while (!(await isSo())) await new Promise(setImmediate);
}

describe('@fastify/rate-limit: the store', () => {
  it('counts in a window that begins with its first hit', async () => {
    const store = new (makeStore())({});
    assert.deepEqual(await call(store, 'incr', 'a', 60_000, 1), { current: 1, ttl: 60_000 });
    const second = await call(store, 'incr', 'a', 60_000, 1);
    assert.equal(second.current, 2);
    assert.ok(second.ttl > 50_000 && second.ttl <= 60_000);
    assert.equal((await call(store, 'incr', 'b', 60_000, 1)).current, 1);
  });

  it('begins anew when the window is over', async () => {
    const store = new (makeStore())({});
    await call(store, 'incr', 'a', 30, 1);
    await until(async () => (await call(store, 'read', 'a')).current === 0);
    assert.deepEqual(await call(store, 'incr', 'a', 30, 1), { current: 1, ttl: 30 });
  });

  it('reads without counting', async () => {
    const store = new (makeStore())({});
    assert.deepEqual(await call(store, 'read', 'a', 60_000, 1), { current: 0, ttl: 0 });
    await call(store, 'incr', 'a', 60_000, 1);
    for (let n = 0; n < 2; n += 1) {
      const { current, ttl } = await call(store, 'read', 'a', 60_000, 1);
      assert.equal(current, 1);
      assert.ok(ttl > 50_000 && ttl <= 60_000);
    }
  });

  it('begins the window anew with each hit over the limit, with `continueExceeding`', async () => {
    const store = new (makeStore())({ continueExceeding: true });
    await call(store, 'incr', 'a', 1_000, 2);
    assert.ok((await call(store, 'incr', 'a', 60_000, 2)).ttl <= 1_000);
    assert.deepEqual(await call(store, 'incr', 'a', 60_000, 2), { current: 3, ttl: 60_000 });
    assert.deepEqual(await call(store, 'incr', 'a', 60_000, 2), { current: 4, ttl: 60_000 });
  });

  it('doubles the window with each hit over the limit, with `exponentialBackoff`', async () => {
    const store = new (makeStore())({ exponentialBackoff: true });
    const ttls = [];
    for (let n = 0; n < 5; n += 1) ttls.push((await call(store, 'incr', 'a', 1_000, 1)).ttl);
    assert.deepEqual(ttls, [1_000, 1_000, 2_000, 4_000, 8_000]);
  });

  it('counts apart in children, which may be of no route', async () => {
    const Store = makeStore();
    const store = new Store({});
    const routes = [
      { routeInfo: { method: 'GET', url: '/a' } },
      { routeInfo: { method: 'POST', url: '/a' } },
      { routeInfo: { method: ['GET', 'HEAD'], url: '/b' } },
      { routeInfo: { method: 'GET', url: '/a' } },
      { routeInfo: {} },
      { routeInfo: {} },
      {},
      undefined,
    ];
    const children = routes.map((route) => store.child(route));
    for (const child of [store, ...children]) {
      assert.equal((await call(child, 'incr', 'k', 60_000, 9)).current, 1);
    }
    // The same order gives the same counters, as in another process.
    const other = new Store({});
    for (const child of [other, ...routes.map((route) => other.child(route))]) {
      assert.equal((await call(child, 'incr', 'k', 60_000, 9)).current, 2);
    }
  });

  it('takes the options of a child', async () => {
    const store = new (makeStore())({ exponentialBackoff: true });
    const child = store.child({ continueExceeding: true, routeInfo: {} });
    const ttls = [];
    for (let n = 0; n < 4; n += 1) ttls.push((await call(child, 'incr', 'a', 1_000, 1)).ttl);
    assert.deepEqual(ttls, [1_000, 1_000, 1_000, 1_000]);
  });

  it('ends a window of no time at once', async () => {
    const store = new (makeStore())({});
    for (let n = 0; n < 3; n += 1) {
      assert.deepEqual(await call(store, 'incr', 'a', 0, 1), { current: 1, ttl: 0 });
    }
  });

  it('gives errors to the callback', async () => {
    const store = new (makeStore())({});
    await assert.rejects(call(store, 'incr', 'a', NaN, 1), TypeError);
  });
});

describe('@fastify/rate-limit: in Fastify', () => {
  let app;
  afterEach(() => app.close());

  const status = async (url, options) => (await app.inject({ url, ...options })).statusCode;

  it('limits all routes together, and routes with options apart', async () => {
    app = fastify();
    await app.register(rateLimit, { max: 2, timeWindow: '1 minute', store: makeStore() });
    app.get('/a', () => 'a');
    app.get('/b', () => 'b');
    app.get('/c', { config: { rateLimit: { max: 1 } } }, () => 'c');
    assert.equal(await status('/a'), 200);
    assert.equal(await status('/c'), 200);
    assert.equal(await status('/b'), 200);
    const refused = await app.inject({ url: '/a' });
    assert.equal(refused.statusCode, 429);
    assert.equal(refused.headers['x-ratelimit-limit'], '2');
    assert.equal(refused.headers['x-ratelimit-remaining'], '0');
    assert.equal(refused.headers['retry-after'], '60');
    assert.equal(await status('/c'), 429);
  });

  it('bans', async () => {
    app = fastify();
    const options = { max: 1, ban: 1, timeWindow: 60_000, store: makeStore() };
    await app.register(rateLimit, options);
    app.get('/', () => 'ok');
    const statuses = [];
    for (let n = 0; n < 4; n += 1) statuses.push(await status('/'));
    assert.deepEqual(statuses, [200, 429, 403, 403]);
  });

  it('limits by hand, with and without counting', async () => {
    app = fastify();
    await app.register(rateLimit, {
      global: false,
      max: 9,
      timeWindow: 60_000,
      store: makeStore(),
    });
    const [one, two] = [1, 2].map((max) => app.createRateLimit({ max, timeWindow: 60_000 }));
    app.get('/', async (request) => ({
      one: (await one(request)).isExceeded,
      two: (await two(request)).isExceeded,
      read: (await two(request, { increment: false })).remaining,
    }));
    const answers = [];
    for (let n = 0; n < 3; n += 1) answers.push((await app.inject({ url: '/' })).json());
    assert.deepEqual(answers, [
      { one: false, two: false, read: 1 },
      { one: true, two: false, read: 0 },
      { one: true, two: true, read: 0 },
    ]);
  });

  it('counts routes of a group together', async () => {
    app = fastify();
    await app.register(rateLimit, {
      global: false,
      max: 2,
      timeWindow: 60_000,
      store: makeStore(),
    });
    for (const [url, groupId] of [
      ['/a', 'one'],
      ['/b', 'one'],
      ['/c', 'two'],
    ]) {
      const config = { rateLimit: { groupId } };
      app.route({ method: 'GET', url, config, preHandler: app.rateLimit(), handler: () => url });
    }
    const statuses = [];
    for (const url of ['/a', '/b', '/c']) statuses.push(await status(url));
    assert.deepEqual(statuses, [200, 200, 200]);
  });

  it('fails the request where the store fails, unless `skipOnError`', async () => {
    for (const [skipOnError, expected] of [
      [false, 500],
      [true, 200],
    ]) {
      app = fastify();
      const store = makeStore();
      store.prototype.incr = (key, callback) => callback(new Error('away'));
      await app.register(rateLimit, { max: 1, timeWindow: 60_000, skipOnError, store });
      app.get('/', () => 'ok');
      assert.equal(await status('/'), expected);
      await app.close();
    }
  });
});
