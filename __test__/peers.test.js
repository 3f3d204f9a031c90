'use strict';

// Workers without a primary of ours: a process manager has started them, or a primary that only forks.

const assert = require('node:assert/strict');
const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { STRESS, processes, unique, until } = require('./helpers');

const OTHER = path.join(__dirname, 'fixtures', 'peers', 'other.js');
const MEMORY = 'lru-cache-for-clusters:';

/** What a worker's `open` and `run` are asked with: long enough for a busy machine. */
const PATIENT = { timeout: 30_000, failsafe: 'reject' };

/** The names of this package's memory that a process has open. */
function memoryOf(pid) {
  const links = (() => {
    try {
      return fs.readdirSync(`/proc/${pid}/fd`);
    } catch {
      return [];
    }
  })();
  return links.flatMap((fd) => {
    try {
      const name = fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
      return name.startsWith(`/memfd:${MEMORY}`) ? [name.slice(7).split(' ')[0]] : [];
    } catch {
      return [];
    }
  });
}

/** All process ids there are. */
const allProcesses = () => fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));

/** Whether any process still has one of these memories, or one of these addresses. */
function isInUse(names) {
  const addresses = fs.readFileSync('/proc/net/unix', 'latin1');
  const memory = new Set(allProcesses().flatMap(memoryOf));
  return names.some((name) => memory.has(name) || addresses.includes(name.slice(MEMORY.length)));
}

/** A worker of a primary that is itself an agent. */
class Worker {
  constructor(primary, at, pid) {
    this.primary = primary;
    this.at = at;
    this.pid = pid;
  }

  /** Runs a function in the worker, as `Agent.run` does. */
  run(fn, ...args) {
    const relay = ({ state }, at, source, given) =>
      state.workers[at].run((0, eval)(`(${source})`), ...given);
    return this.primary.run(relay, this.at, String(fn), args);
  }

  /** A cache in the worker whose calls are made from here. */
  async open(options) {
    const given = { ...PATIENT, ...options };
    await this.run(async ({ Cache, state }, opened) => {
      state.caches ??= {};
      state.caches[opened.namespace] = await Cache.getInstance(opened);
    }, given);
    const call = ({ state }, namespace, name, args) => state.caches[namespace][name](...args);
    return new Proxy(
      {},
      {
        get: (target, name) =>
          name !== 'then' && ((...args) => this.run(call, given.namespace, name, args)),
      },
    );
  }

  output() {
    return this.primary.run(({ state }, at) => state.workers[at].output, this.at);
  }

  signal(name) {
    process.kill(this.pid, name);
  }

  kill() {
    return this.primary.run(({ state }, at) => state.workers[at].kill(), this.at);
  }
}

/** A worker of a primary, which need not load the package for it. `exec` is its script. */
async function fork(primary, options = {}) {
  const [at, pid] = await primary.run(async ({ state, require: load }, { exec, ...given }) => {
    const cluster = load('node:cluster');
    const { startWorker } = load('.');
    const { setupPrimary } = cluster;
    cluster.setupPrimary = (settings) =>
      setupPrimary.call(cluster, exec ? { ...settings, exec } : settings);
    let starting;
    try {
      starting = startWorker(given);
    } finally {
      cluster.setupPrimary = setupPrimary;
    }
    const worker = await starting;
    state.workers ??= [];
    return [state.workers.push(worker) - 1, worker.child.pid];
  }, options);
  return new Worker(primary, at, pid);
}

const forkMany = (primary, count, options) =>
  Promise.all(Array.from({ length: count }, () => fork(primary, options)));

const hasLoaded = (primary) =>
  fs.readFileSync(`/proc/${primary.child.pid}/maps`, 'latin1').includes('lru-cache-for-clusters.');

/** Keeps the times at which a process logs that it has pruned. To be run before the package is loaded. */
function watchPrunes({ state }) {
  process.env.DEBUG = 'lru-cache-for-clusters-as-promised-*';
  const { write } = process.stderr;
  state.pruned = [];
  process.stderr.write = (text) => {
    if (String(text).includes(' pruned ')) state.pruned.push(Date.now());
    return write.call(process.stderr, text);
  };
}

/** Those times, since this was called last. */
const takePrunes = ({ state }) => state.pruned.splice(0);

