'use strict';

// The remote tier: what two machines see of each other. One is the workers of this process, on each transport; the other is a process
// of its own, which shares no memory with them.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { TRANSPORTS, processes, unique, until } = require('../helpers');
const { CLIENTS, Proxy, describeServers, endClient, startServer } = require('./servers');

/** Opens an instance in an agent; its calls are made from here. Resolves when the server tells it what changes. */
async function open(agent, options) {
  const cache = await agent.open(options);
  await until(async () => (await cache.stats()).remote.state === 'on');
  return cache;
}

/** Writes of the key `k`, which was `old`, and what is there then. */
const WRITES = [
  ['set', (cache) => cache.set('k', 'new'), 'new'],
  ['set with an age', (cache) => cache.set('k', 'new', 60_000), 'new'],
  ['set with tags', (cache) => cache.set('k', 'new', { tags: ['a', 'b'] }), 'new'],
  ['mSet', (cache) => cache.mSet({ a: 1, k: 'new' }), 'new'],
  ['setMany', (cache) => cache.setMany([['k', 'new']]), 'new'],
  ['del', (cache) => cache.del('k'), undefined],
  ['delete', (cache) => cache.delete('k'), undefined],
  ['mDel', (cache) => cache.mDel(['a', 'k']), undefined],
  ['deleteMany', (cache) => cache.deleteMany(['k']), undefined],
  ['getAndDelete', (cache) => cache.getAndDelete('k'), undefined],
  ['incr', (cache) => cache.incr('k', 2), 2],
  ['decr', (cache) => cache.decr('k', 2), -2],
  ['hit', (cache) => cache.hit('k', 60_000), 1],
  ['reset', (cache) => cache.reset(), undefined],
  ['clear', (cache) => cache.clear(), undefined],
  ['deletePrefix', (cache) => cache.deletePrefix('k'), undefined],
  ['invalidateTags', (cache) => cache.invalidateTags(['x']), undefined],
  [
    'compareAndSet',
    async (cache) => cache.compareAndSet('k', (await cache.getEntry('k')).version, 'new'),
    'new',
  ],
  [
    'compareAndDelete',
    async (cache) => cache.compareAndDelete('k', (await cache.getEntry('k')).version),
    undefined,
  ],
];

