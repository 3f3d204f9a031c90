'use strict';

// How calls travel as messages between a worker and its primary: timeouts, batches, a channel that closes. What says
// so at its end is about the shared memory, which needs no message.

const assert = require('node:assert/strict');
// This process is a primary that answers.
require('..');
const { TRANSPORTS, STRESS, describeShared, processes, unique } = require('./helpers');

describe('timeouts', () => {
  const { primary: startPrimary } = processes();
  let primary;

  /** Runs a function in a worker whose primary never loads the package, and so never answers. */
  const unanswered = (fn, ...args) =>
    primary.run(({ state }, source, given) => state.worker.run(source, ...given), String(fn), args);

  before(async () => {
    primary = await startPrimary();
    await primary.run(async ({ require: load, state }) => {
      state.worker = await load('./agents').startWorker({
        transport: 'ipc',
        execArgv: ['--expose-gc'],
      });
    });
  });

  it('resolve with undefined by default', async () => {
    const got = await unanswered(({ Cache }) => {
      const cache = new Cache({ namespace: 'resolving', timeout: 30 });
      return Promise.all([
        cache.get('k'),
        cache.set('k', 1),
        cache.keys(),
        cache.incr('k'),
        cache.getObject('k'),
        cache.setObject('k', {}),
        cache.max(),
        cache.execute('pop'),
      ]);
    });
    assert.deepEqual(got, Array(8).fill(undefined));
  });

  it('give empty objects where several objects were asked for', async () => {
    const got = await unanswered(({ Cache }) =>
      new Cache({ namespace: 'resolving', timeout: 30 }).mGetObjects(['k']),
    );
    assert.deepEqual(got, {});
  });

  it('reject with failsafe reject: an error with code, namespace and command', async () => {
    const got = await unanswered(async ({ Cache }) => {
      const cache = new Cache({ namespace: 'rejecting', timeout: 30, failsafe: 'reject' });
      const calls = [
        cache.get('k'),
        cache.mSet({}),
        cache.execute('pop'),
        cache.stale(),
        cache.setObject('k', 1),
      ];
      return (await Promise.allSettled(calls)).map(({ reason }) => [
        reason instanceof Error,
        reason.message,
        reason.code,
        reason.namespace,
        reason.command,
      ]);
    });
    const error = (command) => [true, 'Timed out in isFailed()', 'ETIMEDOUT', 'rejecting', command];
    assert.deepEqual(got.slice(0, 3), [error('get'), error('mSet'), error('pop')]);
    assert.match(got[3][4], /^(stale|allowStale)$/);
    assert.deepEqual(got[4], error('set'));
  });

  it('reject whatever failsafe says where a call is beyond 1.x; getEntry and getMany give misses', async () => {
    const got = await unanswered(async ({ Cache }) => {
      const cache = new Cache({ namespace: 'strict', timeout: 30, failsafe: 'resolve' });
      const calls = [
        cache.setIfAbsent('k', 1),
        cache.compareAndSet('k', 0, 1),
        cache.compareAndDelete('k', 0),
        cache.update('k', () => 1),
        cache.setMany([['k', 1]]),
        cache.getAndDelete('k'),
        cache.touch('k'),
        cache.getRemainingTTL('k'),
        cache.hit('k', 1000),
        cache.hasMany(['k']),
        cache.deleteMany(['k']),
        cache.deletePrefix('k'),
        cache.scan(),
        cache.entries(),
        cache.keys({ prefix: 'k' }),
        cache.execute('keys', {}),
        cache[Symbol.asyncIterator]().next(),
        cache.healthCheck(),
        cache.execute('hit', 'k', 1000),
      ];
      const codes = (await Promise.allSettled(calls)).map(({ reason }) => reason?.code);
      const many = await cache.getMany(new Set(['a', 'b']));
      const executed = await cache.execute('getMany', ['a', 'b']);
      const misses = [many, executed].map(
        (values) => values.length === 2 && values.every((value) => value === undefined),
      );
      const entry = await cache.getEntry('k');
      const keys = [await cache.keys(), await cache.execute('keys')];
      const none = [entry, ...keys, await cache.ready].every((value) => value === undefined);
      return [codes, misses, none];
    });
    assert.deepEqual(got, [Array(19).fill('ETIMEDOUT'), [true, true], true]);
  });

  it('getInstance keeps to failsafe too', async () => {
    const got = await unanswered(async ({ Cache }) => {
      const options = { namespace: 'instance', timeout: 30 };
      const rejected = await Cache.getInstance({ ...options, failsafe: 'reject' }).catch((e) => e);
      return [(await Cache.getInstance(options)) instanceof Cache, rejected.code];
    });
    assert.deepEqual(got, [true, 'ETIMEDOUT']);
  });

  it('are those of each instance', async () => {
    const first = await unanswered(async ({ Cache }) => {
      const slow = new Cache({ timeout: 300_000 });
      const quick = new Cache({ timeout: 20 });
      return Promise.race([slow.get('k').then(() => 'slow'), quick.get('k').then(() => 'quick')]);
    });
    assert.equal(first, 'quick');
  });

  it('come no earlier than said', async () => {
    const took = await unanswered(async ({ Cache }) => {
      const cache = new Cache({ timeout: 150 });
      const start = performance.now();
      await cache.get('k');
      return performance.now() - start;
    });
    assert.ok(took >= 148, `${took} ms`);
  });

  it('can be changed on the instance, as failsafe can', async () => {
    const got = await unanswered(async ({ Cache }) => {
      const cache = new Cache({ timeout: 300_000 });
      cache.timeout = 20;
      cache.failsafe = 'reject';
      const late = new Promise((resolve) => setTimeout(resolve, 5000, 'late').unref());
      return Promise.race([late, cache.get('k').catch((error) => error.code)]);
    });
    assert.equal(got, 'ETIMEDOUT');
  });

  it('without a bound are possible', async () => {
    const got = await unanswered(async ({ Cache }) => {
      const cache = new Cache({ timeout: Infinity });
      const call = cache.get('k').then(() => 'ended');
      const later = new Promise((resolve) => setTimeout(resolve, 50, 'waits'));
      return Promise.race([call, later]);
    });
    assert.equal(got, 'waits');
  });

  const calls = STRESS ? 100_000 : 20_000;
  /** Bytes that are less than one closure per call. */
  const flat = calls * 40;

  /** Makes many calls; gives how much the heap grew by them and how many were answered. */
  async function flood({ Cache, require: load }, count, listens) {
    const { heap } = load('.');
    const patient = new Cache({ namespace: 'flood', timeout: 60_000, failsafe: 'reject' });
    const cache = new Cache({ namespace: 'flood', timeout: 20 });
    let answered = 0;
    const round = async (size) => {
      const values = await Promise.all(Array.from({ length: size }, (_, at) => cache.get(at)));
      answered += values.filter((value) => value !== undefined).length;
    };
    const measure = async () => {
      // What was sent before this call has left the process when it is answered.
      if (listens) await patient.has('k');
      return heap();
    };
    await round(1000);
    const before = await measure();
    for (let done = 0; done < count; done += 5000) await round(5000);
    return { grown: (await measure()) - before, answered };
  }

  it(`${calls} calls that nobody answers leave nothing behind`, async () => {
    const { grown, answered } = await unanswered(flood, calls);
    assert.equal(answered, 0);
    assert.ok(grown < flat, `the heap grew by ${grown} bytes`);
  });

  it('instances made again and again leave nothing behind', async () => {
    const grown = await unanswered(async ({ Cache, require: load }, count) => {
      const round = async (size) => {
        const options = { namespace: 'again', max: 5, timeout: 20 };
        await Promise.all(Array.from({ length: size }, () => Cache.getInstance(options)));
      };
      const { heap } = load('.');
      await round(1000);
      const before = await heap();
      for (let done = 0; done < count; done += 5000) await round(5000);
      return (await heap()) - before;
    }, calls);
    assert.ok(grown < flat, `the heap grew by ${grown} bytes`);
  });

  it(`${calls} answers that come too late leave nothing behind`, async () => {
    const late = await startPrimary({ execArgv: ['--expose-gc'] });
    const {
      grown,
      answered,
      after: last,
    } = await late.run(
      async (context, source, count) => {
        const { startWorker, block } = context.require('.');
        void context.Cache;
        const worker = await startWorker({ transport: 'ipc', execArgv: ['--expose-gc'] });
        await worker.run(({ Cache }) =>
          Cache.getInstance({ namespace: 'flood', timeout: 10_000 }).then(() => {}),
        );
        // The primary answers in pauses that are longer than the timeout.
        const busy = setInterval(() => block(60), 1);
        const result = await worker.run(source, count, true);
        clearInterval(busy);
        const after = await worker.run(async ({ Cache }) => {
          const cache = new Cache({ namespace: 'flood', timeout: 10_000 });
          await cache.set('k', 'right');
          return cache.get('k');
        });
        return { ...result, after };
      },
      String(flood),
      calls,
    );
    assert.equal(answered, 0);
    assert.equal(last, 'right');
    assert.ok(grown < flat, `the heap grew by ${grown} bytes`);
  });
});