/** In a worker: counts on `key` and on 'all', until `enough` or until told to stop. How often it did. */
async function count({ Cache, state }, options, key, enough = Infinity) {
  const cache = await Cache.getInstance(options);
  let counted = 0;
  state.stop = false;
  while (counted < enough && !state.stop) {
    await Promise.all([cache.incr(key), cache.incr('all')]);
    counted += 1;
    if (counted % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return counted;
}

const linux = process.platform === 'linux' ? describe : describe.skip;

linux('a primary that does nothing but fork', () => {
  const { primary: start } = processes();

  for (const serialization of ['json', 'advanced']) {
    it(`its workers share one cache (serialization: ${serialization})`, async () => {
      const primary = await start();
      const workers = await forkMany(primary, 4, { serialization });
      const namespace = unique('peers');
      const caches = await Promise.all(workers.map((worker) => worker.open({ namespace })));
      await Promise.all(
        workers.map((worker) =>
          worker.run(async ({ state }, name) => {
            for (let at = 0; at < 500; at += 1) await state.caches[name].incr('n');
          }, namespace),
        ),
      );
      assert.equal(await caches[0].get('n'), 2000);
      await caches[1].set('k', { by: [1], at: new Date(0) });
      const at = serialization === 'json' ? new Date(0).toJSON() : new Date(0);
      assert.deepEqual(await caches[2].get('k'), { by: [1], at });
      assert.deepEqual(await Promise.all(caches.map((cache) => cache.transport())), [
        { kind: 'shared-memory' },
        { kind: 'shared-memory' },
        { kind: 'shared-memory' },
        { kind: 'shared-memory' },
      ]);
      assert.equal(hasLoaded(primary), false);
    });
  }

  it('each cache outlives every single worker, and goes with the last', async () => {
    const primary = await start();
    const namespace = unique('peers');
    let workers = await forkMany(primary, 3);
    const caches = await Promise.all(workers.map((worker) => worker.open({ namespace })));
    await caches[0].mSet({ a: 1, b: { c: 2 } });
    for (let round = 0; round < 4; round += 1) {
      const [oldest, ...others] = workers;
      await oldest.kill();
      const fresh = await fork(primary);
      const cache = await fresh.open({ namespace });
      assert.deepEqual(await cache.mGet(['a', 'b']), { a: 1, b: { c: 2 } });
      assert.equal(await cache.incr('n'), round + 1);
      workers = [...others, fresh];
    }
    const names = memoryOf(workers[0].pid);
    assert.equal(names.length, 1);
    assert.ok(isInUse(names));
    await Promise.all(workers.map((worker) => worker.kill()));
    assert.equal(isInUse(names), false);
    const cache = await (await fork(primary)).open({ namespace });
    assert.equal(await cache.length(), 0);
  });

  it('workers that look at the same moment, again and again, have one cache', async () => {
    const primary = await start();
    const workers = await forkMany(primary, 4);
    const rounds = STRESS ? 500 : 50;
    const counted = await Promise.all(
      workers.map((worker) =>
        worker.run(
          async ({ Cache }, count, options) => {
            const counts = [];
            for (let round = 0; round < count; round += 1) {
              const cache = new Cache({ ...options, namespace: `at once ${round}` });
              counts.push(await cache.incr('n'));
            }
            return counts;
          },
          rounds,
          PATIENT,
        ),
      ),
    );
    for (let round = 0; round < rounds; round += 1) {
      const counts = counted.map((counts) => counts[round]).sort();
      assert.deepEqual(counts, [1, 2, 3, 4], `round ${round}`);
    }
  });

  it('later options change the cache that is there, and bad ones are refused', async () => {
    const primary = await start();
    const [a, b] = await forkMany(primary, 2);
    const namespace = unique('peers');
    const first = await a.open({ namespace, max: 2 });
    const second = await b.open({ namespace, maxAge: 1000 });
    await second.mSet({ a: 1, b: 2, c: 3 });
    assert.deepEqual(await first.keys(), ['c', 'b']);
    assert.equal(await first.maxAge(), 1000);
    await assert.rejects(b.open({ namespace, max: -1 }), { name: 'TypeError', message: /max/ });
    assert.equal(await first.max(), 2);
  });

  it('another script under the same primary never meets it, unless LRU_CACHE_APPLICATION says so', async () => {
    const primary = await start();
    const namespace = unique('peers');
    const of = async (options) => (await fork(primary, options)).open({ namespace });
    const named = (name) => ({ env: { LRU_CACHE_APPLICATION: name } });
    const [agent, again, other, red, redOther, blue] = await Promise.all([
      of(),
      of(),
      of({ exec: OTHER }),
      of(named('red')),
      of({ exec: OTHER, ...named('red') }),
      of(named('blue')),
    ]);
    for (const cache of [agent, again, other, red, redOther, blue]) await cache.incr('n');
    const counts = await Promise.all([agent, other, red, blue].map((cache) => cache.get('n')));
    assert.deepEqual(counts, [2, 1, 2, 1]);
  });

  it('the same script under another primary never meets it', async () => {
    const primaries = await Promise.all([start(), start()]);
    const namespace = unique('peers');
    for (const primary of primaries) {
      const cache = await (await fork(primary)).open({ namespace });
      assert.equal(await cache.incr('n'), 1);
    }
  });

  it('two copies of the package in one worker share what others share', async () => {
    const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'copy-'));
    after(() => fs.rmSync(copy, { recursive: true, force: true }));
    const root = path.join(__dirname, '..');
    const isPart = (name) => /^(index\.js|lib|binding\.js|package\.json|.*\.node)$/.test(name);
    for (const name of fs.readdirSync(root).filter(isPart))
      fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
    const primary = await start();
    const [both, one] = await forkMany(primary, 2);
    const namespace = unique('peers');
    const got = await both.run(
      async (context, second, options) => {
        const a = await context.Cache.getInstance(options);
        const b = await context.require(second).getInstance(options);
        context.state.copies = [a, b];
        await Promise.all([a.incr('n'), b.incr('n')]);
        return [a === b, a.transport(), b.transport()];
      },
      copy,
      { ...PATIENT, namespace },
    );
    assert.deepEqual(got, [false, { kind: 'shared-memory' }, { kind: 'shared-memory' }]);
    const cache = await one.open({ namespace });
    assert.equal(await cache.incr('n'), 3);
    // And all of them go over to the primary when there is one.
    const local = await primary.open({ namespace });
    await until(async () => (await local.get('n')) === 3);
    const counts = await both.run(({ state }) =>
      Promise.all(state.copies.map((either) => either.incr('n'))),
    );
    assert.deepEqual(counts.sort(), [4, 5]);
    assert.equal(await local.get('n'), 5);
  });

  it('prunes on schedule, each time once in all, whoever dies', async () => {
    const primary = await start();
    const workers = await forkMany(primary, 4);
    const namespace = unique('peers');
    const opened = await Promise.all(
      workers.map(async (worker) => {
        await worker.run(watchPrunes);
        return worker.open({ namespace, prune: '* * * * * *' });
      }),
    );
    const alive = new Map(workers.map((worker, at) => [worker, opened[at]]));
    const times = [];
    const collect = async () => {
      const lists = await Promise.all([...alive.keys()].map((worker) => worker.run(takePrunes)));
      times.push(...lists.flat());
      return times.length;
    };
    for (const [worker, cache] of [...alive]) {
      await cache.set('expired', 1, -1);
      await until(async () => (await cache.length()) === 0, 5000);
      const before = await collect();
      await until(async () => (await collect()) > before, 5000);
      if (alive.size > 1) {
        await worker.kill();
        alive.delete(worker);
      }
    }
    const seconds = times.map((time) => Math.floor(time / 1000));
    assert.ok(times.length >= 8, 'it went on');
    assert.equal(new Set(seconds).size, seconds.length, `twice in one second: ${times.sort()}`);
  });
});