/** @param {() => any} one @param {() => any} sibling @param {() => any} far another machine */
function sharedTests(one, sibling, far) {
  beforeEach(() => one().reset());

  it('a value that one machine has set is read by the others, and not each time from the server', async () => {
    const value = { deep: [1, null, 'ü'], text: 'x'.repeat(3000) };
    assert.equal(await one().set('k', value), true);
    const hits = async () => (await sibling().stats()).remote.hits;
    let reads = 0;
    // What is told of the write itself may come after the first read.
    await until(async () => {
      const before = await hits();
      reads += 1;
      assert.deepEqual(await sibling().get('k'), value);
      return (await hits()) === before;
    });
    assert.ok(reads <= 3, `${reads} reads`);
    const before = await hits();
    for (let times = 0; times < 5; times += 1) assert.deepEqual(await sibling().get('k'), value);
    assert.deepEqual(await one().get('k'), value);
    assert.deepEqual(await far().get('k'), value);
    assert.equal(await hits(), before);
  });

  it('every kind of key and value is the same on the other machine', async () => {
    const keys = ['text', 'a:{b}', '', 1, -0.5, 12n, true, null, '\ud800', 'ü\0'];
    const values = ['text', '', 0, -0, 1e300, NaN, -Infinity, true, false, null, [1], 'a\ud800b'];
    for (const key of keys) {
      for (const value of [key === 12n ? 12 : key, 'again']) {
        await one().set(key, value);
        await until(async () => Object.is(await far().get(key), value));
      }
    }
    for (const [at, value] of values.entries()) {
      await one().set(`value ${at}`, value);
      assert.deepEqual(await far().get(`value ${at}`), value);
    }
    await one().set('nothing', undefined);
    assert.equal(await far().get('nothing'), undefined);
    assert.equal((await far().getEntry('nothing')).value, undefined);
  });

  for (const [name, write, after] of WRITES) {
    it(`after ${name} no process of the machine reads what was there, and soon no other`, async () => {
      await one().set('k', 'old', { tags: ['x'] });
      for (const cache of [one(), sibling(), far()]) assert.equal(await cache.get('k'), 'old');
      await write(one());
      assert.deepEqual([await one().get('k'), await sibling().get('k')], [after, after]);
      await until(async () => (await far().get('k')) === after);
    });
  }

  it('reads of many keys go through', async () => {
    await far().mSet({ a: 1, b: 'zwei', c: { three: 3 } });
    await one().set('d', 4);
    const keys = ['a', 'b', 'none', 'c', 'd'];
    const values = [1, 'zwei', undefined, { three: 3 }, 4];
    for (const cache of [one(), sibling(), far(), one()]) {
      assert.deepEqual(await cache.getMany(keys), values);
      assert.deepEqual(await cache.mGet(keys), { a: 1, b: 'zwei', c: { three: 3 }, d: 4 });
      assert.deepEqual(await cache.hasMany(keys), [true, true, false, true, true]);
      assert.equal(await cache.has('a'), true);
      assert.equal(await cache.has('none'), false);
    }
  });

  it('counters of all machines are one', async () => {
    const caches = [one(), sibling(), far()];
    const counted = await Promise.all(
      Array.from({ length: 300 }, (_, at) => caches[at % 3].incr('n')),
    );
    assert.deepEqual(
      counted.sort((a, b) => a - b),
      Array.from({ length: 300 }, (_, at) => at + 1),
    );
    for (const cache of caches) await until(async () => (await cache.get('n')) === 300);
    assert.equal(await far().decr('n', 0.5), 299.5);
    assert.equal(await one().incr('n', 1e21), 1e21 + 299.5);
    const hits = await Promise.all(caches.map((cache) => cache.hit('h', 60_000)));
    assert.deepEqual(hits.map(({ count }) => count).sort(), [1, 2, 3]);
    assert.deepEqual(hits.map(({ first }) => first).sort(), [false, false, true]);
  });

  it('hit rejects what it rejects without a server', async () => {
    const WRONG = [
      [0],
      [NaN],
      ['1000'],
      [1000, { amount: NaN }],
      [1000, { amount: Infinity }],
      [1000, { limit: 1, whenOver: 0 }],
      [1000, { limit: 1, whenOver: 'never' }],
    ];
    for (const args of WRONG) {
      const error = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
      await assert.rejects(one().hit('n', ...args), error, String(args));
    }
    assert.equal(await far().get('n'), undefined);
  });

  it('one of all machines is the first with setIfAbsent and compareAndSet', async () => {
    const caches = [one(), sibling(), far()];
    for (let round = 0; round < 10; round += 1) {
      const set = await Promise.all(caches.map((cache, at) => cache.setIfAbsent(`a${round}`, at)));
      assert.equal(set.filter(Boolean).length, 1);
      const { version, value } = await far().getEntry(`a${round}`);
      assert.equal(value, set.indexOf(true));
      const changed = await Promise.all(
        caches.map((cache) => cache.compareAndSet(`a${round}`, version, 'changed')),
      );
      assert.equal(changed.filter(Boolean).length, 1);
    }
    assert.equal(await one().compareAndSet('fresh', 0, 1), true);
    assert.equal(await far().compareAndSet('fresh', 0, 2), false);
    assert.equal(await far().compareAndDelete('fresh', 12_345), false);
    assert.equal(await far().compareAndDelete('gone', 0), true);
  });

  it('ages are the server’s, and count from before the read', async () => {
    await one().set('k', 1, 250);
    const [near, left] = [await far().get('k'), await far().getRemainingTTL('k')];
    assert.equal(near, 1);
    assert.ok(left > 0 && left <= 250, String(left));
    await until(async () => (await far().get('k')) === undefined, 2000);
    assert.equal(await one().get('k'), undefined);
    await one().set('k', 2, 60_000);
    assert.equal(await far().touch('k', 10_000), true);
    assert.ok((await one().getRemainingTTL('k')) <= 10_000);
    await one().set('k', 3, { noUpdateTTL: true });
    assert.ok((await far().getRemainingTTL('k')) <= 10_000);
    const { value, expires } = await far().getEntry('k');
    assert.equal(value, 3);
    assert.ok(Math.abs(expires - Date.now() - 10_000) < 5000);
  });

  it('a tag ends entries on all machines, and those that come after it stay', async () => {
    await one().set('a', 1, { tags: ['x', 'y\0%'] });
    await far().set('b', 2, { tags: 'x' });
    await sibling().set('c', 3);
    for (const cache of [one(), far()])
      assert.deepEqual(await cache.getMany(['a', 'b', 'c']), [1, 2, 3]);
    assert.deepEqual((await far().getEntry('a')).tags, ['x', 'y\0%']);
    await far().invalidateTags(['y\0%']);
    await until(async () => (await sibling().get('a')) === undefined);
    assert.deepEqual(await far().getMany(['a', 'b', 'c']), [undefined, 2, 3]);
    assert.equal(await one().setIfAbsent('a', 'again', { tags: ['y\0%'] }), true);
    await one().invalidateTags('x');
    assert.deepEqual(await sibling().getMany(['a', 'b', 'c']), ['again', undefined, 3]);
    await until(async () => (await far().get('b')) === undefined);
    assert.equal(await far().get('a'), 'again');
  });

  it('clear({ local: true }) empties this machine alone', async () => {
    await one().set('k', 1);
    assert.equal(await one().get('k'), 1);
    await one().clear({ local: true });
    assert.equal(await one().length(), 0);
    assert.equal(await one().get('k'), 1);
  });

  it('FLUSHALL is told as well', async () => {
    await one().set('k', 1);
    for (const cache of [one(), sibling(), far()]) assert.equal(await cache.get('k'), 1);
    await one().set('flush', 1);
    await sharedTests.flush();
    for (const cache of [one(), sibling(), far()]) {
      await until(async () => (await cache.get('k')) === undefined);
    }
  });

  it('one loader runs for all machines', async () => {
    const load = async ({ state }, key) => {
      const cache = state.caches.at(-1);
      state.loads ??= 0;
      return cache.fetch(key, async () => {
        state.loads += 1;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return { loaded: key };
      });
    };
    const agents = sharedTests.agents();
    const loadsOf = ({ state }) => state.loads ?? 0;
    const loads = async () =>
      (await Promise.all(agents.map((agent) => agent.run(loadsOf)))).reduce((a, b) => a + b, 0);
    const before = await loads();
    const values = await Promise.all(
      [...agents, ...agents].map((agent) => agent.run(load, 'fetched')),
    );
    for (const value of values) assert.deepEqual(value, { loaded: 'fetched' });
    assert.equal((await loads()) - before, 1);
    assert.deepEqual(await far().get('fetched'), { loaded: 'fetched' });
  });

  it('an error, and a value that is not stored, reach those who wait on other machines', async () => {
    const [first, , last] = sharedTests.agents();
    const loaders = ({ state }, key, kind) =>
      state.caches.at(-1).fetch(key, async (name, { skip }) => {
        state.ran = (state.ran ?? 0) + 1;
        await new Promise((resolve) => setTimeout(resolve, 200));
        if (kind === 'error') throw Object.assign(new Error('no such product'), { code: 'E_NONE' });
        return skip({ once: true });
      });
    const ran = ({ state }) => state.ran ?? 0;
    for (const kind of ['error', 'skip']) {
      const before = (await first.run(ran)) + (await last.run(ran));
      const both = [first.run(loaders, kind, kind), last.run(loaders, kind, kind)];
      const settled = await Promise.allSettled(both);
      for (const one of settled) {
        if (kind === 'error') assert.equal(one.reason.code, 'E_NONE');
        else assert.deepEqual(one.value, { once: true });
      }
      assert.equal((await first.run(ran)) + (await last.run(ran)) - before, 1, kind);
    }
  });

  it('forceRefresh runs behind a loader of another machine that began before', async () => {
    const [first] = sharedTests.agents();
    const slow = ({ state }, key) =>
      new Promise((resolve) => {
        state.refreshed = state.caches.at(-1).fetch(
          key,
          async () => {
            resolve('begun');
            await new Promise((done) => setTimeout(done, 400));
            return 'by the first';
          },
          { forceRefresh: true },
        );
      });
    await one().set('k', 'old');
    assert.equal(await far().get('k'), 'old');
    await first.run(slow, 'k');
    const refresh = ({ state }, key) =>
      state.caches.at(-1).fetch(key, () => 'by the second', { forceRefresh: true });
    const begun = performance.now();
    assert.equal(await sharedTests.agents()[2].run(refresh, 'k'), 'by the second');
    assert.ok(performance.now() - begun > 300, 'not beside the first');
    assert.equal(await first.run(({ state }) => state.refreshed), 'by the first');
    await until(async () => (await one().get('k')) === 'by the second');
    assert.equal(await far().get('k'), 'by the second');
  });

  it('a value that was overtaken by a write of another machine is not stored', async () => {
    const [first] = sharedTests.agents();
    const begin = async ({ state }) => {
      state.loading = new Promise((resolve) => (state.finish = resolve));
      const begun = new Promise((resolve) => {
        state.fetched = state.caches.at(-1).fetch('overtaken', async () => {
          resolve();
          return state.loading;
        });
      });
      await begun;
    };
    await first.run(begin);
    await far().set('overtaken', 'written');
    const value = await first.run(({ state }) => {
      state.finish('loaded');
      return state.fetched;
    });
    assert.equal(value, 'loaded');
    assert.equal(await one().get('overtaken'), 'written');
    assert.equal(await far().get('overtaken'), 'written');
  });
}

