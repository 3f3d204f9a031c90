'use strict';

// The remote tier with the endpoints that people have: TLS, users with a password, databases, Unix sockets, prefixes, and commands
// that are not allowed.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { promisify } = require('node:util');
const Cache = require('../..');
const { processes, unique, until } = require('../helpers');
const { CLIENTS, Proxy, describeServers, endClient, speaksTls, startServer } = require('./servers');

const run = promisify(execFile);
const ROOT = path.join(__dirname, '..', '..');
const CERTIFICATES = path.join(__dirname, 'certificates');
const pathOf = (name) => path.join(CERTIFICATES, name);
const read = (name) => fs.readFileSync(pathOf(name), 'utf8');
const CA = read('ca.crt');

const PACKAGES = {
  'redis 6': 'redis',
  'redis 5': 'redis-5',
  'ioredis 6': 'ioredis',
  'ioredis 5': 'ioredis-5',
};
const LIBRARIES = Object.keys(CLIENTS);
const isNode = (library) => library.startsWith('redis');

/** Makes a client: of the options of node-redis, or of those of ioredis. */
function clientOf(library, nodeRedis, ioredis) {
  const { createClient, Redis } = require(PACKAGES[library]);
  const client = isNode(library) ? createClient(nodeRedis) : new Redis(ioredis);
  client.on('error', () => {});
  return client;
}

/** Asks a server as its administrator. */
async function ask(server, ...commands) {
  const client = CLIENTS['redis 6'](server.url);
  await client.connect();
  try {
    const replies = [];
    for (const args of commands) replies.push(await client.sendCommand(args));
    return replies;
  } finally {
    client.destroy();
  }
}

/** The page has the rights of a user, as a command: `ACL SETUSER …`. */
function rightsOf(page, which) {
  const [, line] = new RegExp(`^ACL SETUSER (.*) # ${which}$`, 'm').exec(page) ?? [];
  assert.ok(line, which);
  return line.trim().split(/\s+/);
}

/** Every kind of call that asks the server. */
async function useAll(cache) {
  await cache.set('k', 1, { tags: 'a' });
  assert.equal(await cache.incr('n'), 1);
  assert.equal(await cache.get('k'), 1);
  assert.equal(await cache.fetch('f', () => 2), 2);
  assert.equal((await cache.hit('h', 1000)).count, 1);
  assert.equal(await cache.touch('n'), true);
  assert.equal(await cache.touch('n', 90_000), true);
  await cache.set('k', 1, { tags: 'a', maxAge: 10 * 86_400_000 });
  await cache.invalidateTags('a');
  assert.equal(await cache.get('k'), undefined);
  assert.equal(await cache.setIfAbsent('k', 3), true);
  assert.equal(await cache.getAndDelete('k'), 3);
  assert.equal(await cache.deletePrefix('f'), 1);
  const { version } = await cache.getEntry('n');
  assert.equal(await cache.compareAndSet('n', version, 7), true);
  await cache.mSet({ a: 1, b: 2 });
  await cache.mDel(['a', 'b']);
  await cache.reset();
}

