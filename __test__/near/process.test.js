'use strict';

// Near reads and what may happen to a process: the lock is taken when they begin, clocks and timers that a test suite
// replaces, copies of the package, threads that end, an exit inside a call, keys that were cut from long texts.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const native = require('../../lib/native/loader');
const { KIND } = require('../../lib/kinds');
const { CODES } = require('../../lib/errors');
const { RetryQueue } = require('../../lib/store/retry-queue');
const { STATE, ValueTable } = require('../../lib/store/value-table');
const { NEAR, Views } = require('../../lib/store/views');
const { heap, until } = require('../helpers');

const root = path.join(__dirname, '..', '..');

/** Runs code in a process of its own; gives its exit code or signal, and what it wrote. */
async function run(code, ...execArgv) {
  const child = spawn(process.execPath, [...execArgv, '-e', code], { cwd: root });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  const [status, signal] = await once(child, 'close');
  return { ended: signal ?? status, output };
}

describe('near reads that cannot begin, because another process has the lock', () => {
  const { nearControl } = native;
  const { setTimeout } = globalThis;
  afterEach(() => {
    native.nearControl = nearControl;
    globalThis.setTimeout = setTimeout;
  });

  /** Views whose first `times` attempts find the lock taken. */
  function open(times) {
    const table = new ValueTable();
    const registry = new native.NativeRegistry(table.state, () => {});
    registry.open('near', '{}');
    const attempts = { count: 0 };
    native.nearControl = (...args) => {
      attempts.count += 1;
      if (attempts.count > times) return nearControl(...args);
      table.state[STATE.OUTCOME] = KIND.ERROR;
      return ['Error', 'busy', CODES.BUSY];
    };
    return { attempts, registry, views: new Views(registry.cache('near', false), table) };
  }

  it('begin later, under timers that stand still, too; calls go on meanwhile', async () => {
    globalThis.setTimeout = () => assert.fail('the timer of a test suite');
    const { attempts, views } = open(2);
    const cache = views.get('json', NEAR);
    assert.equal(views.near.cache, undefined);
    cache.set('key', 'value');
    assert.equal(cache.get('key'), 'value');
    globalThis.setTimeout = setTimeout;
    await until(() => views.near.cache);
    assert.equal(attempts.count, 3);
    assert.equal(cache.get('key'), 'value');
    assert.equal(views.near.cache.get('key'), 'value');
  });

  it('do not begin any more where the memory was let go', async () => {
    const { attempts, views } = open(1);
    views.get('json', NEAR);
    views.close();
    // Another one begins after the attempt that must not be made would have been.
    const other = open(1);
    other.views.get('json', NEAR);
    await until(() => other.views.near.cache);
    assert.equal(attempts.count, 1);
    assert.equal(views.near.cache, undefined);
  });
});

describe('a queue of calls that wait for the lock', () => {
  it('says whether all of them are reads, until none waits', async () => {
    let isFree = false;
    const queue = new RetryQueue();
    assert.equal(queue.hasOnlyReads, true);
    queue.add(() => isFree, true);
    assert.equal(queue.hasOnlyReads, true);
    queue.add(() => isFree);
    queue.add(() => isFree, true);
    assert.equal(queue.hasOnlyReads, false);
    queue.run();
    assert.equal(queue.hasOnlyReads, false);
    isFree = true;
    queue.run();
    assert.equal(queue.hasOnlyReads, true);
  });
});