describe('a late answer', () => {
  const { primary: startPrimary } = processes();

  it('is not taken for that of another call', async () => {
    const primary = await startPrimary();
    const got = await primary.run(async (context) => {
      const { startWorker, block } = context.require('.');
      const shared = new context.Cache({ namespace: 'late' });
      await shared.mSet({ a: 'A', b: 'B' });
      const worker = await startWorker({ transport: 'ipc' });
      await worker.run(({ Cache }) =>
        Cache.getInstance({ namespace: 'late', timeout: 10_000 }).then(() => {}),
      );
      const calls = worker.run(async ({ Cache }) => {
        const hasty = new Cache({ namespace: 'late', timeout: 30 });
        const patient = new Cache({ namespace: 'late', timeout: 10_000 });
        const first = await hasty.get('a');
        return [first, await patient.get('b'), await patient.get('a')];
      });
      block(300);
      return calls;
    });
    assert.deepEqual(got, [undefined, 'B', 'A']);
  });

  it('still has done what the call asked for', async () => {
    const primary = await startPrimary();
    const got = await primary.run(async (context) => {
      const { startWorker, block } = context.require('.');
      const shared = new context.Cache({ namespace: 'late' });
      const worker = await startWorker({ transport: 'ipc' });
      await worker.run(({ Cache }) =>
        Cache.getInstance({ namespace: 'late', timeout: 10_000 }).then(() => {}),
      );
      const call = worker.run(({ Cache }) =>
        new Cache({ namespace: 'late', timeout: 30 }).set('k', 1),
      );
      block(300);
      return [await call, await shared.get('k')];
    });
    assert.deepEqual(got, [undefined, 1]);
  });
});

