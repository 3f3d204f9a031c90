'use strict';

// The shared memory: a worker's calls go straight to the store in shared memory. What is here is about the change to it,
// and about what a worker does to the others there; results of calls are compared through both transports elsewhere.

const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const Cache = require('..');
const { STRESS, describeShared, unique, until, processes } = require('./helpers');

/** Milliseconds for calls that must not fail. */
const TIMEOUT = 30_000;
const PATIENT = { timeout: TIMEOUT, failsafe: 'reject' };

/** Text longer than one part of the store, with every kind of character. */
const TEXT = 'ascii ä € 😀 \ud800 \0 "\\\n'.repeat(20);

describeShared('a worker that has no memory', () => {
  const { worker: start } = processes();

  it('hears of it, and the store is not rebuilt', async function () {
    if (spawnSync('prlimit', ['--version']).error) {
      this.test.title += ' (not run: there is no prlimit)';
      this.skip();
    }
    const namespace = unique('memory');
    const primary = new Cache({ namespace });
    await primary.set('large', 'x'.repeat(100e6));
    for (let at = 0; at < 1000; at += 1) await primary.set(at, 'y'.repeat(100e3));
    const worker = await start({ transport: 'shared-memory' });
    const cache = await worker.open({ namespace, ...PATIENT });
    const limit = ({ require }, more) => {
      const { execFileSync } = require('node:child_process');
      const status = require('node:fs').readFileSync('/proc/self/status', 'utf8');
      const size = /VmSize:\s+(\d+)/.exec(status)[1] * 1024;
      execFileSync('prlimit', ['--pid', process.pid, `--as=${size + more}:`]);
    };
    await worker.run(limit, 60e6);
    for (const call of [cache.get('large'), cache.values(), cache.dump()]) {
      await assert.rejects(call, { code: 'ERR_OUT_OF_MEMORY' });
    }
    assert.equal(await cache.length(), 1001);
    assert.equal((await cache.get(1)).length, 100e3);
    assert.equal((await primary.get('large')).length, 100e6);
  });
});