describe('near reads of a process', () => {
  it('getObject and mGetObjects give objects of the caller’s own, by the `parse` and the reads of the instance', async () => {
    const Cache = require('../..');
    const namespace = 'near objects';
    const cache = new Cache({ namespace });
    await cache.mSetObjects({ a: { n: [1] }, b: { n: [2] } });
    const given = [];
    for (let turn = 0; turn < 4; turn += 1) {
      given.push(await cache.getObject('a'), (await cache.mGetObjects(['b', 'a'])).a);
      for (const object of given.slice(-2)) {
        assert.deepEqual(object, { n: [1] });
        object.n.push('mine');
      }
    }
    assert.deepEqual(Object.keys(await cache.mGetObjects(['b', 'missing', 'a'])), ['b', 'a']);
    let parsed = 0;
    const parse = (text) => ({ text, parsed: (parsed += 1) });
    const own = new Cache({ namespace, parse });
    for (let turn = 1; turn < 4; turn += 1) {
      assert.deepEqual(await own.getObject('a'), { text: '{"n":[1]}', parsed });
      assert.deepEqual((await own.mGetObjects(['a'])).a, { text: '{"n":[1]}', parsed });
      assert.equal(parsed, 2 * turn);
    }
    class Other extends Cache {
      async get(key) {
        return (await super.get(key)).replace('1', '3');
      }
    }
    assert.deepEqual(await new Other({ namespace }).getObject('a'), { n: [3] });
    await cache.set('a', 'no JSON');
    await cache.get('a');
    await assert.rejects(cache.getObject('a'), SyntaxError);
    await assert.rejects(cache.mGetObjects(['a']), SyntaxError);
    const keys = new Proxy(['a'], { get: () => assert.fail('of the user') });
    await assert.rejects(cache.mGet(keys), { message: 'of the user' });
  });

  it('follow a clock that is replaced, in both directions', async () => {
    const { ended, output } = await run(`
      const Cache = require('.');
      (async () => {
        const cache = await Cache.getInstance({ namespace: 'clock' });
        const { now } = Date;
        const start = now();
        await cache.set('key', 'value', 1000);
        const seen = [];
        for (const at of [0, 1000, 0, 1001, 0]) {
          Date.now = () => start + at;
          seen.push(await cache.get('key'), (await cache.mGet(['key'])).key);
          if (at === 0 && seen.length < 5) await cache.set('key', 'value', 1000);
        }
        console.log(JSON.stringify(seen));
      })();
    `);
    assert.equal(ended, 0, output);
    const both = (value) => [value, value];
    const seen = ['value', 'value', 'value', null, null].flatMap(both);
    assert.deepEqual(JSON.parse(output), seen);
  });

  it('of two copies of the package have caches of their own', async () => {
    const { ended, output } = await run(`
      const first = require('.');
      for (const name of Object.keys(require.cache)) if (!name.endsWith('.node')) delete require.cache[name];
      const second = require('.');
      (async () => {
        const caches = await Promise.all([first, second].map((Cache) => Cache.getInstance({ namespace: 'copies' })));
        const seen = [];
        for (let round = 0; round < 2000; round += 1) {
          for (const [n, cache] of caches.entries()) {
            if (round % 10 === 0) await cache.set('key', round + n);
            const value = await cache.get('key');
            if (value !== round - (round % 10) + n) throw new Error(n + ' gave ' + value);
          }
        }
        console.log(first === second);
      })();
    `);
    assert.deepEqual({ ended, output }, { ended: 0, output: 'false\n' });
  });

  it('an exit inside a call ends it with its code', async () => {
    for (const call of [
      'cache.mGet(new Proxy(["a"], { get(keys, name) { if (name === "0") process.exit(7); return keys[name]; } }))',
      'cache.set("a", { toJSON: () => process.exit(7), toString: () => process.exit(7) }).then(() => process.exit(7))',
      '(Date.now = () => process.exit(7), cache.get("aged"))',
      'cache.get("a").then(() => process.exit(7))',
    ]) {
      const { ended, output } = await run(`
        const Cache = require('.');
        (async () => {
          const cache = await Cache.getInstance({ namespace: 'exit' });
          await cache.set('a', 'value');
          await cache.set('aged', 'value', 100000);
          for (let n = 0; n < 100; n += 1) await cache.mGet(['a', 'aged']);
          await ${call};
        })();
      `);
      assert.deepEqual({ call, ended, output }, { call, ended: 7, output: '' });
    }
  });

  it('of threads that end, or are ended, leave those of others as they are', async () => {
    const Cache = require('../..');
    const cache = await Cache.getInstance({ namespace: 'near threads' });
    await cache.set('key', 'value');
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const Cache = require(workerData.root);
      (async () => {
        const cache = await Cache.getInstance({ namespace: 'near threads' });
        const frozen = await Cache.getInstance({ namespace: 'near threads', freeze: true });
        for (let n = 0; n < 500; n += 1) await cache.set('key ' + n, { n });
        for (let round = 0; ; round += 1) {
          for (let n = 0; n < 500; n += 1) {
            await cache.get('key ' + n);
            await frozen.get('key ' + n);
          }
          if (round === 3) parentPort.postMessage('reads');
          if (round === 3 && workerData.ends) return;
        }
      })();
    `;
    for (let round = 0; round < 4; round += 1) {
      const ends = round % 2 === 0;
      const thread = new Worker(code, { eval: true, workerData: { root, ends } });
      const ended = once(thread, 'exit');
      await once(thread, 'message');
      if (!ends) await thread.terminate();
      assert.deepEqual(await ended, [ends ? 0 : 1]);
      for (let n = 0; n < 2000; n += 1) assert.equal(await cache.get('key'), 'value');
    }
  });

  it('keep no long text of which a key or a value is a part', async () => {
    const { ended, output } = await run(
      `
      const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      const heap = ${heap};
      const { NEAR, Views } = require('./lib/store/views');
      const { ValueTable } = require('./lib/store/value-table');
      const native = require('./lib/native/loader');
      const table = new ValueTable();
      const registry = new native.NativeRegistry(table.state, () => {});
      registry.open('parts', '{}');
      const views = new Views(registry.cache('parts', false), table);
      // A cache that keeps copies, as a worker has.
      const cache = views.get('json', NEAR);
      const part = (n, letter) => Buffer.alloc(1e6, letter + n).toString('latin1').slice(10, 60);
      const keys = () => Array.from({ length: 60 }, (_, n) => part(n + 10, 'k'));
      (async () => {
        for (const key of keys()) cache.set(key, 1);
        const before = await heap();
        for (const key of keys()) cache.get(key);
        const afterReads = await heap();
        for (const key of keys()) {
          if (views.near.cache.get(key) !== 1) throw new Error('not near');
          cache.set(key, part(key.length, 'v'));
          if (typeof views.near.cache.get(key) !== 'string') throw new Error('what a write left is not near');
        }
        console.log(JSON.stringify([afterReads - before, (await heap()) - before, views.near.cache.entries]));
      })();
    `,
      '--expose-gc',
    );
    assert.equal(ended, 0, output);
    const [reads, writes, entries] = JSON.parse(output);
    assert.equal(entries, 60);
    assert.ok(reads < 5e6 && writes < 5e6, output);
  });
});