describe('a worker', () => {
  const { worker: start, primary: startPrimary } = processes();

  it('that is busy for longer than its timeout does not lose an answer that lies in the pipe', async () => {
    const worker = await start({ transport: 'ipc' });
    const cache = await worker.open({ namespace: 'busy', timeout: 10_000 });
    await cache.set('k', 'right');
    const got = await worker.run(async ({ Cache, require: load }) => {
      const { block } = load('.');
      const hasty = await Cache.getInstance({
        namespace: 'busy',
        timeout: 200,
        failsafe: 'reject',
      });
      const calls = [hasty.get('k'), hasty.get('x'), hasty.incr('n')];
      // The turn ends here, and the calls are sent.
      await new Promise((resolve) => setImmediate(resolve));
      block(1000);
      return Promise.all(calls);
    });
    assert.deepEqual(got, ['right', undefined, 1]);
  });

  it('sends the calls of one turn in one message, and gets their answers in one', async () => {
    const worker = await start({ transport: 'ipc' });
    const { SOURCE } = require('../lib/transport/envelope');
    const got = await worker.run(async ({ Cache }, source) => {
      const options = { timeout: 10_000, failsafe: 'reject' };
      const a = await Cache.getInstance({ namespace: 'batch a', ...options });
      const b = await Cache.getInstance({ namespace: 'batch b', ...options });
      const sent = [];
      const received = [];
      const { send } = process;
      process.send = (message, ...rest) => {
        sent.push(message);
        return send.call(process, message, ...rest);
      };
      process.on('message', (message) => message?.[0] === source && received.push(message));
      const calls = [];
      for (let at = 0; at < 100; at += 1) calls.push((at % 2 ? a : b).incr('n'), a.get('k'));
      calls.push(new Cache({ namespace: 'batch c', ...options }).set('k', 1), a.keys());
      // A turn is not over with a microtask.
      await Promise.resolve();
      calls.push(b.mGet(['n']));
      const values = await Promise.all(calls);
      process.send = send;
      return { sent: sent.length, received: received.length, last: values.slice(-2) };
    }, SOURCE);
    assert.deepEqual(got, { sent: 1, received: 1, last: [['n'], { n: 50 }] });
  });

  it('sends a call on an idle channel in the turn it was made in', async () => {
    const worker = await start({ transport: 'ipc' });
    const got = await worker.run(async ({ Cache }) => {
      const cache = await Cache.getInstance({ namespace: 'idle', timeout: 10_000 });
      let sent = 0;
      const { send } = process;
      process.send = (...args) => {
        sent += 1;
        return send.apply(process, args);
      };
      const call = cache.set('k', 1);
      const before = sent;
      await new Promise((resolve) => process.nextTick(resolve));
      const after = sent;
      process.send = send;
      return [before, after, await call];
    });
    assert.deepEqual(got, [0, 1, true]);
  });

  it('gathers calls while two batches are under way, and keeps their order', async () => {
    const worker = await start({ transport: 'ipc' });
    const got = await worker.run(async ({ Cache }) => {
      const options = { namespace: 'gather', timeout: 10_000, failsafe: 'reject' };
      const cache = await Cache.getInstance(options);
      const sent = [];
      const { send } = process;
      process.send = (message, ...rest) => {
        if (typeof message[2] === 'string') sent.push(message[2].split('\n').length - 1);
        return send.call(process, message, ...rest);
      };
      const tick = () => new Promise((resolve) => process.nextTick(resolve));
      const order = [];
      const calls = [];
      const call = () => calls.push(cache.incr('n').then((n) => order.push(n)));
      // All in one turn of the event loop: no answer is read, no timer runs.
      for (let at = 0; at < 5; at += 1) {
        call();
        await tick();
      }
      const before = [...sent];
      await Promise.all(calls);
      process.send = send;
      return { before, sent, order };
    });
    assert.deepEqual(got, { before: [1, 1], sent: [1, 1, 3], order: [1, 2, 3, 4, 5] });
  });

  it('sends what has gathered to a primary that is busy for long, in order', async () => {
    const primary = await startPrimary();
    const got = await primary.run(async (context) => {
      const { startWorker, block } = context.require('.');
      const shared = new context.Cache({ namespace: 'long' });
      const worker = await startWorker({ transport: 'ipc' });
      await worker.run(({ Cache }) =>
        Cache.getInstance({ namespace: 'long', timeout: 10_000 }).then(() => {}),
      );
      const calls = worker.run(async ({ Cache }) => {
        const cache = new Cache({ namespace: 'long', timeout: 100 });
        const made = [];
        for (let at = 0; at < 5; at += 1) {
          made.push(cache.set('k', at));
          await new Promise((resolve) => process.nextTick(resolve));
        }
        return Promise.all(made);
      });
      block(500);
      return [await calls, await shared.get('k')];
    });
    // Their time is over, and yet they were made, as each that was sent is.
    assert.deepEqual(got, [Array(5).fill(undefined), 4]);
  });

  it('sends nothing when nothing is called', async () => {
    const worker = await start({ transport: 'ipc' });
    const sent = await worker.run(async ({ Cache }) => {
      const cache = await Cache.getInstance({ namespace: 'quiet', timeout: 10_000 });
      await cache.set('k', 1);
      let count = 0;
      const { send } = process;
      process.send = (...args) => {
        count += 1;
        return send.apply(process, args);
      };
      await new Promise((resolve) => setTimeout(resolve, 50));
      process.send = send;
      return count;
    });
    assert.equal(sent, 0);
  });

  /** Runs in a worker: calls before and after it has left the cluster, told on its output. */
  const leave = async ({ Cache, require: load }) => {
    const cluster = load('node:cluster');
    const options = { namespace: 'leaving', timeout: 60_000, failsafe: 'reject' };
    const cache = await Cache.getInstance(options);
    const code = (error) => error.code;
    const gone = new Promise((resolve) => process.once('disconnect', resolve));
    cluster.worker.disconnect();
    await gone;
    const after = [cache.get('k').catch(code)];
    after.push(new Cache({ ...options, namespace: 'made later' }).get('k').catch(code));
    after.push(new Cache({ ...options, failsafe: 'resolve' }).get('k'));
    after.push(Cache.getInstance(options).catch(code));
    process.stdout.write(`${JSON.stringify(await Promise.all(after))}\n`);
  };

  it('whose channel has closed is told at once', async () => {
    const worker = await start({ transport: 'ipc' });
    worker.run(leave).catch(() => {});
    assert.deepEqual(await worker.ended, { code: 0, signal: null });
    assert.equal(worker.output, '["ETIMEDOUT","ETIMEDOUT",null,"ETIMEDOUT"]\n');
  });

  it('whose channel closes under its calls is told at once', async () => {
    const primary = await startPrimary();
    // The primary does not load the package, so the calls stay open.
    const output = await primary.run(async ({ require: load }) => {
      const worker = await load('./agents').startWorker({ transport: 'ipc' });
      worker
        .run(async ({ Cache, require: workerLoad }) => {
          const cluster = workerLoad('node:cluster');
          const options = { timeout: 60_000, failsafe: 'reject' };
          const calls = [Cache.getInstance(options), new Cache(options).get('k')];
          await new Promise((resolve) => setTimeout(resolve, 20));
          cluster.worker.disconnect();
          const ended = await Promise.allSettled(calls);
          process.stdout.write(ended.map(({ reason }) => reason.code).join());
        })
        .catch(() => {});
      await worker.ended;
      return worker.output;
    });
    assert.equal(output, 'ETIMEDOUT,ETIMEDOUT');
  });

  it('that loads the package when its channel has closed is told at once', async () => {
    const worker = await start({ transport: 'ipc' });
    worker
      .run(async (context) => {
        const cluster = context.require('node:cluster');
        const gone = new Promise((resolve) => process.once('disconnect', resolve));
        cluster.worker.disconnect();
        await gone;
        const options = { timeout: 60_000, failsafe: 'reject' };
        const error = await new context.Cache(options).get('k').catch((reason) => reason);
        process.stdout.write(String(error.code));
      })
      .catch(() => {});
    assert.deepEqual(await worker.ended, { code: 0, signal: null });
    assert.equal(worker.output, 'ETIMEDOUT');
  });

  for (const transport of TRANSPORTS) {
    it(`with timers that a test suite has replaced is answered all the same, transport: ${transport}`, async () => {
      const worker = await start({ transport });
      const got = await worker.run(async ({ Cache }) => {
        const cache = await Cache.getInstance({
          namespace: 'fake timers',
          timeout: 10_000,
          failsafe: 'reject',
        });
        const names = [
          'setTimeout',
          'setImmediate',
          'setInterval',
          'clearTimeout',
          'clearImmediate',
          'queueMicrotask',
        ];
        const real = Object.fromEntries(names.map((name) => [name, globalThis[name]]));
        for (const name of names) globalThis[name] = () => ({ unref() {} });
        const { nextTick } = process;
        try {
          await cache.set('k', 'right');
          return [await cache.get('k'), await cache.get('k')];
        } finally {
          Object.assign(globalThis, real);
          process.nextTick = nextTick;
        }
      });
      assert.deepEqual(got, ['right', 'right']);
    });
  }
});