describeServers('the remote tier', ({ program }) => {
  const start = processes();
  let server;
  let url;
  before(async () => {
    server = await startServer(program);
    url = server.url;
  });
  after(() => server.remove());

  for (const transport of TRANSPORTS) {
    describe(`workers, ${transport}`, () => {
      let agents;
      let caches;
      before(async () => {
        const options = { namespace: unique('remote'), timeout: 5000, remote: { client: url } };
        agents = [
          await start.worker({ transport }),
          await start.worker({ transport }),
          await start.primary(),
        ];
        caches = [];
        for (const agent of agents) caches.push(await open(agent, options));
        sharedTests.agents = () => agents;
        sharedTests.flush = async () => {
          const client = CLIENTS['redis 6'](url);
          await client.connect();
          await client.flushAll();
          client.destroy();
        };
      });
      after(() => Promise.all(agents.map((agent) => agent.kill())));
      sharedTests(
        () => caches[0],
        () => caches[1],
        () => caches[2],
      );

      it('a holder that is stopped is followed by another within the bound', async () => {
        const isHolder = async (cache) => (await cache.stats()).remote.isHolder;
        const stopped = (await isHolder(caches[0])) ? 0 : 1;
        const left = caches[1 - stopped];
        await caches[2].set('k', 'old');
        await until(async () => (await left.get('k')) === 'old');
        agents[stopped].child.kill('SIGSTOP');
        const begun = performance.now();
        try {
          await caches[2].set('k', 'new');
          await until(async () => (await left.get('k')) === 'new');
          assert.ok(performance.now() - begun < 2500, 'nothing stale after 2 s');
          await until(async () => (await left.stats()).remote.state === 'on' && isHolder(left));
          assert.ok(performance.now() - begun < 4000);
        } finally {
          agents[stopped].child.kill('SIGCONT');
        }
        assert.equal(await caches[stopped].get('k'), 'new');
        await until(async () => !(await isHolder(caches[stopped])));
      });

      it('one process of a machine holds the tracking connection, and another when it dies', async () => {
        const holders = async (list) => {
          const stats = await Promise.all(list.map((cache) => cache.stats()));
          return stats.map(({ remote }) => remote.isHolder);
        };
        const [first, second] = await holders(caches);
        assert.deepEqual([first !== second, (await holders(caches))[2]], [true, true]);
        const dead = first ? 0 : 1;
        const left = caches[1 - dead];
        await left.set('k', 'old');
        assert.equal(await left.get('k'), 'old');
        await agents[dead].kill();
        await until(async () => (await left.stats()).remote.isHolder);
        await caches[2].set('k', 'new');
        await until(async () => (await left.get('k')) === 'new', 5000);
        await until(async () => (await left.stats()).remote.state === 'on');
      });
    });
  }

  for (const library of Object.keys(CLIENTS)) {
    it(`two processes by ${library}`, async () => {
      const namespace = unique('remote');
      const far = await start.primary();
      const setUp = async ({ Cache: Class, state, require: load }, name, options) => {
        const { CLIENTS: make } = load('../remote/servers');
        state.client = make[name](options.url);
        state.client.on('error', () => {});
        state.cache = await Class.getInstance({ ...options, remote: { client: state.client } });
      };
      await far.run(setUp, library, { namespace, url, timeout: 5000 });
      const client = CLIENTS[library](url);
      client.on('error', () => {});
      const cache = await Cache.getInstance({ namespace, timeout: 5000, remote: client });
      const stateOf = async ({ state }) => (await state.cache.stats()).remote.state;
      await until(async () => (await cache.stats()).remote.state === 'on');
      await until(async () => (await far.run(stateOf)) === 'on');
      for (let round = 0; round < 20; round += 1) {
        await far.run(({ state }, n) => state.cache.set('k', { n }), round);
        await until(async () => (await cache.get('k'))?.n === round);
      }
      assert.equal(await far.run(({ state }) => state.cache.incr('n', 5)), 5);
      assert.equal(await cache.get('n'), 5);
      await cache.close();
      endClient(client);
      await far.kill();
    });
  }

  it('wrong keys and arguments reject as ever', async () => {
    const cache = await Cache.getInstance({
      namespace: unique('remote'),
      timeout: 5000,
      remote: url,
    });
    const wrong = { code: 'ERR_INVALID_ARG_TYPE' };
    for (const key of [{}, Symbol('a'), () => {}]) {
      await assert.rejects(cache.get(key), wrong);
      await assert.rejects(cache.set(key, 1), wrong);
      await assert.rejects(
        cache.fetch(key, () => 1),
        wrong,
      );
      await assert.rejects(cache.getMany([key]), wrong);
      await assert.rejects(cache.del(key), wrong);
    }
    await assert.rejects(cache.set('k', 1, { maxAge: -1 }), { code: 'ERR_INVALID_ARG_VALUE' });
    await assert.rejects(cache.set('k', 1, 'soon'), wrong);
    await assert.rejects(cache.incr('k', 'much'), { name: 'TypeError' });
    await assert.rejects(cache.incr('k', 1, { tags: 'a' }), { code: 'ERR_INVALID_ARG_VALUE' });
    await assert.rejects(cache.hit('k', 0), { code: 'ERR_INVALID_ARG_TYPE' });
    await assert.rejects(cache.load([]), { code: 'ERR_INVALID_ARG_VALUE' });
    await assert.rejects(cache.set('k', 1, { tag: 'a' }), { name: 'TypeError' });
    assert.equal(await cache.get('k'), undefined);
    await cache.close();
    await assert.rejects(cache.get('k'), { code: 'ERR_CLOSED' });
  });

  it('deletePrefix removes what begins with it, and nothing else', async () => {
    const cache = await Cache.getInstance({
      namespace: unique('a*[b]{%}'),
      remote: url,
      timeout: 5000,
    });
    const other = await Cache.getInstance({
      namespace: unique('a*[b]{%}'),
      remote: url,
      timeout: 5000,
    });
    const keys = ['p*?[a]\\1', 'p*?[a]\\\ud800', 'p*?', 'px', 'p*?[a]\\2', 5];
    await cache.mSet(new Map(keys.map((key) => [key, 1])));
    await other.set('p*?[a]\\1', 'other');
    assert.deepEqual(await cache.getMany(keys), [1, 1, 1, 1, 1, 1]);
    assert.equal(await cache.deletePrefix('p*?[a]\\'), 3);
    assert.deepEqual(await cache.getMany(keys), [undefined, undefined, 1, 1, undefined, 1]);
    assert.equal(await other.get('p*?[a]\\1'), 'other');
    await cache.reset();
    assert.equal(await cache.get('px'), undefined);
    assert.equal(await other.get('p*?[a]\\1'), 'other');
    await cache.close();
    await other.close();
  });

  it('counts in windows as without a server', async () => {
    const options = { timeout: 5000 };
    const cache = await Cache.getInstance({ ...options, namespace: unique('remote'), remote: url });
    const plain = await Cache.getInstance({
      ...options,
      namespace: unique('plain'),
      remote: false,
    });
    const calls = [
      ['a', 60_000],
      ['a', 60_000, { amount: 2.5 }],
      ['a', 60_000, { amount: -10, ifPresent: true }],
      ['b', 60_000, { ifPresent: true }],
      ['c', Infinity],
      ['c', Infinity, { limit: 1, whenOver: 'restart' }],
      ['c', 1000, { limit: 1, whenOver: 5000 }],
      ['d', 10_000, { limit: 1, whenOver: 'double' }],
      ['d', 10_000, { limit: 1, whenOver: 'double' }],
      ['d', 10_000, { limit: 1, whenOver: 'double' }],
      ['d', 10_000, { limit: 1, whenOver: 'double' }],
      ['e', 10_000, { limit: 1, whenOver: 30_000 }],
      ['e', 10_000, { limit: 1, whenOver: 30_000 }],
      ['e', 10_000, { limit: 1, whenOver: 90_000 }],
      ['f', 10_000],
    ];
    for (const one of [cache, plain]) {
      await one.set('f', 7);
      await one.incr('g', 3);
      await one.incr('g', 'x'.length, 5000);
    }
    for (const [at, args] of calls.entries()) {
      const [there, here] = [await cache.hit(...args), await plain.hit(...args)];
      assert.equal(there.count, here.count, `count of ${at}`);
      assert.equal(there.first, here.first, `first of ${at}`);
      const apart = there.resetIn === here.resetIn ? 0 : Math.abs(there.resetIn - here.resetIn);
      assert.ok(apart < 1000, `${at}: ${there.resetIn}, ${here.resetIn}`);
      assert.equal(await cache.get(args[0]), await plain.get(args[0]));
    }
    assert.equal(await cache.get('g'), await plain.get('g'));
    await cache.close();
    await plain.close();
  });

  it('a script whose time is over changes nothing', async () => {
    const { NodeRedisPort } = require('../../lib/remote/clients/node-redis');
    const { SET } = require('../../lib/remote/scripts');
    const port = new NodeRedisPort(CLIENTS['redis 6'](url)).open();
    await until(() => port.isReady);
    const entry = ['60000', '0', '', Buffer.alloc(28), 'v'];
    const run = (limit) => port.run(SET, ['late:e', 'late:p'], [limit, 'late:t:', 'x', ...entry]);
    await assert.rejects(run(await port.timeAfter(-10, false)), { message: /^LATE / });
    assert.equal(await port.send(['EXISTS', 'late:e']), 0);
    assert.equal(await run(await port.timeAfter(1000, false)), 1);
    port.close();
  });

  it('an answer that came while this process was blocked counts', async () => {
    const options = { namespace: unique('remote'), timeout: 300, remote: url };
    const cache = await Cache.getInstance(options);
    await cache.set('k', 1);
    await cache.incr('n');
    const { connects } = (await cache.stats()).remote;
    const blocked = async (time, ...calls) => {
      // What is to be sent is sent at the end of a turn.
      for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      const end = performance.now() + time;
      while (performance.now() < end);
      return Promise.all(calls);
    };
    assert.deepEqual(await blocked(700, cache.get('k'), cache.incr('n')), [1, 2]);
    // Longer than a server may be silent.
    assert.deepEqual(await blocked(2400, cache.incr('n')), [3]);
    assert.equal((await cache.stats()).remote.connects, connects);
    await cache.close();
  });

  it('structured clones are values where the instance copies so', async () => {
    const options = { namespace: unique('remote'), serialization: 'advanced', timeout: 5000 };
    const cache = await Cache.getInstance({ ...options, remote: url });
    const far = await start.primary();
    const cacheThere = await open(far, { ...options, remote: url });
    const value = new Map([
      ['a', new Date(5)],
      [2, { bytes: new Uint8Array([0, 255]) }],
    ]);
    await cache.set('k', value);
    assert.deepEqual(await cache.get('k'), value);
    assert.deepEqual(await cacheThere.get('k'), value);
    await cache.set('bigint', 7n);
    assert.equal(await cacheThere.get('bigint'), 7n);
    await cache.close();
    await far.kill();
  });

  describe('replies and what is told, kept back', () => {
    let far;
    let proxy;
    let near;
    beforeEach(async () => {
      const namespace = unique('remote');
      const agent = await start.primary();
      proxy = await new Proxy(server.port).start();
      far = await open(agent, { namespace, timeout: 5000, remote: { client: url } });
      const remote = { client: proxy.url };
      near = await Cache.getInstance({ namespace, timeout: 5000, remote });
      await until(async () => (await near.stats()).remote.state === 'on');
      await far.set('k', 1);
    });
    afterEach(async () => {
      proxy.release();
      await near.close();
      await proxy.remove();
    });

    it('a reply that was overtaken is neither stored nor given', async () => {
      proxy.holdReplies();
      const reading = near.get('k');
      await until(() => proxy.held > 0);
      await far.set('k', 2);
      const { pushes } = (await near.stats()).remote;
      await far.set('k', 3);
      await until(async () => (await near.stats()).remote.pushes > pushes);
      proxy.release();
      assert.equal(await reading, 3);
      assert.equal(await near.get('k'), 3);
      const { hits } = (await near.stats()).remote;
      assert.equal(await near.get('k'), 3);
      assert.equal((await near.stats()).remote.hits, hits);
    });

    it('what was told late removes what was read early', async () => {
      proxy.holdPushes();
      assert.equal(await near.get('k'), 1);
      await far.set('k', 2);
      assert.equal(await near.get('k'), 1, 'not told yet');
      proxy.release();
      await until(async () => (await near.get('k')) === 2);
    });

    it('after a write of this machine nothing older is read, told or not', async () => {
      assert.equal(await near.get('k'), 1);
      proxy.holdPushes();
      await far.set('k', 2);
      await near.set('other', 1);
      await near.set('k', 3);
      assert.equal(await near.get('k'), 3);
      await far.set('k', 4);
      assert.equal(await near.incr('n'), 1);
      assert.equal((await near.getEntry('k')).value, 4);
      assert.equal(await near.get('k'), 4, 'getEntry gave it');
      proxy.release();
    });

    it('a reply that is held is no reason to wait longer than timeout', async () => {
      near.timeout = 100;
      proxy.holdReplies();
      const begun = performance.now();
      assert.equal(await near.get('k'), undefined);
      assert.equal(await near.set('j', 1), true, 'kept here');
      assert.equal(await near.get('j'), 1);
      assert.ok(performance.now() - begun < 1000);
      proxy.release();
      near.timeout = 5000;
      await until(async () => (await near.get('k')) === 1);
      // What was changed here alone is forgotten.
      await until(
        async () => (await far.get('j')) === undefined && (await near.get('j')) === undefined,
      );
    });

    it('a held push is noticed: what lies here counts no longer than 2 s', async () => {
      assert.equal(await near.get('k'), 1);
      proxy.holdPushes();
      await far.set('k', 2);
      const begun = performance.now();
      await until(async () => (await near.get('k')) === 2);
      const took = performance.now() - begun;
      assert.ok(took < 2300, `${took} ms`);
      proxy.release();
      await until(async () => (await near.stats()).remote.state === 'on');
    });

    it('a process that was blocked for long notices it with its first read', async () => {
      assert.equal(await near.get('k'), 1);
      let isWritten = false;
      // The other machine writes while this process is blocked.
      const writing = far.set('k', 2).then(() => (isWritten = true));
      const end = performance.now() + 2500;
      while (performance.now() < end);
      assert.equal(isWritten, false);
      assert.equal(await near.get('k'), 2);
      await writing;
    });

    it('a thousand reads go to the server together', async () => {
      const pairs = Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`many${at}`, at]));
      await far.mSet(pairs);
      proxy.delay = 50;
      const begun = performance.now();
      const keys = Object.keys(pairs);
      const values = await Promise.all(keys.map((key) => near.get(key)));
      assert.deepEqual(values, Object.values(pairs));
      assert.ok(performance.now() - begun < 1500);
    });
  });
});