describeShared('a namespace that a worker attaches', () => {
  const { worker: start } = processes();

  it('has order, ages, bounds and values of any kind as the primary left them', async () => {
    const namespace = unique('attached');
    const primary = new Cache({ namespace, max: 50, maxAge: 60_000, stale: true });
    const bytes = { undef: undefined, nul: null, yes: true, no: false, TEXT, empty: '' };
    const numbers = { zero: 0, minus: -0, nan: NaN, inf: -Infinity, half: 0.5, big: 2 ** 60 };
    const entries = Object.entries({ ...bytes, ...numbers });
    for (const [key, value] of entries) await primary.set(key, value);
    for (const key of [1, 1.5, NaN, true, null, 10n ** 30n, 'é'.repeat(300)]) {
      await primary.set(key, String(key));
    }
    await primary.set('brief', 'own age', 5000);
    await primary.set('object', { list: [1, { two: 2 }] });
    await primary.get('undef');
    const before = await primary.dump();

    const worker = await start({ transport: 'shared-memory' });
    const cache = await worker.open({ namespace, ...PATIENT });
    assert.deepEqual(await cache.transport(), { kind: 'shared-memory' });
    assert.deepEqual(await cache.dump(), before);
    assert.deepEqual(await primary.dump(), before);
    for (const [key, value] of entries) assert.ok(Object.is(await cache.get(key), value), key);
    assert.equal(await cache.get(NaN), 'NaN');
    assert.equal(await cache.get(10n ** 30n), String(10n ** 30n));
    const bounds = [cache.max(), cache.maxAge(), cache.stale()];
    assert.deepEqual(await Promise.all(bounds), [50, 60_000, true]);
    // Recency is the same for all of them.
    await cache.max(2);
    assert.deepEqual(await primary.keys(), [10n ** 30n, NaN]);
  });

  it('lets the primary keep its objects, and gives others what they are when they are asked for', async () => {
    const namespace = unique('slots');
    const primary = new Cache({ namespace });
    const kept = { count: 1, self: () => 'a function' };
    const map = new Map([[1, 2]]);
    await primary.set('kept', kept);
    await primary.set('map', map);
    await primary.set('text', 'plain');
    const worker = await start({ transport: 'shared-memory' });
    const cache = await worker.open({ namespace, ...PATIENT });
    const advanced = await worker.open({ namespace, serialization: 'advanced', ...PATIENT });
    assert.deepEqual(await cache.transport(), { kind: 'shared-memory' });
    assert.equal(await primary.get('kept'), kept);
    assert.equal(await primary.get('map'), map);
    assert.deepEqual(await cache.get('kept'), { count: 1 });
    kept.count = 2;
    assert.deepEqual(await cache.get('kept'), { count: 2 });
    assert.deepEqual(await cache.mGet(['kept', 'text', 'none']), {
      kept: { count: 2 },
      text: 'plain',
    });
    assert.deepEqual(await cache.values(), ['plain', { count: 2 }, {}]);
    assert.deepEqual(await advanced.get('map'), map);
    // A function is none that can be copied: that is an error of this call alone.
    await assert.rejects(advanced.get('kept'), /could not be cloned/);
    assert.deepEqual(await cache.get('kept'), { count: 2 });

    await cache.set('kept', { count: 3 });
    assert.deepEqual(await primary.get('kept'), { count: 3 });
    assert.deepEqual(await cache.transport(), { kind: 'shared-memory' });
  });

  it('is read as it was written, from the first turn on', async () => {
    const namespace = unique('change');
    const primary = new Cache({ namespace });
    await primary.set('slot', { of: 'the primary' });
    const worker = await start({ transport: 'shared-memory' });
    const got = await worker.run(
      async ({ Cache: C }, given) => {
        const cache = new C(given);
        const wrong = [];
        const transports = new Set();
        // The last call on each key that has given its result.
        const last = {};
        let inOrder = true;
        let made = 0;
        const make = (promise, what, expected, keys = ['own']) => {
          const place = made;
          made += 1;
          return promise.then((value) => {
            for (const key of keys) {
              inOrder &&= place > (last[key] ?? -1);
              last[key] = place;
            }
            const right = what === undefined || JSON.stringify(value) === JSON.stringify(expected);
            if (!right) wrong.push([what, value, expected]);
          });
        };
        const calls = [];
        let sum = 0;
        const slot = { of: 'the primary' };
        // On a busy machine it takes longer until the store is attached.
        for (let turn = 0; turn < 300 || (transports.size < 2 && turn < 5000); turn += 1) {
          for (let at = 0; at < 10; at += 1) {
            const value = at % 2 ? `${turn}` : { turn, at };
            sum += at;
            calls.push(
              make(cache.set('own', value), 'set', true),
              make(cache.get('own'), 'own', value),
              make(cache.incr('sum', at), 'sum', sum, ['sum']),
            );
            // A value that only the primary has: it is fetched by message, and other calls on its key wait for that.
            if (turn % 7 === at) calls.push(make(cache.get('slot'), 'slot', slot, ['slot']));
            if (turn % 11 === at) {
              const mGet = cache.mGet(['own', 'slot']);
              calls.push(make(mGet, 'mGet', { own: value, slot }, ['own', 'slot']));
            }
            if (turn % 13 === at) {
              calls.push(make(cache.del('own')), make(cache.has('own'), 'has', false));
            }
          }
          await new Promise(turn % 3 ? setImmediate : (resolve) => process.nextTick(resolve));
          transports.add(cache.transport().kind);
        }
        await Promise.all(calls);
        return {
          wrong: wrong.slice(0, 3),
          transports: [...transports],
          inOrder,
          sum: await cache.get('sum'),
          expected: sum,
        };
      },
      { namespace, ...PATIENT },
    );
    assert.deepEqual(got.wrong, []);
    assert.deepEqual(got.transports, ['ipc', 'shared-memory']);
    assert.equal(got.inOrder, true, 'results of calls on one key come in their order');
    assert.equal(got.sum, got.expected);
    assert.equal(await primary.get('sum'), got.expected);
  });

  it('takes instances of many options and both ways to copy', async () => {
    const namespace = unique('instances');
    const worker = await start({ transport: 'shared-memory' });
    const got = await worker.run(
      async ({ Cache: C }, given) => {
        const json = await C.getInstance({ ...given, max: 10 });
        const clones = await C.getInstance({ ...given, serialization: 'advanced', maxAge: 60_000 });
        const other = await C.getInstance({
          ...given,
          namespace: `${given.namespace}/other`,
          max: 3,
        });
        const own = await C.getInstance({
          ...given,
          stringify: (value) => `own ${JSON.stringify(value)}`,
          parse: (text) => JSON.parse(text.slice(4)),
        });
        const value = {
          date: new Date(0),
          map: new Map([[1, 2]]),
          bytes: new Uint8Array([1, 2]),
          gone: undefined,
        };
        await clones.set('clone', value);
        await json.set('json', value);
        await own.setObject('object', { a: 1 });
        await other.mSet({ a: 1, b: 2, c: 3, d: 4 });
        const clone = await json.get('clone');
        return [
          clone.date instanceof Date && clone.map.get(1) === 2 && clone.bytes[1] === 2,
          await clones.get('json'),
          await json.get('object'),
          await own.getObject('object'),
          await own.max(),
          await json.maxAge(),
          await other.keys(),
          [json, clones, other, own].map((cache) => cache.transport().kind),
        ];
      },
      { namespace, ...PATIENT },
    );
    assert.deepEqual(got, [
      true,
      { date: '1970-01-01T00:00:00.000Z', map: {}, bytes: { 0: 1, 1: 2 } },
      'own {"a":1}',
      { a: 1 },
      10,
      60_000,
      ['d', 'c', 'b'],
      ['shared-memory', 'shared-memory', 'shared-memory', 'shared-memory'],
    ]);
  });

  it('keeps to maxSize: what fits stays, what can never fit takes the old value along', async () => {
    const namespace = unique('size');
    const primary = new Cache({ namespace, maxSize: 20_000, maxEntrySize: 5000 });
    const worker = await start({ transport: 'shared-memory' });
    const cache = await worker.open({ namespace, ...PATIENT });
    for (let at = 0; at < 20; at += 1) assert.equal(await cache.set(at, 'x'.repeat(1500)), true);
    const keys = await cache.keys();
    assert.ok(keys.length > 5 && keys.length < 14, `${keys.length} entries`);
    assert.deepEqual(
      keys,
      Array.from(keys, (key, at) => 19 - at),
      'the most recent ones',
    );
    assert.equal(await cache.set(19, 'x'.repeat(6000)), false);
    assert.equal(await cache.has(19), false);
    assert.deepEqual(await primary.keys(), keys.slice(1), 'and nothing else went');
    assert.equal(await cache.maxSize(4000), 4000);
    assert.deepEqual(await primary.keys(), [18, 17]);
  });
});