describeServers('endpoints of the remote tier', ({ program }) => {
  const startProcess = processes();
  /** Another machine. */
  let farAgent;
  let server;
  let started = [];
  const ends = [];
  const start = async (args) => {
    const one = await startServer(program, args);
    started.push(one);
    return one;
  };
  /** Opens a cache, which ends with the test. */
  const open = (client, options = {}) => {
    const remote = { client, onError: 'reject', ...options.remote };
    const cache = new Cache({
      namespace: unique('endpoint'),
      timeout: 2000,
      ...options,
      remote,
    });
    ends.push(async () => {
      await cache.close();
      if (typeof client.duplicate === 'function') endClient(client);
    });
    return cache;
  };
  const remoteOf = async (cache) => (await cache.stats()).remote;
  const untilOn = (cache) =>
    until(async () => {
      const { state, isReady } = await remoteOf(cache);
      return isReady && state === 'on';
    });
  /** A cache works, and the server tells it what changes. */
  const works = async (cache, admin = server) => {
    await untilOn(cache);
    await useAll(cache);
    await cache.set('k', 'v');
    assert.equal(await cache.get('k'), 'v');
    assert.equal(await cache.length(), 1, 'it is stored here');
    await ask(admin, ['FLUSHALL']);
    await until(async () => (await cache.length()) === 0);
  };
  /** A cache has no connection, and says why. */
  const fails = async (cache, why) => {
    await until(async () => (await remoteOf(cache)).reason !== undefined);
    const { reason, isReady } = await remoteOf(cache);
    assert.match(reason, why);
    assert.equal(isReady, false);
    await assert.rejects(cache.set('k', 1), (error) => {
      assert.equal(error.code, 'ERR_REMOTE');
      assert.match(error.message, why);
      return true;
    });
  };

  before(async () => {
    server = await startServer(program);
    farAgent = await startProcess.primary();
  });
  after(() => server.remove());
  beforeEach(() => ask(server, ['FLUSHALL'], ['ACL', 'LOG', 'RESET']));
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
    for (const one of started) await one.remove();
    started = [];
  });

  // ---- TLS

  if (speaksTls(program)) {
    const startTls = (...more) =>
      start(({ port }) => [
        ...['--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', 'no'],
        ...['--tls-cert-file', pathOf('server.crt'), '--tls-key-file', pathOf('server.key')],
        ...['--tls-ca-cert-file', pathOf('ca.crt'), ...more],
      ]);
    const tlsClient = (library, { port }, tls, host = 'localhost') =>
      clientOf(library, { socket: { host, port, tls: true, ...tls } }, { host, port, tls });

    for (const library of LIBRARIES) {
      it(`TLS: the certificate of the server is verified, ${library}`, async () => {
        const tls = await startTls();
        const cache = open(tlsClient(library, tls, { ca: CA }));
        await untilOn(cache);
        await useAll(cache);
        await fails(open(tlsClient(library, tls, {}), { timeout: 300 }), /certificate/);
        const elsewhere = tlsClient(library, tls, { ca: CA }, '127.0.0.1');
        await fails(open(elsewhere, { timeout: 300 }), /does not match certificate|altnames/);
      });

      it(`TLS: the server asks for a certificate of the client, ${library}`, async () => {
        const tls = await startTls('--tls-auth-clients', 'yes');
        const own = { cert: read('client.crt'), key: read('client.key') };
        const cache = open(tlsClient(library, tls, { ca: CA, ...own }));
        await untilOn(cache);
        await useAll(cache);
        await fails(open(tlsClient(library, tls, { ca: CA }), { timeout: 300 }), /./);
      });
    }

    it('TLS: a URL with rediss:, and an authority of the environment', async () => {
      const tls = await startTls();
      const code = `
        const Cache = require('.');
        (async () => {
          const cache = await Cache.getInstance({ namespace: 'tls', remote: process.argv[1], timeout: 2000 });
          await cache.set('k', 1);
          const { remote } = await cache.stats();
          console.log(remote.state, await cache.get('k'), remote.errors);
          await cache.close();
        })();`;
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: pathOf('ca.crt') };
      const url = `rediss://localhost:${tls.port}`;
      const { stdout } = await run(process.execPath, ['-e', code, url], { cwd: ROOT, env });
      assert.equal(stdout, 'on 1 0\n');
    });
  } else {
    it.skip(`TLS: this ${program} is built without it`, () => {});
  }

  // ---- users

  for (const library of LIBRARIES) {
    const client = (username, password, database = 0) => {
      const { port } = server;
      const user = { username, password };
      return clientOf(
        library,
        { socket: { port }, database, ...user },
        { port, db: database, lazyConnect: true, ...user },
      );
    };

    it(`ACL: a user with the rights that the page names, and no more, ${library}`, async () => {
      const page = fs.readFileSync(path.join(ROOT, 'docs', 'machines.md'), 'utf8');
      const rights = rightsOf(page, isNode(library) ? 'redis' : 'ioredis');
      await ask(server, ['ACL', 'SETUSER', rights[0], 'reset', ...rights.slice(1)]);
      const cache = open(client('app', 'secret', 3));
      await untilOn(cache);
      await ask(server, ['CONFIG', 'RESETSTAT']);
      await useAll(cache);
      // Where the owner of a placeholder is gone.
      const placeholder = `lru:{${cache.namespace}}:p:s:f`;
      await ask(
        server,
        ['SELECT', '3'],
        ['SET', placeholder, `L${'o'.repeat(36)}${'t'.repeat(16)}`],
      );
      assert.equal(await cache.fetch('f', () => 5), 5);
      await ask(server, ['SCRIPT', 'FLUSH'], ['CLIENT', 'KILL', 'USER', 'app']);
      await until(async () => (await remoteOf(cache)).connects === 2);
      await untilOn(cache);
      await cache.set('k', 1);
      const [stats] = await ask(server, ['INFO', 'commandstats']);
      const used = new Set(
        [...stats.matchAll(/^cmdstat_([^:]+):.*rejected_calls=0/gm)].map(([, name]) => name),
      );
      const named = rights.filter((right) => right.startsWith('+')).map((right) => right.slice(1));
      assert.deepEqual(
        named.filter((name) => !used.has(name)),
        [],
        'what the page names is used',
      );
      // Nothing was refused but what the libraries say of themselves.
      const [log] = await ask(server, ['ACL', 'LOG']);
      const refused = log.map((entry) => String(new Map(Object.entries(entry)).get('object')));
      assert.deepEqual(
        refused.filter((what) => !/^client\|(setinfo|maint_notifications)$/i.test(what)),
        [],
      );
      await ask(server, ['ACL', 'DELUSER', 'app']);
    });

    it(`ACL: a wrong password is named, and leads to no storm of connections, ${library}`, async () => {
      await ask(server, ['ACL', 'SETUSER', 'app', 'reset', 'on', '>secret', 'allkeys', '+@all']);
      const strict = open(client('app', 'wrong'), { timeout: 300 });
      await fails(strict, /WRONGPASS/);
      await assert.rejects(strict.get('k'), { code: 'ERR_REMOTE', message: /WRONGPASS/ });
      await assert.rejects(strict.get('k'), (error) => /WRONGPASS/.test(error.cause.message));
      const local = open(client('app', 'wrong'), { timeout: 300, remote: { onError: 'local' } });
      await local.set('k', 1);
      assert.equal(await local.get('k'), 1);
      const count = async () => {
        const [stats] = await ask(server, ['INFO', 'stats']);
        return Number(/total_connections_received:(\d+)/.exec(stats)[1]);
      };
      await sleep(1000);
      const before = await count();
      await sleep(2000);
      // Two clients, each a connection for commands and one that tells; and the last question.
      const made = (await count()) - before - 1;
      assert.ok(made > 0 && made <= 14, `${made} connections`);
      // The password is set right meanwhile.
      await ask(server, ['ACL', 'SETUSER', 'app', '>wrong', 'allchannels']);
      await untilOn(strict);
      await untilOn(local);
      assert.equal(await local.get('k'), undefined, 'what was set here alone does not count');
      assert.equal((await remoteOf(local)).reason, undefined);
      await ask(server, ['ACL', 'DELUSER', 'app']);
    });

    it(`a server that does not allow CLIENT, INFO and SCAN: each read asks it, ${library}`, async () => {
      const rights = ['allkeys', '+@all', '-client', '-info', '-scan'];
      await ask(server, ['ACL', 'SETUSER', 'app', 'reset', 'on', '>secret', ...rights]);
      const cache = open(client('app', 'secret'), { remote: { onError: 'local' } });
      await until(async () => /NOPERM/.test((await remoteOf(cache)).reason));
      await cache.set('k', 1);
      assert.equal(await cache.get('k'), 1);
      assert.equal(await cache.incr('n'), 1);
      assert.equal(await cache.fetch('f', () => 2), 2);
      assert.equal(await cache.length(), 0);
      const { state, isReady, reason } = await remoteOf(cache);
      assert.deepEqual([state, isReady], ['off', true]);
      assert.match(reason, /NOPERM/);
      await assert.rejects(cache.reset(), { code: 'ERR_REMOTE', message: /NOPERM/ });
      await assert.rejects(cache.deletePrefix('k'), { code: 'ERR_REMOTE', message: /NOPERM/ });
      assert.equal(await cache.get('k'), 1);
      await ask(server, ['ACL', 'DELUSER', 'app']);
    });

    // ---- databases, sockets, prefixes

    it(`the database of the client, ${library}`, async () => {
      const { port } = server;
      const cache = open(clientOf(library, { socket: { port }, database: 3 }, { port, db: 3 }));
      await untilOn(cache);
      await cache.set('k', 'v');
      const [, , key] = await ask(server, ['SELECT', '3'], ['DBSIZE'], ['RANDOMKEY']);
      assert.equal(key, `lru:{${cache.namespace}}:e:s:k`);
      const other = open(CLIENTS[library](server.url), { namespace: cache.namespace });
      await untilOn(other);
      assert.equal(await other.getEntry('k'), undefined, 'not in the database 0');
      await works(cache);
    });

    it(`a database that is not there is not database 0, ${library}`, async () => {
      const { port } = server;
      await fails(
        open(clientOf(library, { socket: { port }, database: 99 }, { port, db: 99 }), {
          timeout: 300,
        }),
        /DB index is out of range/,
      );
    });

    it(`a Unix socket, ${library}`, async () => {
      const local = await start(({ directory }) => ['--unixsocket', path.join(directory, 's')]);
      const socket = path.join(local.directory, 's');
      await works(open(clientOf(library, { socket: { path: socket } }, { path: socket })), local);
    });

    it(`keyPrefix stands before prefix, ${library}`, async () => {
      const { port } = server;
      const keyPrefix = 'app:';
      const cache = open(clientOf(library, { socket: { port }, keyPrefix }, { port, keyPrefix }));
      await untilOn(cache);
      await cache.set('k', 'v');
      const [keys] = await ask(server, ['KEYS', `*{${cache.namespace}}*`]);
      // node-redis 5 has no such option; the cache takes it all the same.
      assert.deepEqual(keys, [`app:lru:{${cache.namespace}}:e:s:k`]);
      await works(cache);
      assert.deepEqual((await ask(server, ['KEYS', '*']))[0], []);
    });
  }

  it('a Unix socket by URL, with a user and a database', async () => {
    const local = await start(({ directory }) => ['--unixsocket', path.join(directory, 's')]);
    await ask(local, [
      'ACL',
      'SETUSER',
      'app',
      'on',
      '>se:cret',
      'allkeys',
      'allchannels',
      '+@all',
    ]);
    const socket = path.join(local.directory, 's');
    const cache = open(`unix://app:se%3Acret@${socket}?db=3`);
    await untilOn(cache);
    await cache.set('k', 1);
    const [, size] = await ask(local, ['SELECT', '3'], ['DBSIZE']);
    assert.equal(size, 1);
    await works(open(`unix://${socket}`), local);
  });

  it('options of either library are taken by that library', async () => {
    const { port } = server;
    await works(open({ host: '127.0.0.1', port, db: 2 }));
    await works(open({ socket: { host: '127.0.0.1', port }, database: 2 }));
  });

  it('a connection that hangs is given up, and leaves nothing open', async () => {
    const sockets = new Set();
    const silent = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
      socket.resume();
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address();
    const caches = LIBRARIES.map((library) =>
      open(clientOf(library, { socket: { port } }, { port, lazyConnect: true }), { timeout: 100 }),
    );
    for (const cache of caches) {
      await until(async () => (await remoteOf(cache)).reason === 'no connection was made in time');
    }
    // The next attempts have begun: one connection for commands, one that tells. All four caches are of one machine.
    await until(() => sockets.size >= 4);
    await sleep(500);
    assert.ok(sockets.size <= 5, `${sockets.size} connections`);
    silent.close();
    for (const socket of sockets) socket.destroy();
  });

  for (const library of LIBRARIES) {
    it(`what comes from another server than the one that tells is not stored, ${library}`, async () => {
      const other = await start();
      const proxy = await new Proxy(server.port).start();
      ends.push(() => proxy.remove());
      const client = CLIENTS[library](proxy.url);
      client.on('error', () => {});
      const near = open(client);
      const { namespace } = near;
      const far = await farAgent.open({ namespace, timeout: 2000, remote: other.url });
      ends.push(() => far.close());
      await untilOn(near);
      await untilOn(far);
      await far.set('k', 1);
      // The name of the server leads elsewhere, as after a failover. What tells of changes does not notice.
      proxy.target = other.port;
      proxy.cutCommands();
      const { connects } = await remoteOf(near);
      await until(async () => (await remoteOf(near)).connects > connects);
      for (let value = 2; value < 20; value += 1) {
        await far.set('k', value);
        await until(async () => (await near.get('k')) === value, 2000);
      }
      await untilOn(near);
      await until(async () => (await near.get('k')) === 19 && (await near.length()) === 1);
    });
  }

  it('a process whose commands go to another server than the one that tells connects anew', async () => {
    const other = await start();
    const proxy = await new Proxy(server.port).start();
    ends.push(() => proxy.remove());
    const namespace = unique('endpoint');
    const worker = await startProcess.worker();
    const holder = open(proxy.url, { namespace });
    await untilOn(holder);
    await holder.set('k', 1);
    const cache = await worker.open({ namespace, timeout: 2000, remote: proxy.url });
    assert.equal(await cache.get('k'), 1);
    assert.equal(await cache.get('of the worker'), undefined);
    proxy.target = other.port;
    proxy.cutThose('of the worker');
    const connects = async () => (await remoteOf(cache)).connects;
    await until(async () => (await connects()) >= 2);
    proxy.target = server.port;
    assert.equal(await cache.get('none'), undefined, 'it asks the other server');
    await until(async () => (await connects()) >= 3);
    await holder.set('k', 2);
    await until(async () => (await cache.get('k')) === 2);
    assert.equal(await cache.length(), 1, 'it is stored here');
    await cache.close();
    await worker.kill();
  });

  it('a holder whose commands go to another server than the one that tells connects them anew', async () => {
    const other = await start();
    const proxy = await new Proxy(other.port).start();
    ends.push(() => proxy.remove());
    const cache = open(proxy.url);
    await untilOn(cache);
    proxy.target = server.port;
    proxy.cutTracking();
    const { connects } = await remoteOf(cache);
    await until(async () => (await remoteOf(cache)).connects > connects);
    await works(cache);
  });

  it('a replica is refused', async () => {
    const replica = await start(() => ['--replicaof', '127.0.0.1', String(server.port)]);
    for (const library of LIBRARIES) {
      const client = CLIENTS[library](replica.url);
      client.on('error', () => {});
      await fails(open(client, { timeout: 300 }), /the server is (a replica|loading)/);
    }
    await ask(replica, ['REPLICAOF', 'NO', 'ONE']);
  });

  it('a server that becomes a replica is left', async () => {
    const primary = await start();
    const caches = LIBRARIES.map((library) => {
      const client = CLIENTS[library](primary.url);
      client.on('error', () => {});
      return open(client, { timeout: 300 });
    });
    await Promise.all(caches.map(untilOn));
    await ask(primary, ['REPLICAOF', '127.0.0.1', String(server.port)]);
    for (const cache of caches) {
      await assert.rejects(cache.set('k', 1), { code: 'ERR_REMOTE' });
      await fails(cache, /the server is (a replica|loading)/);
    }
    await ask(primary, ['REPLICAOF', 'NO', 'ONE']);
    for (const cache of caches) await untilOn(cache);
    for (const cache of caches) await cache.set('k', 1);
  });
});
