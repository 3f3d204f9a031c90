'use strict';

// The remote tier with sentinels: the primary is killed, and the tier goes on with the new one.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { processes, unique, until } = require('../helpers');
const { CLIENTS, describeServers, endClient, startSentinel, startServer } = require('./servers');
const { SentinelPort } = require('../../lib/remote/clients/node-redis');

const NAME = 'mymaster';

/** Asks a server, or a sentinel. */
async function ask({ url }, ...args) {
  const client = CLIENTS['redis 6'](url);
  client.on('error', () => {});
  await client.connect();
  try {
    return await client.sendCommand(args);
  } finally {
    client.destroy();
  }
}

describeServers('sentinels of the remote tier', ({ program }) => {
  const start = processes();
  let farAgent;
  let servers;
  let sentinels;
  let primary;
  let replica;
  let ends;

  before(async () => (farAgent = await start.primary()));

  beforeEach(async () => {
    ends = [];
    primary = await startServer(program);
    replica = await startServer(program, () => ['--replicaof', '127.0.0.1', `${primary.port}`]);
    servers = [primary, replica];
    const isReplicated = async () => /state=online/.test(await ask(primary, 'INFO', 'replication'));
    await until(isReplicated, 20_000);
    sentinels = [await startSentinel(program, primary.port)];
    await until(async () => (await ask(sentinels[0], 'SENTINEL', 'REPLICAS', NAME)).length === 1);
  });

  afterEach(async () => {
    for (const end of ends.reverse()) await end();
    for (const server of [...servers, ...sentinels]) await server.remove();
  });

  const nodes = () => sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
  const GIVEN = {
    'ioredis 6, a client': () => new (require('ioredis').Redis)({ sentinels: nodes(), name: NAME }),
    'ioredis 5, a client': () =>
      new (require('ioredis-5').Redis)({ sentinels: nodes(), name: NAME }),
    'ioredis 6, its options': () => ({ sentinels: nodes(), name: NAME }),
    'redis 6, the options of createSentinel': () => ({ name: NAME, sentinelRootNodes: nodes() }),
  };

  const remoteOf = async (cache) => (await cache.stats()).remote;
  const untilOn = (cache) =>
    until(async () => {
      const { state, isReady } = await remoteOf(cache);
      return isReady && state === 'on';
    }, 20_000);
  const open = (client, namespace) => {
    client.on?.('error', () => {});
    const remote = { client, onError: 'reject' };
    const cache = new Cache({ namespace, timeout: 300, remote });
    ends.push(async () => {
      await cache.close();
      if (typeof client.duplicate === 'function') endClient(client);
    });
    return cache;
  };
  const openFar = async (namespace) => {
    const remote = { client: { name: NAME, sentinelRootNodes: nodes() }, onError: 'reject' };
    const cache = await farAgent.open({ namespace, timeout: 300, remote });
    ends.push(() => cache.close());
    return cache;
  };
  /** Until the server that is left is the primary. The sentinel ends its connections then. */
  const untilPromoted = () =>
    until(async () => {
      const info = await ask(replica, 'INFO', 'replication').catch(String);
      return info.includes('role:master');
    }, 30_000);

  for (const [title, give] of Object.entries(GIVEN)) {
    it(`goes on with the new primary, and nothing stale stays, ${title}`, async () => {
      const namespace = unique('sentinel');
      const near = open(give(), namespace);
      const far = await openFar(namespace);
      await untilOn(near);
      await untilOn(far);
      await far.mSet({ a: 1, b: 1, c: 1 });
      await until(async () => (await near.get('c')) === 1);
      assert.deepEqual(await near.getMany(['a', 'b', 'c']), [1, 1, 1]);
      assert.equal(await near.length(), 3, 'they are stored here');
      await until(async () => {
        const key = `lru:{${namespace}}:e:s:c`;
        return (await ask(replica, 'EXISTS', key)) === 1;
      });

      await primary.kill();
      await untilPromoted();
      // Written where nobody of this machine is told yet.
      await until(
        () =>
          far.set('a', 2).then(
            () => true,
            () => false,
          ),
        20_000,
      );
      await untilOn(near);
      assert.equal(await near.get('a'), 2);
      assert.equal(await near.get('b'), 1, 'what was replicated is there');
      await untilOn(far);
      for (let value = 3; value < 6; value += 1) {
        await far.set('a', value);
        await until(async () => (await near.get('a')) === value);
        assert.equal(await near.incr('n'), value - 2);
      }
      assert.equal(await near.length(), 2, 'a and b are stored here');
      // Told by the new primary.
      const { pushes, isHolder } = await remoteOf(near);
      assert.ok(isHolder && pushes > 0);
      await far.del('a');
      await until(async () => (await near.length()) === 1);
    }).timeout(90_000);
  }

  it('goes on with the new primary while the old one becomes a replica', async () => {
    const caches = Object.values(GIVEN).map((give) => open(give(), unique('sentinel')));
    const [first] = caches;
    const far = await openFar(first.namespace);
    for (const cache of [...caches, far]) await untilOn(cache);
    await far.set('k', 0);
    await until(async () => (await first.get('k')) === 0);
    await ask(sentinels[0], 'SENTINEL', 'FAILOVER', NAME);
    await untilPromoted();
    await until(async () => {
      const info = await ask(primary, 'INFO', 'replication').catch(String);
      return info.includes('role:slave');
    }, 30_000);
    await until(() => far.set('k', 1).catch(() => false), 20_000);
    for (const cache of caches) await untilOn(cache);
    for (let value = 2; value < 6; value += 1) {
      await far.set('k', value);
      await until(async () => (await first.get('k')) === value);
      for (const cache of caches) assert.equal(await cache.incr('n'), value - 1);
    }
  }).timeout(90_000);

  it('a sentinel that does not answer is passed over', async () => {
    sentinels.unshift(await startSentinel(program, primary.port));
    sentinels[0].stop();
    const caches = Object.values(GIVEN).map((give) => open(give(), unique('sentinel')));
    for (const cache of caches) {
      await untilOn(cache);
      await cache.set('k', 1);
      assert.equal(await cache.get('k'), 1);
    }
    sentinels[0].go();
  }).timeout(60_000);

  it('node-redis 5 and 6 find the primary by the options of createSentinel', async () => {
    for (const library of ['redis', 'redis-5']) {
      const options = {
        name: NAME,
        sentinelRootNodes: nodes(),
        nodeClientOptions: { database: 2 },
      };
      const port = new SentinelPort(require(library).createClient, options).open();
      await until(() => port.isReady);
      assert.match(String(await port.send(['CLIENT', 'INFO'])), / db=2 /);
      const told = [];
      const tracker = await port.track(
        ['k'],
        (keys) => told.push(...keys),
        () => {},
      );
      await port.send(['SET', 'k', '1']);
      await tracker.send(['PING']);
      assert.deepEqual(told.map(String), ['k']);
      tracker.close();
      port.close();
    }
  });

  it('says which name no sentinel knows, and that none answers', async () => {
    const reasonOf = async (client) => {
      const cache = open(client, unique('sentinel'));
      await until(async () => (await remoteOf(cache)).reason !== undefined);
      return (await remoteOf(cache)).reason;
    };
    assert.match(await reasonOf({ name: 'other', sentinelRootNodes: nodes() }), /no primary other/);
    assert.match(await reasonOf({ name: 'other', sentinels: nodes() }), /sentinel/i);
    await sentinels[0].kill();
    assert.match(await reasonOf({ name: NAME, sentinelRootNodes: nodes() }), /ECONNREFUSED/);
    assert.match(await reasonOf({ name: NAME, sentinels: nodes() }), /sentinels are unreachable/);
  });
});