describeShared('a call that only the primary can answer', () => {
  const { worker: start } = processes();

  /** Opens caches in a worker, whose calls come straight, and keeps one there. */
  async function open(namespace) {
    const primary = new Cache({ namespace });
    await primary.mSet({ slot: { of: 'the primary' }, other: 0 });
    const worker = await start({ transport: 'shared-memory' });
    const cache = await worker.open({ namespace, ...PATIENT });
    await until(async () => (await cache.transport()).kind === 'shared-memory');
    await cache.get('other');
    return { primary, worker };
  }

  /** Keeps this process busy until a worker says that it is done; how that came out. */
  async function whileBlocked(worker, fn, ...args) {
    const shared = new Int32Array(new SharedArrayBuffer(4));
    const file = path.join(os.tmpdir(), `${unique('blocked')}-${process.pid}`);
    const blocked = `${file}.blocked`;
    // The system may stop this process before it is blocked: the worker begins when the second file is there.
    const whenBlocked = `async (context, file, ...args) => {
      const { existsSync } = context.require('node:fs');
      while (!existsSync(file + '.blocked')) await new Promise((resolve) => setTimeout(resolve, 1));
      return (${fn})(context, file, ...args);
    }`;
    const done = worker.run(whenBlocked, file, ...args);
    // The worker has its orders when the system has taken them.
    await sleep(0);
    fs.writeFileSync(blocked, '');
    const limit = performance.now() + TIMEOUT;
    while (!fs.existsSync(file) && performance.now() < limit) Atomics.wait(shared, 0, 0, 1);
    fs.rmSync(blocked);
    assert.ok(fs.existsSync(file), 'the worker came to its end while this process was blocked');
    fs.rmSync(file);
    return done;
  }

  it('lets calls on other keys go on, while the primary is blocked', async () => {
    const namespace = unique('blocked');
    const { worker } = await open(namespace);
    const got = await whileBlocked(
      worker,
      async ({ Cache: C, require: load, state }, file, given) => {
        const cache = new C({ namespace: given.namespace, timeout: 1000, failsafe: 'reject' });
        const brief = new C({ namespace: given.namespace, timeout: 50, failsafe: 'reject' });
        const end = (promise) => promise.catch((error) => error.code);
        state.slot = new C(given).get('slot');
        const others = [];
        for (let at = 0; at < 15; at += 1) others.push(await end(cache.incr('other')));
        const lists = [
          await end(cache.mSet({ a: 1, b: 2 })),
          await end(cache.mGet(['a', 'b', 'other'])),
          await end(cache.mDel(['a'])),
          await end(cache.has('a')),
          (await end(C.getInstance(given))) instanceof C,
        ];
        // These wait behind it: they are on the same key.
        const same = [await end(brief.has('slot')), await end(brief.mGet(['b', 'slot']))];
        // Nobody waits for those reads any more, so they stand in nobody's way.
        lists.push(await end(cache.get('b')));
        // This is under way although its time is over.
        same.push(await end(brief.set('slot', 'new')), await end(brief.get('slot')));
        // A call on all keys shuts the way for every call behind it.
        lists.push(await end(cache.get('b')));
        same.push(await end(brief.reset()), await end(brief.get('b')));
        load('node:fs').writeFileSync(file, '');
        return { others, lists, same, slot: await state.slot };
      },
      { namespace, ...PATIENT },
    );
    assert.deepEqual(got, {
      others: Array.from({ length: 15 }, (_, at) => at + 1),
      lists: [true, { a: 1, b: 2, other: 15 }, true, false, true, 2, 2],
      same: Array(6).fill('ETIMEDOUT'),
      slot: { of: 'the primary' },
    });
    const cache = await worker.open({ namespace, ...PATIENT });
    await until(async () => (await cache.length()) === 0);
    assert.equal(await cache.set('b', 'after'), true);
    assert.equal(await cache.get('b'), 'after', 'the way is open again');
  });

  it('goes before every later call on its key, and on all keys', async () => {
    const namespace = unique('order');
    const { primary, worker } = await open(namespace);
    const rounds = STRESS ? 300 : 30;
    for (let round = 0; round < rounds; round += 1) {
      await primary.mSet({ slot: { round }, second: { round }, other: 0 });
      const got = await worker.run(
        async ({ Cache: C }, given) => {
          const cache = new C(given);
          return Promise.all([
            cache.get('slot'),
            cache.set('slot', 'set'),
            cache.get('slot'),
            cache.incr('other'),
            cache.mGet(['slot', 'other', 'second']),
            cache.set('second', 'set'),
            cache.incr('other'),
            cache.mGet(['second', 'other']),
            cache.keys(),
            cache.reset(),
            cache.incr('other'),
            cache.get('slot'),
            cache.set('slot', 'last'),
            cache.length(),
            cache.get('other'),
          ]);
        },
        { namespace, ...PATIENT },
      );
      assert.deepEqual(got, [
        { round },
        true,
        'set',
        1,
        { slot: 'set', other: 1, second: { round } },
        true,
        2,
        { second: 'set', other: 2 },
        ['other', 'second', 'slot'],
        undefined,
        1,
        undefined,
        true,
        2,
        1,
      ]);
    }
  });
});