linux('a primary that loads the package when its workers have it already', () => {
  const { primary: start } = processes();
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

  it('takes over what they have, while they go on', async () => {
    const primary = await start();
    const workers = await forkMany(primary, 3);
    const options = { ...PATIENT, namespace: unique('peers'), prune: '* * * * * *' };
    await Promise.all([primary, ...workers].map((process) => process.run(watchPrunes)));
    const [first] = await Promise.all(workers.map((worker) => worker.open(options)));
    await first.mSet({ before: { by: 'worker' }, both: 'worker' });
    const counting = workers.map((worker, at) => worker.run(count, options, `own ${at}`));
    await until(async () => (await first.get('all')) > 100);

    await primary.run(({ Cache }, namespace) => {
      // It says that it is there, and none of its workers can have answered yet.
      const cache = new Cache({ namespace }).getCache();
      cache.set('both', 'primary');
      cache.set('own', { by: 'primary' });
    }, options.namespace);
    const local = await primary.open({ namespace: options.namespace });
    const moved = await until(() => local.get('all'));
    // They go on in it.
    await until(async () => (await local.get('all')) > moved + 100);
    await Promise.all(workers.map((worker) => worker.run(({ state }) => void (state.stop = true))));
    const counted = await Promise.all(counting);

    const late = await fork(primary);
    for (const cache of [local, first, await late.open({ namespace: options.namespace })]) {
      assert.deepEqual(await cache.mGet(['before', 'both', 'own', 'all']), {
        before: { by: 'worker' },
        both: 'primary',
        own: { by: 'primary' },
        all: sum(counted),
      });
      assert.deepEqual(await cache.mGet(['own 0', 'own 1', 'own 2']), {
        'own 0': counted[0],
        'own 1': counted[1],
        'own 2': counted[2],
      });
    }
    assert.deepEqual(await first.transport(), { kind: 'shared-memory' });

    // The schedule is the primary's now.
    await Promise.all([primary, ...workers].map((process) => process.run(takePrunes)));
    await until(async () => (await primary.run(takePrunes)).length > 0, 5000);
    const theirs = await Promise.all(workers.map((worker) => worker.run(takePrunes)));
    assert.deepEqual(theirs, [[], [], []]);
  });

  it('a cursor goes from worker to worker, and into the primary, and leaves nothing out', async () => {
    const primary = await start();
    const workers = await forkMany(primary, 2);
    const namespace = unique('peers');
    const [first, second] = await Promise.all(workers.map((worker) => worker.open({ namespace })));
    const wanted = Array.from({ length: 600 }, (_, at) => `key ${at}`);
    await first.setMany(wanted.map((key) => [key, 1]));
    const found = new Set();
    let cursor;
    const scan = async (cache) => {
      const part = await cache.scan({ cursor, count: 100 });
      for (const key of part.keys) found.add(key);
      ({ cursor } = part);
    };
    await scan(first);
    await scan(second);
    assert.ok(found.size >= 200 && found.size < 600, String(found.size));
    const local = await primary.open({ namespace });
    await until(async () => (await local.length()) === 600);
    while (cursor !== undefined) {
      await scan(local);
      if (cursor !== undefined) await scan(first);
    }
    assert.deepEqual([...found].sort(), wanted.sort());
  });

  it('unites two applications that use one namespace, and loses no count of either', async () => {
    const rounds = STRESS ? 30 : 3;
    for (let round = 0; round < rounds; round += 1) {
      const primary = await start();
      const workers = (
        await Promise.all([forkMany(primary, 2), forkMany(primary, 2, { exec: OTHER })])
      ).flat();
      const options = { ...PATIENT, namespace: unique('peers') };
      const caches = await Promise.all(workers.map((worker) => worker.open(options)));
      const counting = workers.map((worker, at) => worker.run(count, options, at));
      await Promise.all(caches.map((cache) => until(async () => (await cache.get('all')) > 20)));
      const local = await primary.open(options);
      await local.set('mark', round);
      await Promise.all(
        caches.map((cache) => until(async () => (await cache.get('mark')) === round)),
      );
      await Promise.all(
        workers.map((worker) => worker.run(({ state }) => void (state.stop = true))),
      );
      const counted = await Promise.all(counting);
      for (const cache of [local, ...caches]) {
        const counts = await Promise.all(counted.map((_, at) => cache.get(at)));
        assert.deepEqual(counts, counted, `round ${round}`);
        assert.deepEqual((await cache.transport()).reason, undefined);
      }
      await primary.kill();
    }
  });

  it('at the moment they begin: nobody is left in a cache of his own', async () => {
    const rounds = STRESS ? 60 : 6;
    for (let round = 0; round < rounds; round += 1) {
      const primary = await start();
      const workers = await forkMany(primary, 3, round % 2 ? { exec: OTHER } : {});
      workers.push(await fork(primary));
      const options = { ...PATIENT, namespace: unique('peers') };
      const begin = [
        () => workers.map((worker, at) => worker.run(count, options, at, 200)),
        () => [primary.open(options)],
      ];
      if (round % 3 === 0) begin.reverse();
      const started = begin.flatMap((run) => run());
      const all = await Promise.all(started);
      const counted = all.filter((result) => result === 200);
      assert.equal(counted.length, 4);
      const local = await primary.open(options);
      const caches = await Promise.all(workers.map((worker) => worker.open(options)));
      for (const cache of [local, ...caches]) {
        const counts = await Promise.all(workers.map((_, at) => cache.get(at)));
        assert.deepEqual(counts, [200, 200, 200, 200], `round ${round}`);
      }
      await primary.kill();
    }
  });
});

