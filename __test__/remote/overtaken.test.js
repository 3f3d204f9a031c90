'use strict';

// The remote tier: what is being loaded, or was changed here while the server was away, and is overtaken.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { Machine } = require('../../lib/remote/machine');
const { processes, unique, until } = require('../helpers');
const { CLIENTS, Proxy, describeServers, endClient, startServer } = require('./servers');

const isOn = async (cache) => (await cache.stats()).remote.state === 'on';

/** Begins a load in a process. Resolves when its loader runs, which goes on when it is told. */
const begin = async ({ state }, key, value, options) => {
  const begun = new Promise((resolve) => {
    const loader = async () => {
      resolve();
      await new Promise((go) => (state.go = go));
      return value;
    };
    state.loaded = state.caches.at(-1).fetch(key, loader, options);
  });
  await begun;
};

const finish = ({ state }) => {
  state.go();
  return state.loaded;
};

/** Loads, where nothing does: a loader that gives a value at once. */
const load = ({ state }, key, value) => state.caches.at(-1).fetch(key, async () => value);

const WRITES = [
  ['del', (cache) => cache.del('key:1')],
  ['deletePrefix', (cache) => cache.deletePrefix('key:')],
  ['reset', (cache) => cache.reset()],
  ['invalidateTags', (cache) => cache.invalidateTags(['tag'])],
];

describeServers('remote tier, what is overtaken', ({ program }) => {
  const start = processes();
  let server;
  let raw;
  let near;
  let far;
  let cache;
  let namespace;

  before(async () => {
    server = await startServer(program);
    raw = CLIENTS['redis 6'](server.url);
    await raw.connect();
    near = await start.primary();
    far = await start.primary();
  });
  after(async () => {
    endClient(raw);
    await Promise.all([near.kill(), far.kill()]);
    await server.remove();
  });
  beforeEach(async () => {
    namespace = unique('overtaken');
    const options = { namespace, timeout: 5000, failsafe: 'reject' };
    const remote = { client: server.url, onError: 'reject' };
    cache = await near.open({ ...options, remote });
    const there = await far.open({ ...options, remote });
    await until(async () => (await isOn(cache)) && (await isOn(there)));
  });

  for (const [name, write] of WRITES) {
    for (const [whose, agentOf] of [
      ['this machine', () => near],
      ['another machine', () => far],
    ]) {
      it(`${name} ends a load of ${whose}: its value is given, and not stored`, async () => {
        const agent = agentOf();
        const options = { tags: ['tag'] };
        await agent.run(begin, 'key:1', 'old', options);
        await write(cache);
        assert.equal(await agent.run(finish), 'old');
        assert.equal(await cache.get('key:1'), undefined);
        await agent.run(begin, 'key:1', 'new', options);
        assert.equal(await agent.run(finish), 'new');
        assert.equal(await cache.get('key:1'), 'new');
      });
    }
  }

  it('who comes after invalidateTags does not get what was loaded before', async () => {
    await near.run(begin, 'key:1', 'old', { tags: ['tag'] });
    await cache.invalidateTags(['tag']);
    const next = async ({ state }) => {
      const following = state.caches.at(-1).fetch('key:1', async () => 'new');
      state.go();
      return [await state.loaded, await following];
    };
    assert.deepEqual(await near.run(next), ['old', 'new']);
    assert.equal(await cache.get('key:1'), 'new');
  });

  for (const [name, write] of WRITES.slice(0, 3)) {
    it(`who comes to another machine after ${name} does not join a load from before`, async () => {
      await far.run(begin, 'key:1', 'old');
      const pushes = async ({ state }) => (await state.caches.at(-1).stats()).remote.pushes;
      await write(cache);
      // The write is told of, and whoever comes then runs a loader anew.
      const told = await far.run(pushes);
      await cache.set('told', 1);
      await until(async () => (await far.run(pushes)) > told);
      assert.equal(await far.run(load, 'key:1', 'new'), 'new');
      assert.equal(await far.run(finish), 'old');
      assert.equal(await cache.get('key:1'), 'new');
    });
  }

  it('deletePrefix takes half a pair of surrogates, as without remote', async () => {
    await cache.setMany([
      ['a\u{1f600}', 1],
      ['a\ud83d', 2],
      ['ab', 3],
      [1, 4],
    ]);
    assert.equal(await cache.deletePrefix('a\ud83d'), 2);
    assert.equal(await cache.get('a\u{1f600}'), undefined);
    assert.equal(await cache.get('a\ud83d'), undefined);
    assert.equal(await cache.get('ab'), 3);
  });

  it('a tag is kept as long as an entry that was given more time', async () => {
    const time = 10 * 86_400_000;
    const isKept = async (tag, key) => {
      const [of, entry] = [`lru:{${namespace}}:t:${tag}`, `lru:{${namespace}}:e:s:${key}`];
      assert.ok((await raw.pTTL(of)) >= (await raw.pTTL(entry)), `${tag} of ${key}`);
      assert.ok((await raw.pTTL(entry)) > time / 2);
    };
    await cache.set('touched', 1, { maxAge: 1000, tags: ['a'] });
    await cache.touch('touched', time);
    await isKept('a', 'touched');
    await cache.set('kept', 1, time);
    await cache.set('kept', 2, { maxAge: 1000, noUpdateTTL: true, tags: ['b'] });
    await isKept('b', 'kept');
    const { version } = await cache.getEntry('kept');
    const options = { maxAge: 1000, noUpdateTTL: true, tags: ['c'] };
    assert.equal(await cache.compareAndSet('kept', version, 3, options), true);
    await isKept('c', 'kept');
    await cache.set('old', 1, { maxAge: time, tags: ['d'] });
    await raw.pExpire(`lru:{${namespace}}:t:d`, 60_000);
    await cache.touch('old');
    await isKept('d', 'old');
  });
});