describeShared('which transport', () => {
  const { worker: start, primary: startPrimary } = processes();
  const transportOf = async (agent, namespace) => {
    const cache = await agent.open({ namespace, ...PATIENT });
    await cache.set('key', 'value');
    return [await cache.transport(), await cache.get('key')];
  };

  it('is the other one with LRU_CACHE_SHARED=0 in the worker', async () => {
    const worker = await start({ env: { LRU_CACHE_SHARED: '0' } });
    assert.deepEqual(await transportOf(worker, unique()), [
      { kind: 'ipc', reason: 'LRU_CACHE_SHARED=0' },
      'value',
    ]);
  });

  it('is the other one with init({ shared: false }) in the worker', async () => {
    const worker = await start({ env: { LRU_CACHE_SHARED: '' } });
    assert.equal(await worker.run(({ Cache: C }) => C.init({ shared: false })), true);
    assert.deepEqual(await transportOf(worker, unique()), [
      { kind: 'ipc', reason: 'init({ shared: false })' },
      'value',
    ]);
  });

  for (const [how, env, init] of [
    ['LRU_CACHE_SHARED=0', { LRU_CACHE_SHARED: '0' }, {}],
    ['init({ shared: false })', { LRU_CACHE_SHARED: '' }, { shared: false }],
  ]) {
    it(`is the other one with ${how} in the primary`, async () => {
      const primary = await startPrimary({ env });
      const got = await primary.run(
        async ({ Cache: C, require: load }, options, given) => {
          C.init(options);
          const worker = await load('.').startWorker({ env: { LRU_CACHE_SHARED: '' } });
          const cache = await worker.open(given);
          await cache.set('key', 'value');
          const transport = await cache.transport();
          await worker.kill();
          return [transport, new C(given).transport(), await new C(given).get('key')];
        },
        init,
        { namespace: 'off', ...PATIENT },
      );
      const reason = `the primary says: ${how}`;
      assert.deepEqual(got, [{ kind: 'ipc', reason }, { kind: 'local' }, 'value']);
    });
  }

  for (const [how, args, why] of [
    ["a PID namespace that sees the primary's /proc", '--pid', '/proc is that of another'],
    ['a PID namespace of its own', '--pid --mount-proc', 'it was made in another'],
    ['a time namespace of its own', '--time --boottime 100000', 'it was made in another'],
  ]) {
    it(`is the other one in ${how}`, async function () {
      const command = `unshare ${args} --fork --kill-child --`;
      if (spawnSync('sh', ['-c', `${command} true`]).status !== 0) {
        this.test.title += ' (skipped: unshare is not to be had here)';
        this.skip();
      }
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'unshare-'));
      const wrapper = path.join(directory, 'node');
      const text = `#!/bin/sh\nexec ${command} '${process.execPath}' "$@"\n`;
      fs.writeFileSync(wrapper, text, { mode: 0o755 });
      try {
        const primary = await startPrimary({ env: { LRU_CACHE_SHARED: '' } });
        const [transport, value] = await primary.run(
          async ({ Cache: C, require: load }, execPath, given) => {
            process.execPath = execPath;
            const worker = await load('.').startWorker();
            const cache = await worker.open(given);
            // A worker that does not see its primary makes a store, which the primary then refuses to attach.
            const got = await load('.').until(async () => {
              const now = await cache.transport();
              return now.kind === 'ipc' && now.reason.endsWith('namespace') && now;
            });
            await cache.set('key', 'value');
            const seen = await new C(given).get('key');
            await worker.kill();
            return [got, seen];
          },
          wrapper,
          { namespace: 'unshared', ...PATIENT },
        );
        const kind = args.split(' ', 1)[0] === '--pid' ? 'PID' : 'time';
        const reason = `${why} ${kind} namespace`;
        assert.ok(transport.reason.endsWith(reason), transport.reason);
        assert.equal(value, 'value');
      } finally {
        fs.rmSync(directory, { recursive: true });
      }
    });
  }

  it('is said, with the reason, to whom DEBUG asks for it', async () => {
    const env = { DEBUG: 'other,lru-cache-for-clusters-as-promised-*' };
    const worker = await start({ transport: 'shared-memory', env });
    const namespace = unique('debug');
    await transportOf(worker, namespace);
    const line = `lru-cache-for-clusters-as-promised-worker ${worker.child.pid} attached ${namespace}`;
    await until(() => worker.output.includes(line));
    const other = await start({ env: { ...env, LRU_CACHE_SHARED: '0' } });
    await transportOf(other, unique('debug'));
    const quiet = await start({
      transport: 'shared-memory',
      env: { DEBUG: `${env.DEBUG},-*-worker` },
    });
    await transportOf(quiet, unique('debug'));
    assert.equal(quiet.output, '');
  });
});