describe('calls that are made again', () => {
  it('go on behind one that throws, which is over', async () => {
    const { RetryQueue } = require('../lib/store/retry-queue');
    const idle = new Promise((resolve) => {
      const queue = new RetryQueue(() => resolve(queue.length));
      const made = [];
      queue.add(() => made.push('first') > 0);
      queue.add(() => {
        made.push('throws');
        throw new Error('of a call');
      });
      queue.add(() => made.push('last') > 0);
      assert.throws(() => queue.run(), /of a call/);
      assert.deepEqual([made, queue.length], [['first', 'throws'], 1]);
      // The last one is made from the event loop.
    });
    assert.equal(await idle, 0);
  });
});

describeShared('a worker with the shared memory', () => {
  const { worker: start, primary: startPrimary } = processes();

  it('makes a cache where its first requests find the store locked', async () => {
    const worker = await start();
    const got = await worker.run(
      async ({ Cache }, options) => {
        const { send } = process;
        let refused = 0;
        // The first batch is answered here, as the primary answers it while another process has the lock.
        process.send = (message, ...rest) => {
          const [source, name, batch] = message;
          if (refused > 0 || typeof batch !== 'string') return send.call(process, message, ...rest);
          const ids = Array.from(batch.matchAll(/^\[(\d+),/gm), ([, id]) => id);
          refused = ids.length;
          const answers = ids.map((id) => `${id},4,["Error","locked","ERR_STORE_BUSY"]`);
          return setImmediate(() => process.emit('message', [source, name, `[${answers}]`]));
        };
        const cache = await Cache.getInstance(options);
        return [refused, cache.transport().kind, await cache.set('k', 1)];
      },
      { namespace: unique('channel'), timeout: 2000, failsafe: 'reject' },
    );
    // That of the hello, which nobody waits for, and that of `getInstance`.
    assert.deepEqual(got, [2, 'shared-memory', true]);
  });

  it('sends no message for its calls, whatever they are', async () => {
    const worker = await start({ transport: 'shared-memory' });
    const got = await worker.run(async ({ Cache }, namespace) => {
      const options = { namespace, timeout: 10_000, failsafe: 'reject' };
      const cache = await Cache.getInstance(options);
      let sent = 0;
      const { send } = process;
      process.send = (...args) => {
        sent += 1;
        return send.apply(process, args);
      };
      await Promise.all([cache.set('k', 1), cache.incr('k'), cache.mSet({ a: [1] }), cache.max(5)]);
      // Another instance finds the store that is there.
      const other = await Cache.getInstance({ ...options, stale: true });
      const values = await Promise.all([
        other.mGet(['k', 'a']),
        other.dump(),
        cache.execute('pop'),
      ]);
      process.send = send;
      return [sent, values[0], values[1].length, values[2].key];
    }, unique('channel'));
    assert.deepEqual(got, [0, { k: 2, a: [1] }, 2, 'k']);
  });

  it('is answered while its primary is busy', async () => {
    const primary = await startPrimary();
    const got = await primary.run(async (context) => {
      const { startWorker } = context.require('.');
      const cache = await context.Cache.getInstance();
      const worker = await startWorker({ transport: 'shared-memory' });
      const theirs = await worker.open({ timeout: 10_000, failsafe: 'reject' });
      const calls = [theirs.set('k', 1), theirs.incr('k'), theirs.set('done', true)];
      // The calls have been told to the worker, and no answer of its can be read before this ends.
      await new Promise((resolve) => setImmediate(resolve));
      const end = performance.now() + 10_000;
      while (!cache.getCache().has('done') && performance.now() < end);
      return [cache.getCache().values(), await Promise.all(calls)];
    });
    assert.deepEqual(got, [
      [true, 2],
      [true, 2, true],
    ]);
  });

  it('whose channel has closed goes on with the caches it has', async () => {
    const worker = await start({ transport: 'shared-memory' });
    worker
      .run(async ({ Cache, require: load }) => {
        const cluster = load('node:cluster');
        const options = { namespace: 'leaving direct', timeout: 60_000, failsafe: 'reject' };
        const cache = await Cache.getInstance(options);
        const code = (error) => error.code;
        const gone = new Promise((resolve) => process.once('disconnect', resolve));
        cluster.worker.disconnect();
        await gone;
        const after = [cache.set('k', 1), cache.get('k')];
        after.push(new Cache(options).incr('k'));
        after.push(Cache.getInstance({ ...options, max: 5 }).then((other) => other.max()));
        // The primary alone could say where that is.
        after.push(new Cache({ ...options, namespace: 'made later' }).get('k').catch(code));
        process.stdout.write(`${JSON.stringify(await Promise.all(after))}\n`);
      })
      .catch(() => {});
    assert.deepEqual(await worker.ended, { code: 0, signal: null });
    assert.equal(worker.output, '[true,1,2,5,"ETIMEDOUT"]\n');
  });

  const calls = STRESS ? 100_000 : 20_000;

  for (const [title, make] of [
    ['calls', (cache) => cache.get('k')],
    ['instances', (cache, Cache) => Cache.getInstance({ namespace: cache.namespace, max: 5 })],
  ]) {
    it(`${calls} ${title} leave nothing behind`, async () => {
      const worker = await start({ transport: 'shared-memory', execArgv: ['--expose-gc'] });
      const grown = await worker.run(
        async ({ Cache, require: load }, namespace, source, count) => {
          const { heap } = load('.');
          const cache = await Cache.getInstance({ namespace, timeout: 10_000 });
          const call = (0, eval)(source);
          const round = (size) =>
            Promise.all(Array.from({ length: size }, () => call(cache, Cache)));
          await round(1000);
          const before = await heap();
          for (let done = 0; done < count; done += 5000) await round(5000);
          return (await heap()) - before;
        },
        unique('channel'),
        String(make),
        calls,
      );
      assert.ok(grown < calls * 40, `the heap grew by ${grown} bytes`);
    });
  }
});