/** Before each test: a cache of this process behind a proxy of its own, of a server for all of them. */
function behindProxy(program, { timeout, ...remote }, use) {
  let server;
  let proxy;
  let cache;
  before(async () => (server = await startServer(program)));
  after(() => server.remove());
  beforeEach(async () => {
    proxy = await new Proxy(server.port).start();
    cache = await Cache.getInstance({
      namespace: unique('overtaken'),
      timeout,
      remote: { client: proxy.url, ...remote },
    });
    await until(() => isOn(cache));
    use({ proxy, cache });
  });
  afterEach(async () => {
    await cache.close();
    await proxy.remove();
  });
}

describeServers('remote tier, changes of this machine alone', ({ program }) => {
  const { markChanged } = Machine.prototype;
  let proxy;
  let cache;
  behindProxy(program, { timeout: 300 }, (made) => ({ proxy, cache } = made));
  afterEach(() => (Machine.prototype.markChanged = markChanged));

  it('a write whose mark was worked off before it was made does not stay', async () => {
    let times = 0;
    // As a process that is stopped between the mark and the change.
    Machine.prototype.markChanged = async function (marks) {
      await markChanged.call(this, marks);
      times += 1;
      if (times > 1) return;
      await until(async () => !(await this.look(marks)).marked && (await isOn(cache)));
    };
    proxy.refuses = true;
    proxy.cut();
    await until(async () => !(await cache.stats()).remote.isReady);
    const written = cache.set('k', 'here');
    await until(() => times === 1);
    proxy.refuses = false;
    await written;
    await until(async () => (await cache.get('k')) === undefined);
  });
});

describeServers('remote tier, the end of a load that the server was not told', ({ program }) => {
  let proxy;
  let cache;
  behindProxy(program, { timeout: 500, onError: 'reject' }, (made) => ({ proxy, cache } = made));

  const isReady = async () => (await cache.stats()).remote.isReady;
  const lose = async () => {
    proxy.refuses = true;
    proxy.cut();
    await until(async () => !(await isReady()));
  };
  const CASES = [
    ['its value was lost', [lose, async () => 'value'], 'value'],
    [
      'its error was lost',
      [
        lose,
        async () => {
          throw new Error('none');
        },
      ],
      'none',
    ],
    ['the reply that gave the right was lost', [() => {}, async () => 'value'], 'value'],
  ];
  for (const [name, [before, loader], result] of CASES) {
    it(`${name}: nobody waits for it`, async () => {
      // This process has another load all the time, so it says that it lives.
      let end;
      const other = cache.fetch('other', () => new Promise((resolve) => (end = resolve)));
      await until(() => end !== undefined);
      if (result === 'value' && before !== lose) {
        proxy.holdReplies();
        until(() => proxy.held > 0).then(lose);
      }
      const loading = cache.fetch('k', async () => {
        await before();
        return loader();
      });
      assert.equal(await loading.catch((error) => error.message), result);
      proxy.refuses = false;
      await until(async () => (await isReady()) && (await isOn(cache)));
      // A loader of another machine would have the right now.
      const hardTimeout = 10_000;
      assert.equal(await cache.fetch('k', async () => 'next', { hardTimeout }), 'next');
      end(1);
      assert.equal(await other, 1);
    }).timeout(20_000);
  }
});
