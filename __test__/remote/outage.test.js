'use strict';

// The remote tier where the server, a connection or a process is away, and what an instance has of it.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { promisify } = require('node:util');
const Cache = require('../..');
const { Machine } = require('../../lib/remote/machine');
const { processes, unique, until } = require('../helpers');
const { CLIENTS, Proxy, describeServers, startServer } = require('./servers');

const run = promisify(execFile);
const ROOT = path.join(__dirname, '..', '..');

const stateOf = async (cache) => (await cache.stats()).remote.state;
const untilOn = (cache) => until(async () => (await stateOf(cache)) === 'on');

/** Makes a call, which must not take much longer than `timeout` of the instance. */
async function timely(cache, call) {
  const begun = performance.now();
  try {
    return await call();
  } finally {
    const took = performance.now() - begun;
    assert.ok(took < cache.timeout + 400, `${took} ms`);
  }
}

/** Asks a server. */
async function ask(server, args) {
  const client = CLIENTS['redis 6'](server.url);
  await client.connect();
  try {
    return await client.sendCommand(args);
  } finally {
    client.destroy();
  }
}

describeServers('outages of the remote tier', ({ program }) => {
  const start = processes();
  let server;
  let proxy;
  let namespace;
  /** Another machine. */
  let farAgent;
  let far;
  let near;

  before(async () => {
    server = await startServer(program);
    farAgent = await start.primary();
  });
  after(() => server.remove());
  beforeEach(async () => {
    namespace = unique('outage');
    proxy = await new Proxy(server.port).start();
    const options = { namespace, timeout: 300, failsafe: 'reject' };
    far = await farAgent.open({ ...options, remote: { client: server.url } });
    await untilOn(far);
    near = await Cache.getInstance({ ...options, remote: { client: proxy.url } });
    await untilOn(near);
  });
  afterEach(async () => {
    proxy.release();
    await near.close();
    await proxy.remove();
    await far.close();
  });

  it('a read that the first tier keeps waiting ends in time', async () => {
    await far.set('k', 1);
    const { look } = Machine.prototype;
    // As by IPC with a primary that is blocked after it has answered that there is no entry.
    Machine.prototype.look = () => new Promise(() => {});
    const begun = performance.now();
    try {
      assert.equal(await near.get('k'), undefined);
    } finally {
      Machine.prototype.look = look;
    }
    assert.ok(performance.now() - begun < 2 * near.timeout + 400);
    assert.equal(await near.get('k'), 1);
  });

  it('without the tracking connection each read asks the server, and none is stored', async () => {
    await far.set('k', 1);
    assert.equal(await near.get('k'), 1);
    proxy.refuses = true;
    proxy.cutTracking();
    await until(async () => (await stateOf(near)) === 'off');
    assert.equal(await near.length(), 0, 'what came from the server is dropped');
    for (let value = 2; value < 5; value += 1) {
      await far.set('k', value);
      assert.equal(await near.get('k'), value);
      assert.equal(await near.incr('n'), value - 1);
      assert.deepEqual(await near.getMany(['k', 'n']), [value, value - 1]);
    }
    assert.equal(await near.length(), 0);
    proxy.refuses = false;
    await untilOn(near);
    await far.set('k', 5);
    await until(async () => (await near.get('k')) === 5);
    await until(async () => (await near.length()) > 0);
  });

  it('a reply from before the tracking is not stored after it has begun', async () => {
    await far.set('k', 1);
    proxy.refuses = true;
    proxy.cutTracking();
    await until(async () => (await stateOf(near)) === 'off');
    near.timeout = 20_000;
    proxy.holdReplies();
    const reading = near.get('k');
    await until(() => proxy.held > 0);
    await far.set('k', 2);
    proxy.refuses = false;
    // The tracking connection is new, and not held; the state needs no other.
    await untilOn(near);
    proxy.release();
    await reading;
    assert.equal(await near.get('k'), 2);
  });

  it('a tracking connection that was killed is made anew, and nothing stale stays', async () => {
    for (let round = 0; round < 5; round += 1) {
      await far.set('k', round);
      assert.equal(
        await until(async () => ((await near.get('k')) === round ? 'read' : '')),
        'read',
      );
      const list = await ask(server, ['CLIENT', 'LIST']);
      const lines = list.split('\n').filter((one) => / flags=\S*[tB]/.test(one));
      for (const line of lines) {
        await ask(server, ['CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)[1]]);
      }
      await far.set('k', `${round} and on`);
      await until(async () => (await near.get('k')) === `${round} and on`);
      await untilOn(near);
      await untilOn(far);
      assert.equal(await near.get('k'), `${round} and on`);
    }
  });

  it('a server that was killed comes back empty, and no call takes long', async () => {
    for (let round = 0; round < 4; round += 1) {
      await far.set('k', `old ${round}`);
      await until(async () => (await near.get('k')) === `old ${round}`);
      await server.kill();
      // Until it is noticed, what lies here counts.
      await until(async () => (await timely(near, () => near.get('k'))) === undefined, 2500);
      assert.equal(await timely(near, () => near.set('k', `here ${round}`)), true);
      assert.equal(await near.incr('n', 2), 2);
      assert.equal(await near.incr('n', 2), 4);
      assert.equal(await near.get('k'), `here ${round}`, 'the first tier goes on alone');
      assert.equal(await near.fetch(`f${round}`, () => 'loaded'), 'loaded');
      assert.equal(await near.get(`f${round}`), 'loaded');
      assert.equal(await near.del('gone'), undefined);
      await near.invalidateTags('tag');
      await server.restart();
      await untilOn(near);
      await untilOn(far);
      await until(async () => (await near.get('k')) === undefined, 3000);
      assert.equal(await near.get('n'), undefined);
      await until(async () => (await near.stats()).remote.isReady);
      await near.set('k', 'new');
      await until(async () => (await far.get('k')) === 'new');
    }
  });

  it('a server that stands still holds no call longer than timeout; a write that was given up has no effect later', async () => {
    await far.set('k', 'old');
    assert.equal(await near.get('k'), 'old');
    server.stop();
    assert.equal(await timely(near, () => near.set('k', 'given up')), true);
    assert.equal(await near.get('k'), 'given up');
    assert.equal(await timely(near, () => near.get('other')), undefined);
    assert.equal(await timely(near, () => near.incr('n')), 1);
    assert.equal(await timely(near, () => near.fetch('f', () => 1)), 1);
    await sleep(200);
    server.go();
    await until(async () => (await near.get('k')) === undefined, 5000);
    await untilOn(near);
    await untilOn(far);
    await until(async () => (await far.get('k')) !== 'old');
    assert.equal(await far.get('k'), undefined);
    assert.equal(await far.get('n'), undefined);
    await until(async () => (await near.stats()).remote.isReady);
    assert.equal(await near.incr('n'), 1);
    assert.equal(await far.get('n'), 1);
  });

  it('a server that stands still for long is noticed, and comes back', async () => {
    await far.set('k', 'old');
    assert.equal(await near.get('k'), 'old');
    server.stop();
    await until(async () => (await timely(near, () => near.get('k'))) === undefined, 2500);
    await sleep(2500);
    server.go();
    await untilOn(near);
    await until(async () => (await near.get('k')) === 'old');
  });

  it('with onError reject calls reject with ERR_REMOTE', async () => {
    const remote = { client: proxy.url, onError: 'reject' };
    const cache = await Cache.getInstance({ namespace: unique('outage'), timeout: 300, remote });
    await cache.set('k', 1);
    assert.equal(await cache.get('k'), 1);
    proxy.refuses = true;
    proxy.cut();
    await until(async () => (await stateOf(cache)) === 'off');
    const calls = {
      get: ['k'],
      has: ['k'],
      getMany: [['k']],
      mGet: [['k']],
      getEntry: ['k'],
      set: ['k', 2],
      del: ['k'],
      incr: ['n'],
      hit: ['n', 1000],
      setIfAbsent: ['k', 2],
      compareAndSet: ['k', 5, 2],
      mSet: [{ k: 2 }],
      reset: [],
      deletePrefix: ['k'],
      invalidateTags: ['tag'],
      update: ['k', () => 2],
      healthCheck: [],
    };
    for (const [name, args] of Object.entries(calls)) {
      await timely(cache, () => assert.rejects(cache[name](...args), { code: 'ERR_REMOTE' }, name));
    }
    assert.equal(await cache.fetch('f', () => 'loaded'), 'loaded', 'a cache never fails a fetch');
    proxy.refuses = false;
    await untilOn(cache);
    await until(async () => (await cache.stats()).remote.isReady);
    assert.equal(await cache.healthCheck(), true);
    assert.equal(await cache.get('k'), 1);
    assert.equal(await cache.get('f'), undefined);
    await cache.close();
  });

  it('a tag that was invalidated while the server was away ends what is there', async () => {
    await far.set('a', 1, { tags: 'red' });
    await far.set('b', 2, { tags: 'blue' });
    await far.set('c', 3);
    assert.deepEqual(await near.getMany(['a', 'b', 'c']), [1, 2, 3]);
    proxy.refuses = true;
    proxy.cut();
    await until(async () => (await stateOf(near)) === 'off');
    await near.invalidateTags('red');
    await near.del('c');
    // The server is there again; the tracking is not yet.
    proxy.refuses = false;
    await until(async () => (await near.get('b')) === 2);
    assert.equal(await near.get('a'), undefined);
    assert.equal(await near.fetch('a', () => 'anew'), 'anew');
    assert.equal(await near.get('c'), undefined);
    await untilOn(near);
    await until(async () => (await far.get('c')) === undefined);
    await until(async () => (await far.get('a')) !== 1);
    assert.equal(await far.get('b'), 2);
  });

  it('what was set here alone stays for as long as the server is away', async () => {
    proxy.refuses = true;
    proxy.cut();
    await until(async () => (await stateOf(near)) === 'off');
    await near.set('k', 'here');
    await near.incr('n', 5);
    // Longer than several attempts to connect, and than a holder may be silent.
    const end = performance.now() + 4000;
    while (performance.now() < end) {
      assert.equal(await near.get('k'), 'here');
      assert.equal(await near.fetch('k', () => 'loaded'), 'here');
      await sleep(50);
    }
    assert.equal(await near.incr('n', 5), 10);
    proxy.refuses = false;
    await untilOn(near);
    await until(async () => (await near.get('k')) === undefined);
    assert.equal(await far.get('k'), undefined);
  });

  it('what clear removed while the server was away does not come back', async () => {
    await far.set('a', 1);
    proxy.refuses = true;
    proxy.cut();
    await until(async () => (await stateOf(near)) === 'off');
    await near.clear();
    await near.set('b', 2);
    assert.equal(await near.get('b'), 2);
    await assert.rejects(near.deletePrefix('b'), { code: 'ERR_REMOTE' });
    proxy.refuses = false;
    await until(async () => (await near.stats()).remote.isReady);
    assert.equal(await near.get('a'), undefined);
    await untilOn(near);
    await until(async () => (await far.get('a')) === undefined);
    await near.set('a', 3);
    await until(async () => (await far.get('a')) === 3);
  });

  it('versions of the server fit nothing while it is away, and those of here nothing after', async () => {
    await far.set('k', 'there');
    const { version } = await near.getEntry('k');
    proxy.refuses = true;
    proxy.cut();
    await until(async () => (await stateOf(near)) === 'off');
    assert.equal(await near.getEntry('k'), undefined);
    assert.equal(await near.compareAndSet('k', version, 'old'), false);
    assert.equal(await near.compareAndDelete('k', version), false);
    assert.equal(await near.compareAndSet('k', 0, 1), true);
    assert.equal(await near.update('k', (value) => value + 1), 2);
    const here = await near.getEntry('k');
    assert.equal(here.value, 2);
    assert.equal(await near.compareAndSet('k', here.version, 3), true);
    assert.equal(await near.healthCheck(), true);
    proxy.refuses = false;
    await untilOn(near);
    await until(async () => (await near.getEntry('k')) === undefined);
    assert.equal(await far.get('k'), undefined);
    await far.set('k', 'later');
    assert.equal(await near.compareAndSet('k', here.version, 4), false);
    assert.equal(await near.update('k', (value) => `${value}, still`), 'later, still');
  });

  it('a write whose connection was lost on its way has no effect after a later write', async () => {
    const remote = { client: proxy.url, onError: 'reject' };
    const cache = await Cache.getInstance({ namespace, timeout: 500, remote });
    await cache.set('k', 'before');
    const arrive = proxy.holdRequests();
    const first = assert.rejects(cache.set('k', 'first'), { code: 'ERR_REMOTE' });
    await until(() => proxy.asked > 0);
    proxy.cut();
    await first;
    await until(() => cache.set('k', 'second').catch(() => false));
    arrive();
    await far.set('marker', 1);
    await sleep(50);
    assert.equal(await far.get('k'), 'second');
    assert.equal(await cache.get('k'), 'second');
    await cache.close();
  });

  it('a loader whose machine dies is followed by one of another machine', async () => {
    const other = await start.primary();
    const there = await other.open({ namespace, timeout: 300, remote: { client: server.url } });
    await untilOn(there);
    const begun = other.run(
      ({ state }) =>
        new Promise((resolve) => {
          state.caches[0].fetch('job', () => {
            resolve('begun');
            return new Promise(() => {});
          });
        }),
    );
    assert.equal(await begun, 'begun');
    const waiting = near.fetch('job', () => 'by the second');
    let isOver = false;
    waiting.then(() => (isOver = true));
    await sleep(1000);
    assert.equal(isOver, false, 'the owner lives');
    await other.kill();
    const died = performance.now();
    assert.equal(await waiting, 'by the second');
    assert.ok(performance.now() - died < 4500);
    assert.equal(await far.get('job'), 'by the second');
  });

  it('without tracking nobody who comes after invalidateTags is given what another process had found before', async () => {
    // As a second process of the machine: it has a connection of its own.
    const remote = { client: CLIENTS['redis 6'](proxy.url) };
    const second = await Cache.getInstance({
      namespace,
      timeout: 5000,
      failsafe: 'reject',
      remote,
    });
    try {
      near.timeout = 5000;
      await far.set('k', 'old', { tags: ['t'] });
      proxy.refuses = true;
      proxy.cutTracking();
      await until(async () => (await stateOf(second)) === 'off');
      // All that a claim of this process needs is known.
      await near.fetch('of near', () => 1);
      proxy.holdReplies('of near');
      // The server gives the entry, but it does not arrive yet.
      const first = near.fetch('k', () => 'new');
      await until(() => proxy.held > 0);
      await second.invalidateTags(['t']);
      const next = second.fetch('k', () => 'new');
      // It waits for the first one.
      await sleep(100);
      proxy.release();
      assert.equal(await next, 'new');
      await first;
    } finally {
      await second.close();
    }
  });

  it('a fetch whose value could not be stored leaves no lease behind', async () => {
    proxy.delay = 0;
    for (const hold of ['holdReplies', 'holdRequests']) {
      const key = `settled ${hold}`;
      let isHeld;
      const first = near.fetch(key, async () => {
        proxy[hold]();
        isHeld = hold === 'holdReplies' ? () => proxy.held > 0 : () => proxy.asked > 0;
        return 'loaded';
      });
      await until(() => isHeld?.());
      // The connection is lost on which the answer would come. That of the holder is not: nothing ends the leases here.
      proxy.cutCommands();
      assert.equal(await first, 'loaded');
      const begun = performance.now();
      await near.fetch(key, () => 'loaded anew');
      const took = performance.now() - begun;
      assert.ok(took < 2000, `${hold}: ${took} ms`);
    }
  });

  it('a right to load that could not be given up at once is given up later', async () => {
    let release;
    const other = near.fetch('other', () => new Promise((resolve) => (release = resolve)));
    await until(() => release !== undefined);
    const failure = near.fetch('k', async () => {
      proxy.holdRequests();
      throw new Error('the loader failed');
    });
    await assert.rejects(failure, { message: 'the loader failed' });
    await until(() => proxy.asked > 0);
    proxy.cutCommands();
    const begun = performance.now();
    const fetch = ({ state }) => state.caches.at(-1).fetch('k', () => 'by another machine');
    assert.equal(await farAgent.run(fetch), 'by another machine');
    const took = performance.now() - begun;
    assert.ok(took < 3000, `${took} ms`);
    release('loaded');
    assert.equal(await other, 'loaded');
  });

  it('close ends the connections, and the last instance of a process all of them', async () => {
    const count = async () => (await ask(server, ['CLIENT', 'LIST'])).trim().split('\n').length;
    const before = await count();
    const agent = await start.primary();
    const options = { namespace, remote: { client: server.url } };
    const one = await agent.open(options);
    const two = await agent.open({ ...options, namespace: unique('outage') });
    await untilOn(one);
    await until(async () => (await count()) === before + 2, 2000);
    await one.close();
    await two.set('k', 1);
    assert.equal(await two.get('k'), 1);
    await two.close();
    await until(async () => (await count()) === before);
    const again = await agent.open(options);
    await again.set('k', 2);
    assert.equal(await again.get('k'), 2);
    await agent.kill();
  });

  it('an instance that was closed leaves the others what they have', async () => {
    const options = { namespace, timeout: 300, remote: { client: proxy.url } };
    const first = await Cache.getInstance(options);
    const second = await Cache.getInstance(options);
    await near.close();
    await first.close();
    await far.set('k', 1);
    assert.equal(await second.get('k'), 1);
    await far.set('k', 2);
    await until(async () => (await second.get('k')) === 2);
    proxy.cut();
    await untilOn(second);
    await far.set('k', 3);
    await until(async () => (await second.get('k')) === 3);
    // The last one is closed, and the next is there at once.
    const closed = second.close();
    near = await Cache.getInstance(options);
    await closed;
    const begun = performance.now();
    await untilOn(near);
    assert.ok(performance.now() - begun < 5000);
    assert.equal(await near.get('k'), 3);
  });

  it('a process with a remote tier ends by itself', async () => {
    const code = `
      const Cache = require('.');
      (async () => {
        const cache = await Cache.getInstance({ namespace: 'ends' });
        await cache.set('k', 1);
        console.log(await cache.get('k'), (await cache.stats()).remote.state);
      })();`;
    const env = { ...process.env, LRU_CACHE_REMOTE: server.url };
    const { stdout } = await run(process.execPath, ['-e', code], {
      cwd: ROOT,
      env,
      timeout: 20_000,
    });
    assert.equal(stdout, '1 on\n');
  });

  it('init gives every namespace the tier, and remote: false none', async () => {
    const agent = await start.primary();
    const found = await agent.run(async ({ Cache: Class }, url) => {
      Class.init({ remote: { client: url, prefix: 'app:' } });
      const cache = await Class.getInstance({ namespace: 'with', timeout: 5000 });
      const without = await Class.getInstance({ namespace: 'without', remote: false });
      await cache.set('k', 1);
      const names = Object.keys(await Class.stats());
      const caches = Object.keys(Class.getAllCaches());
      return [
        (await cache.stats()).remote !== undefined,
        (await without.stats()).remote,
        names,
        caches,
      ];
    }, server.url);
    assert.deepEqual(found, [true, undefined, ['with', 'without'], ['with', 'without']]);
    assert.equal(await ask(server, ['EXISTS', 'app:{with}:e:s:k']), 1);
    await agent.kill();
  });

  it('the channel says what the state is', async () => {
    const { subscribe, unsubscribe } = require('node:diagnostics_channel');
    const said = [];
    const listen = (message) => said.push(message.state);
    subscribe('lru-cache-for-clusters-as-promised:remote', listen);
    proxy.cutTracking();
    await until(() => said.includes('off') && said.at(-1) === 'on');
    unsubscribe('lru-cache-for-clusters-as-promised:remote', listen);
  });

  it('the channel tells of each call that the server did not answer', async () => {
    const { subscribe, unsubscribe } = require('node:diagnostics_channel');
    const said = new Set();
    const listen = ({ command }) => said.add(command);
    proxy.refuses = true;
    proxy.cut();
    await until(async () => (await stateOf(near)) === 'off');
    subscribe('lru-cache-for-clusters-as-promised:remote', listen);
    await near.get('k');
    await near.set('k', 1);
    await near.invalidateTags('tag');
    await near.reset();
    unsubscribe('lru-cache-for-clusters-as-promised:remote', listen);
    said.delete(undefined);
    assert.deepEqual([...said], ['get', 'set', 'invalidateTags', 'reset']);
  });

  it('metrics of Prometheus say what of it, for namespaces that have it alone', async () => {
    const { metrics } = require('lru-cache-for-clusters-as-promised/prometheus');
    const without = new Cache({ namespace: unique(), remote: false });
    await near.get('missing');
    const of = async (name, label) => {
      const sample = new RegExp(
        `^lru_cache_remote_${name}\\{namespace="${label}",pid="\\d+"\\} (.*)$`,
        'm',
      );
      return sample.exec(await metrics())?.[1];
    };
    assert.equal(await of('misses_total', namespace), '1');
    assert.equal(await of('on', namespace), '1');
    assert.equal(await of('misses_total', without.namespace), undefined);
    await server.kill();
    await until(async () => (await of('on', namespace)) === '0');
    await server.restart();
  });
});

describe('options of the remote tier', () => {
  it('says what is wrong with them', () => {
    const wrong = [
      [5, /remote must be an object or a URL/],
      [{ client: 5 }, /remote.client must be/],
      [{ client: 'redis://127.0.0.1:1', prefx: 'a' }, /did you mean prefix/],
      [{ client: 'redis://127.0.0.1:1', prefix: '{a}' }, /remote.prefix/],
      [{ client: 'redis://127.0.0.1:1', ttl: -1 }, /remote.ttl/],
      [{ client: 'redis://127.0.0.1:1', onError: 'x' }, /remote.onError/],
      [{ duplicate() {} }, /not a client of redis 5 or 6/],
    ];
    for (const [remote, message] of wrong) {
      assert.throws(() => new Cache({ namespace: unique('remote'), remote }), {
        name: 'TypeError',
        message,
      });
    }
  });

  it('nothing of it is loaded without it', async () => {
    const code = `
      const Cache = require('.');
      (async () => {
        const cache = await Cache.getInstance({ namespace: 'off' });
        await cache.set('k', 1);
        await cache.fetch('f', () => 1);
        const here = process.cwd().length;
        const files = Object.keys(require.cache).map((file) => file.slice(here));
        console.log(files.filter((file) => /remote|redis/.test(file)).length);
      })();`;
    const { stdout } = await run(process.execPath, ['-e', code], { cwd: ROOT });
    assert.equal(stdout, '0\n');
  });
});