describeShared('a worker that is stopped with a store in its hands', () => {
  const { worker: start } = processes();

  /** Has the lock for most of its time: looks at every entry, and finds none that is over. */
  const occupy = async ({ Cache: C, state }, namespace) => {
    const cache = await C.getInstance({ namespace, timeout: 10_000 });
    const turn = () => {
      for (let at = 0; at < 20; at += 1) cache.prune();
      if (!state.over) setTimeout(turn, 2);
    };
    turn();
  };

  const isTaken = async ({ Cache: C }, namespace) => {
    const cache = new C({ namespace, timeout: 60, failsafe: 'reject' });
    return cache.peek('probe').then(
      () => false,
      (error) => error.code === 'ETIMEDOUT',
    );
  };

  async function stopInside(victim, prober, namespace) {
    for (let tries = 0; tries < 300; tries += 1) {
      victim.child.kill('SIGSTOP');
      if (await prober.run(isTaken, namespace)) return;
      victim.child.kill('SIGCONT');
      await sleep(Math.random() * 5);
    }
    throw new Error('it never had the lock');
  }

  /** A thousand calls in one turn: how they end, how long that took, and for how long the process stood still. */
  const call = async ({ Cache: C }, given) => {
    const cache = new C(given);
    const ended = {};
    const count = (how) => (ended[how] = (ended[how] ?? 0) + 1);
    const began = performance.now();
    let last = began;
    let longest = 0;
    let over = false;
    const turn = () => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
      if (!over) setTimeout(turn, 1);
    };
    turn();
    const calls = Array.from({ length: 1000 }, () =>
      cache.incr('hits').then(
        (value) => count(typeof value),
        (error) => count(error.code),
      ),
    );
    await Promise.all(calls);
    over = true;
    return { ended, took: performance.now() - began, longest };
  };

  for (const [signal, failsafe, how] of [
    ['SIGCONT', 'resolve', 'undefined'],
    ['SIGKILL', 'reject', 'ETIMEDOUT'],
  ]) {
    it(`makes nobody stand still; after ${signal} all go on (failsafe ${failsafe})`, async () => {
      const namespace = unique('stopped');
      const primary = new Cache({ namespace, ...PATIENT });
      for (let at = 0; at < 20_000; at += 1) primary.getCache().set(at, at, 1e9);
      const [victim, other, messenger] = await Promise.all([
        start({ transport: 'shared-memory' }),
        start({ transport: 'shared-memory' }),
        start({ transport: 'ipc' }),
      ]);
      const open = ({ Cache: C }, given) => C.getInstance(given).then(() => undefined);
      await Promise.all([other, messenger].map((agent) => agent.run(open, { namespace })));
      await victim.run(occupy, namespace);
      await stopInside(victim, other, namespace);

      // One that waits: its calls keep their place, whichever transport they take.
      const ordered = [other, messenger].map((agent, at) =>
        agent.run(
          async ({ Cache: C }, given, key) => {
            const cache = new C(given);
            const calls = [];
            for (let n = 1; n <= 100; n += 1)
              calls.push(cache.incr(key), cache.set('v', key), cache.get(key));
            const results = await Promise.all(calls);
            return results.filter((_, index) => index % 3 !== 1);
          },
          { namespace, ...PATIENT },
          `ordered${at}`,
        ),
      );
      // These are on their way before any other.
      await Promise.all([other, messenger].map((agent) => agent.run(() => {})));
      const given = { namespace, timeout: 200, failsafe };
      const all = await Promise.all([
        other.run(call, given),
        messenger.run(call, given),
        call({ Cache }, given),
        // A new instance is no exception, nor are its options.
        new Cache({ namespace, timeout: 200, max: 30_000 }).get('probe'),
      ]);
      assert.equal(all.pop(), undefined);
      for (const { ended, took, longest } of all) {
        assert.deepEqual(ended, { [how]: 1000 });
        // No measurements: each of a thousand calls that waited by itself would take a millisecond at the least.
        assert.ok(took < 900 && longest < 500, `${took} ms, and ${longest} ms at a time`);
      }
      victim.child.kill(signal);
      if (signal === 'SIGCONT') await victim.run(({ state }) => void (state.over = true));
      const expected = Array.from({ length: 200 }, (_, at) => Math.floor(at / 2) + 1);
      assert.deepEqual(await Promise.all(ordered), [expected, expected]);
      assert.equal(await primary.get('ordered0'), 100);
      assert.equal(await primary.max(), 30_000);
      await Promise.all([victim, other, messenger].map((agent) => agent.kill()));
    });
  }
});

describe('under stress', () => {
  const scripts = [
    ['kill.js', STRESS ? '1000' : '20'],
    ['corrupt.js', STRESS ? '10' : '1', 'all'],
    ...(STRESS
      ? [['corrupt.js', '10'], ['stopped.js'], ['blocked.js'], ['small.js', '20'], ['memory.js']]
      : []),
  ];
  for (const [script, ...args] of scripts) {
    it([script, ...args].join(' '), async function () {
      if (process.platform !== 'linux') this.skip();
      const file = path.join(__dirname, 'stress', script);
      // Without Rust at hand the segment is not looked at in the end.
      const env = { ...process.env, VALIDATE: process.env.VALIDATE ?? (STRESS ? '' : 'true') };
      const child = spawn(process.execPath, [file, ...args], { env });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (text) => (output += text));
      const [code] = await once(child, 'close');
      assert.equal(code, 0, output.slice(-5000));
      if (STRESS) console.log(output);
    }).timeout(1_200_000);
  }
});