linux('without a primary, what goes wrong', () => {
  const { primary: start } = processes();

  /** In a worker: what `transport()` says, and how a call ends, either way, and in what time. */
  async function outcome({ Cache }, namespace) {
    const began = performance.now();
    const cache = await Cache.getInstance({ namespace, timeout: 100 });
    const resolved = await cache.get('k');
    cache.failsafe = 'reject';
    const rejected = await cache.set('k', 1).catch((error) => error.code);
    return { ...cache.transport(), resolved, rejected, time: performance.now() - began };
  }

  /** Three calls that end by `failsafe`, one after another. */
  function endsInTime({ resolved, rejected, time }) {
    assert.deepEqual({ resolved, rejected }, { resolved: undefined, rejected: 'ETIMEDOUT' });
    assert.ok(time > 200 && time < 20_000, `took ${time} ms`);
  }

  it('workers that changed their user share, with those of that user', async function () {
    if (process.getuid() !== 0) this.skip();
    const primary = await start();
    const [first, second, other] = await forkMany(primary, 3);
    const namespace = unique('peers');
    const changed = [first, second];
    for (const worker of changed)
      await worker.run(({ Cache }) => {
        void Cache;
        process.setgid(65534);
        process.setuid(65534);
      });
    const caches = await Promise.all(changed.map((worker) => worker.open({ namespace })));
    const counts = await Promise.all(caches.map((cache) => cache.incr('n')));
    assert.deepEqual(counts.sort(), [1, 2]);
    for (const cache of caches)
      assert.deepEqual(await cache.transport(), { kind: 'shared-memory' });
    const apart = await other.open({ namespace });
    assert.equal(await apart.incr('n'), 1);
  });

  it('workers that change their user when they have the store share it with later ones', async function () {
    if (process.getuid() !== 0) this.skip();
    const primary = await start();
    const [first, second] = await forkMany(primary, 2);
    const namespace = unique('peers');
    const cache = await first.open({ namespace });
    assert.equal(await cache.incr('n'), 1);
    await first.run(() => {
      process.setgid(65534);
      process.setuid(65534);
    });
    const later = await second.open({ namespace });
    assert.equal(await later.incr('n'), 2);
    assert.equal(await cache.incr('n'), 3);
  });

  for (const left of [0, 1, 2, 3]) {
    it(`a worker that has ${left} descriptors left finds the store when it has more`, async () => {
      const primary = await start();
      const [first, worker] = await forkMany(primary, 2);
      const namespace = unique('peers');
      const other = await first.open({ namespace });
      await other.set('k', 'theirs');
      const got = await worker.run(
        async ({ Cache, require: load }, run, given, count) => {
          const fs = load('node:fs');
          void Cache;
          const { execFileSync } = load('node:child_process');
          const soft = fs.readFileSync('/proc/self/limits', 'latin1').match(/open files +(\d+)/)[1];
          const limit = (to) =>
            execFileSync('prlimit', [`--pid=${process.pid}`, `--nofile=${to}:`], { stdio: 'pipe' });
          const opened = [];
          try {
            limit(256);
          } catch {
            return undefined;
          }
          try {
            for (;;) opened.push(fs.openSync('/dev/null'));
          } catch {
            // None is left.
          }
          for (let at = 0; at < count; at += 1) fs.closeSync(opened.pop());
          const early = await (0, eval)(`(${run})`)({ Cache }, given.namespace);
          for (const fd of opened) fs.closeSync(fd);
          limit(soft);
          const cache = new Cache(given);
          return [early, await cache.get('k'), await cache.incr('n'), cache.transport()];
        },
        String(outcome),
        { ...PATIENT, namespace },
        left,
      );
      if (got === undefined) {
        console.log('      skipped: the limit of descriptors cannot be changed without prlimit');
        return;
      }
      const [early, ...later] = got;
      assert.equal(early.kind, 'ipc');
      assert.match(
        early.reason,
        /cannot look for the shared store: .*(EMFILE|Too many open files)/,
      );
      endsInTime(early);
      assert.deepEqual(later, ['theirs', 1, { kind: 'shared-memory' }]);
      assert.equal(await other.incr('n'), 2, 'it is one store');
    });
  }

  const SOMEBODY = [
    ['is bound to', 'another process looks for the shared store'],
    ['listens at', 'the processes that have it do not answer'],
  ];
  for (const [does, reason] of SOMEBODY)
    it(`an address that somebody else ${does} for good: calls end in time, until it is free`, async function () {
      const primary = await start();
      const namespace = unique('peers');
      const first = await fork(primary);
      await first.open({ namespace });
      const [name] = memoryOf(first.pid);
      await first.kill();
      // Only perl, of what is everywhere, binds such an address.
      const address = name.replace(':', `:${process.getuid()}:`);
      const listen = does === 'listens at' ? '&& listen(S, 9)' : '';
      const script = `$| = 1; socket(S, 1, 5, 0) && bind(S, pack('Sa*', 1, "\\0$ARGV[0]")) ${listen} && print 'bound'; <STDIN>`;
      const somebody = spawn('perl', ['-e', script, address], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      after(() => somebody.kill('SIGKILL'));
      const [said] = await Promise.race([
        once(somebody.stdout, 'data'),
        once(somebody, 'error').then(() => [undefined]),
      ]);
      if (said === undefined) this.skip();
      assert.equal(String(said), 'bound');

      const worker = await fork(primary);
      const got = await worker.run(outcome, namespace);
      assert.equal(got.kind, 'ipc');
      assert.ok(got.reason.includes(reason), got.reason);
      endsInTime(got);
      const cache = await worker.open({ namespace: `${namespace} another` });
      assert.equal(await cache.incr('n'), 1, 'it is about one namespace only');

      // A worker that leaves its cluster does not wait for it for ever.
      const leaving = await fork(primary);
      await leaving.run(outcome, namespace);
      const code = primary.run(async ({ state }, at) => {
        state.workers[at].worker.disconnect();
        return (await state.workers[at].ended).code;
      }, leaving.at);
      assert.equal(await code, 0);

      somebody.kill('SIGKILL');
      const later = await worker.open({ namespace, failsafe: 'reject' });
      assert.equal(await later.incr('n'), 1);
      assert.deepEqual(await later.transport(), { kind: 'shared-memory' });
    });

  it('a stopped worker that has the lock: calls of others end in time, newcomers too, and go on after', async () => {
    const primary = await start();
    const [holder, other] = await forkMany(primary, 2);
    const namespace = unique('peers');
    await other.open({ namespace });
    await holder.open({ namespace });
    holder
      .run(async ({ state }, name) => {
        const value = 'x'.repeat(20_000_000);
        for (;;) {
          state.caches[name].set('large', value);
          await new Promise((resolve) => setImmediate(resolve));
        }
      }, namespace)
      .catch(() => {});
    // Until it is caught with the lock in its hands.
    const probe = async ({ Cache }, name) => {
      const cache = new Cache({ namespace: name, timeout: 200, failsafe: 'reject' });
      return cache.has('large').catch((error) => error.code);
    };
    await until(async () => {
      holder.signal('SIGSTOP');
      if ((await other.run(probe, namespace)) === 'ETIMEDOUT') return true;
      holder.signal('SIGCONT');
      return false;
    }, 60_000);
    endsInTime(await other.run(outcome, namespace));
    const fresh = await fork(primary);
    const got = await fresh.run(outcome, namespace);
    endsInTime(got);

    const waiting = fresh.open({ namespace }).then((cache) => cache.incr('n'));
    await holder.kill();
    assert.equal(await waiting, 1);
    const cache = await other.open({ namespace });
    assert.equal(await cache.incr('n'), 2);
  });

  it('a store whose lock is damaged: it is mended, and they go on', async () => {
    const primary = await start();
    const workers = await forkMany(primary, 3);
    const options = { namespace: unique('peers'), max: 2 };
    const caches = await Promise.all(workers.map((worker) => worker.open(options)));
    await caches[0].set('k', 1);
    const [broken] = memoryOf(workers[0].pid);
    const fd = fs
      .readdirSync(`/proc/${workers[0].pid}/fd`)
      .find((link) => fs.readlinkSync(`/proc/${workers[0].pid}/fd/${link}`).includes(broken));
    const memory = fs.openSync(`/proc/${workers[0].pid}/fd/${fd}`, 'r+');
    // The lock lies behind 64 bytes that say what the memory is.
    fs.writeSync(memory, Buffer.alloc(64, 0xff), 0, 64, 64);
    fs.closeSync(memory);
    const counts = await Promise.all(caches.map((cache) => cache.incr('n')));
    assert.deepEqual(counts.sort(), [1, 2, 3]);
    assert.equal(await caches[1].get('k'), 1);
    assert.equal(await caches[2].max(), 2);
    const fresh = await (await fork(primary)).open(options);
    assert.equal(await fresh.incr('n'), 4);
    assert.deepEqual(await fresh.transport(), { kind: 'shared-memory' });
  });

  it('a primary that is gone: what is open goes on, and nothing else is begun', async () => {
    const primary = await start();
    const file = path.join(os.tmpdir(), `orphan-${process.pid}.json`);
    after(() => fs.rmSync(file, { force: true }));
    const worker = await fork(primary);
    worker
      .run(
        async ({ Cache, require: load }, to, options) => {
          // What keeps a worker of a cluster going when its primary is gone.
          load('node:cluster').worker.exitedAfterDisconnect = true;
          const opening = Cache.getInstance({ ...options, namespace: 'open' });
          const counted = opening.then((cache) => cache.incr('n'));
          process.on('disconnect', async () => {
            const cache = await opening;
            await counted;
            // It may be a moment before the system says so, too.
            while (process.ppid === options.parent)
              await new Promise((resolve) => setTimeout(resolve, 5));
            const late = new Cache({ namespace: 'late', timeout: 60_000, failsafe: 'reject' });
            const got = [await cache.incr('n'), await late.get('k').catch((error) => error.code)];
            got.push(late.transport().reason);
            load('node:fs').writeFileSync(`${to}.part`, JSON.stringify(got));
            load('node:fs').renameSync(`${to}.part`, to);
            process.exit();
          });
        },
        file,
        { ...PATIENT, parent: primary.child.pid },
      )
      .catch(() => {});
    await until(() => memoryOf(worker.pid).length > 0);
    await primary.kill();
    await until(() => fs.existsSync(file));
    const [n, code, reason] = JSON.parse(fs.readFileSync(file));
    assert.deepEqual([n, code], [2, 'ETIMEDOUT']);
    assert.match(reason, /the process that started this one is gone/);
  });
});

linux('under PM2', function () {
  this.timeout(120_000);
  const BIN = require.resolve('pm2/bin/pm2');
  const APP = path.join(__dirname, 'fixtures', 'peers', 'app.js');
  let directory;
  let sockets;

  /** Processes of one PM2, or of any of this test: they have the directory in their environment. */
  const ownProcesses = (home = directory) =>
    allProcesses().filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`PM2_HOME=${home}`);
      } catch {
        return false;
      }
    });

  function killAll() {
    // Until no daemon is left that would start another.
    for (let left = ownProcesses(); left.length > 0; left = ownProcesses()) {
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended meanwhile.
        }
      }
    }
  }

  /** A daemon outlives this process, however that ends. */
  const endings = ['exit', 'SIGINT', 'SIGTERM', 'SIGHUP'];
  function end(signal) {
    killAll();
    fs.rmSync(directory, { recursive: true, force: true });
    if (typeof signal === 'string') process.kill(process.pid, signal);
  }

  /** One PM2, with its daemon. */
  class Manager {
    constructor(name) {
      this.home = path.join(directory, name);
    }

    async pm2(...args) {
      const env = { ...process.env, PM2_HOME: this.home, SOCKETS: sockets };
      // Whoever runs this test may itself run under PM2.
      for (const name of ['name', 'namespace', 'pm_id', 'DEBUG']) delete env[name];
      const options = { env, timeout: 60_000, maxBuffer: 1e8 };
      const { stdout } = await promisify(execFile)(process.execPath, [BIN, ...args], options);
      return stdout;
    }

    /** Starts an application; `app` is as in PM2's own configuration. */
    async start(app) {
      const file = path.join(directory, `${app.name}-of-${path.basename(this.home)}.config.json`);
      const apps = [{ script: APP, exec_mode: 'cluster', ...app }];
      fs.writeFileSync(file, JSON.stringify({ apps }));
      await this.pm2('start', file);
      return this.instances(app.name, app.instances);
    }

    /** The process ids of an application's instances, when there are `count` and all of them answer. */
    async instances(name, count) {
      const list = async () => {
        const all = JSON.parse(await this.pm2('jlist'));
        const online = all.filter((one) => one.name === name && one.pm2_env.status === 'online');
        const pids = online.map((one) => one.pid);
        const answers = await Promise.allSettled(pids.map((pid) => ask(pid, 'transport')));
        return answers.every(({ value }) => value) && pids.length === count && pids;
      };
      return until(list, 60_000);
    }
  }

  /** Makes a call in an instance. */
  async function ask(pid, ...call) {
    const socketPath = path.join(sockets, String(pid));
    const request = http.request({ socketPath, method: 'POST', agent: false });
    request.end(JSON.stringify(call));
    const [response] = await once(request, 'response');
    let text = '';
    for await (const part of response) text += part;
    const { value, error } = JSON.parse(text);
    if (error) throw new Error(error);
    return value;
  }

  const askAll = (pids, ...call) => Promise.all(pids.map((pid) => ask(pid, ...call)));

  let one;
  let two;
  let pids;

  before(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'pm2-'));
    sockets = path.join(directory, 'sockets');
    fs.mkdirSync(sockets);
    for (const ending of endings) process.once(ending, end);
    one = new Manager('one');
    two = new Manager('two');
    const app = { name: 'app', instances: 4, increment_var: 'NUMBER', env: { NUMBER: 1 } };
    pids = await one.start(app);
  });

  after(() => {
    for (const ending of endings) process.removeListener(ending, end);
    end();
  });

  it('the instances of an application share one cache', async () => {
    assert.deepEqual(await askAll(pids, 'transport'), Array(4).fill({ kind: 'shared-memory' }));
    const numbers = await askAll(pids, 'env', 'NUMBER');
    assert.deepEqual(numbers.sort(), ['1', '2', '3', '4']);
    const counts = await Promise.all(
      Array.from({ length: 400 }, (_, at) => ask(pids[at % 4], 'incr', 'n')),
    );
    assert.equal(Math.max(...counts), 400);
    await ask(pids[0], 'set', 'k', { by: 'first' });
    assert.deepEqual(await askAll(pids, 'get', 'k'), Array(4).fill({ by: 'first' }));
  });

  it('one loader of fetch runs for all instances, and another takes over from one that is killed', async () => {
    const keys = Array.from({ length: 100 }, (_, at) => `fetched ${at}`);
    const all = await askAll(pids, 'herd', keys, 5);
    assert.equal(
      all.reduce((sum, { loads }) => sum + loads, 0),
      keys.length,
    );
    const values = new Set(all.flatMap((found) => found.values).map(({ key, pid }) => key + pid));
    assert.equal(values.size, keys.length);

    await ask(pids[0], 'hang', 'hung');
    const others = Promise.all(pids.slice(1).map((pid) => ask(pid, 'herd', ['hung'], 1)));
    // Answered behind that call.
    await askAll(pids.slice(1), 'has', 'hung');
    process.kill(pids[0], 'SIGKILL');
    const taken = await others;
    assert.equal(
      taken.reduce((sum, { loads }) => sum + loads, 0),
      1,
    );
    pids = await one.instances('app', 4);
  });

  it('another application with the same script does not meet it, nor does another PM2', async () => {
    const [others, elsewhere] = await Promise.all([
      one.start({ name: 'other', instances: 2 }),
      two.start({ name: 'app', instances: 2 }),
    ]);
    for (const apart of [others, elsewhere]) {
      assert.deepEqual(await askAll(apart, 'get', 'k'), [undefined, undefined]);
      assert.deepEqual((await askAll(apart, 'incr', 'n')).sort(), [1, 2]);
    }
    assert.equal(await ask(pids[0], 'get', 'n'), 400);
  });

  it('instances that are added later share it', async () => {
    await one.pm2('scale', 'app', '5');
    pids = await one.instances('app', 5);
    const counts = await askAll(pids, 'incr', 'n');
    assert.deepEqual(counts.sort(), [401, 402, 403, 404, 405]);
  });

  it('a reload keeps it', async () => {
    await one.pm2('reload', 'app');
    const reloaded = await one.instances('app', 5);
    assert.equal(
      reloaded.some((pid) => pids.includes(pid)),
      false,
    );
    pids = reloaded;
    assert.deepEqual(await askAll(pids, 'get', 'n'), Array(5).fill(405));
  });

  it('killing one instance after another keeps it', async () => {
    for (const pid of [...pids]) {
      process.kill(pid, 'SIGKILL');
      await until(() => !fs.existsSync(`/proc/${pid}/fd/0`));
      pids = await one.instances('app', 5);
      assert.equal(pids.includes(pid), false);
      assert.deepEqual(await ask(pids.at(-1), 'get', 'k'), { by: 'first' });
    }
    assert.deepEqual(await askAll(pids, 'get', 'n'), Array(5).fill(405));
  });

  it('an application of ES modules with wait_ready keeps it too, with a single instance', async () => {
    const script = APP.replace(/js$/, 'mjs');
    const [before] = await one.start({ name: 'esm', script, instances: 1, wait_ready: true });
    await ask(before, 'set', 'k', 'kept');
    await one.pm2('reload', 'esm');
    const [reloaded] = await one.instances('esm', 1);
    assert.notEqual(reloaded, before);
    assert.equal(await ask(reloaded, 'get', 'k'), 'kept');
  });

  it('in fork mode each process has a cache of its own', async () => {
    const forks = await one.start({ name: 'forks', instances: 2, exec_mode: 'fork' });
    assert.deepEqual(await askAll(forks, 'transport'), Array(2).fill({ kind: 'local' }));
    assert.deepEqual(await askAll(forks, 'incr', 'n'), [1, 1]);
  });

  it('nothing is left when all are gone', async () => {
    const names = ownProcesses().flatMap(memoryOf);
    assert.equal(new Set(names).size, 4, 'of two applications here, one of modules, one elsewhere');
    await one.pm2('delete', 'app');
    const [kept] = await one.instances('other', 2);
    assert.equal(isInUse([memoryOf(kept)[0]]), true);
    await one.pm2('kill');
    killAll();
    // A process that was killed may have its files a moment longer than its environment.
    await until(() => !isInUse(names));
    const left = fs.readdirSync('/dev/shm').filter((file) => file.includes('lru-cache'));
    assert.deepEqual(left, []);
  });
});
