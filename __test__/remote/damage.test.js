'use strict';

// The remote tier: what others have written on the server, and what an instance does before it is connected.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { unique, until } = require('../helpers');
const { CLIENTS, describeServers, endClient, startServer } = require('./servers');

describeServers('remote tier, what others have written', ({ program }) => {
  let server;
  let client;
  let namespace;
  const caches = [];

  before(async () => {
    server = await startServer(program);
    client = CLIENTS['redis 6'](server.url);
    await client.connect();
  });
  after(async () => {
    endClient(client);
    await server.remove();
  });
  beforeEach(() => (namespace = unique()));
  afterEach(() => Promise.all(caches.splice(0).map((cache) => cache.close())));

  function open(remote = {}) {
    const options = { client: server.url, onError: 'reject', ...remote };
    const cache = new Cache({ namespace, timeout: 5000, remote: options });
    caches.push(cache);
    return cache;
  }

  it('a key that is none of this package is left alone', async () => {
    const cache = open();
    await cache.ready;
    await until(async () => (await cache.stats()).remote.state === 'on');
    const { pushes } = (await cache.stats()).remote;
    for (const name of ['e:i:zz', 'e:i:', 'e:', 'e:w:zz', 'e:q:x', 'x:s:a', 't:', 'p:']) {
      await client.set(`lru:{${namespace}}:${name}`, 'x');
    }
    await until(async () => (await cache.stats()).remote.pushes >= pushes + 6);
    await cache.set('k', 1);
    assert.equal(await cache.get('k'), 1);
  });

  it('an entry whose tags are cut is none', async () => {
    const cache = open();
    await cache.ready;
    const name = (key) => `lru:{${namespace}}:e:s:${key}`;
    // A head that says that two tags follow.
    const head = `\x01n\x01${'\0'.repeat(24)}\x02`;
    const calls = {
      incr: [() => cache.incr('incr'), 1],
      delete: [() => cache.delete('delete'), false],
      setIfAbsent: [() => cache.setIfAbsent('setIfAbsent', 1), true],
      touch: [() => cache.touch('touch'), false],
      getAndDelete: [() => cache.getAndDelete('getAndDelete'), undefined],
    };
    for (const [key, [call, expected]] of Object.entries(calls)) {
      for (const rest of ['', 'x'.repeat(16), `${'x'.repeat(16)}\0\x05ab`]) {
        await client.set(name(key), head + rest);
        assert.equal(await call(), expected, `${key} with ${rest.length} bytes`);
      }
    }
  });

  describe('an entry whose value cannot be read here is there, and is none for reads', () => {
    const VALUES = { 'of an unknown kind': 'qx', 'broken JSON': 'j{', 'a broken clone': 'cxx' };
    for (const [what, [kind, ...rest]] of Object.entries(VALUES)) {
      it(what, async () => {
        const cache = open();
        await cache.ready;
        const head = `\x01${kind}\x01${'\0'.repeat(6)}\x01${'\0'.repeat(18)}`;
        const put = (key) => client.set(`lru:{${namespace}}:e:s:${key}`, head + rest.join(''));
        await put('k');
        assert.equal(await cache.get('k'), undefined);
        assert.equal(await cache.has('k'), false);
        assert.deepEqual(await cache.getMany(['k']), [undefined]);
        assert.equal(await cache.setIfAbsent('k', 1), false);
        assert.ok((await cache.getEntry('k')).version > 0);
        assert.equal(
          await cache.update('k', (current) => `${current}, mended`),
          'undefined, mended',
        );
        assert.equal(await cache.get('k'), 'undefined, mended');
        await put('loaded');
        assert.equal(await cache.fetch('loaded', () => 'new'), 'new');
        await cache.clear({ local: true });
        assert.equal(await cache.get('loaded'), 'new');
        await put('removed');
        assert.equal(await cache.delete('removed'), true);
      });
    }
  });

  it('what is no text under the name of an entry is none, and a write replaces it', async () => {
    const cache = open();
    await cache.ready;
    const calls = {
      get: [() => cache.get('get'), undefined],
      setIfAbsent: [() => cache.setIfAbsent('setIfAbsent', 1), true],
      incr: [() => cache.incr('incr'), 1],
      delete: [() => cache.delete('delete'), false],
      touch: [() => cache.touch('touch'), false],
      fetch: [() => cache.fetch('fetch', () => 'new'), 'new'],
    };
    for (const [key, [call, expected]] of Object.entries(calls)) {
      await client.lPush(`lru:{${namespace}}:e:s:${key}`, 'x');
      assert.equal(await call(), expected, key);
    }
    assert.equal(await client.type(`lru:{${namespace}}:e:s:fetch`), 'string');
  });

  for (const ttl of [1500.5, 1e300]) {
    it(`what has no age is kept with a ttl of ${ttl}`, async () => {
      const cache = open({ ttl });
      assert.equal(await cache.set('k', 1), true);
      assert.equal(await cache.incr('n'), 1);
      assert.ok((await client.pTTL(`lru:{${namespace}}:e:s:k`)) > 1000);
    });
  }

  it('what is written before there is a connection is written on the server', async () => {
    const first = await Cache.getInstance({
      namespace,
      timeout: 5000,
      remote: { client: server.url },
    });
    assert.equal(await first.incr('n', 5), 5);
    await first.close();
    assert.equal(await open({ onError: 'local' }).incr('n'), 6);
    assert.equal(await client.exists(`lru:{${namespace}}:e:s:n`), 1);
  });

  it('fetch asks the server, too, when it is called before there is a connection', async () => {
    const first = await Cache.getInstance({
      namespace,
      timeout: 5000,
      remote: { client: server.url },
    });
    await first.set('k', 'stored');
    await first.close();
    const second = open({ onError: 'local' });
    let loads = 0;
    assert.equal(await second.fetch('k', () => (loads += 1)), 'stored');
    assert.equal(await second.fetch('missing', () => 'loaded'), 'loaded');
    assert.equal(loads, 0);
    assert.equal(await client.exists(`lru:{${namespace}}:e:s:missing`), 1);
  });
});
