'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { processes } = require('./helpers');

const THREAD = path.join(__dirname, 'fixtures', 'thread.js');

describe('worker threads', () => {
  const { primary: startPrimary, worker: startWorker } = processes();
  const threads = [];
  after(() => Promise.all(threads.map((thread) => thread.terminate())));

  function start(task, thread) {
    const started = new Worker(THREAD, { workerData: { task, thread } });
    threads.push(started);
    return started;
  }

  it('have caches of their own, and the primary keeps its own', async () => {
    const Cache = require('..');
    const cache = new Cache({ namespace: 'thread' });
    const object = { thread: 'main' };
    await cache.set('object', object);
    const got = await Promise.all(
      [1, 2, 3].map(async (number) => {
        const [[message]] = await Promise.all([
          once(start('use', number), 'message'),
          cache.set(`meanwhile ${number}`, {}),
        ]);
        return message;
      }),
    );
    assert.deepEqual(
      got,
      [1, 2, 3].map((thread) => [[], { thread }, 1]),
    );
    assert.equal(await cache.get('object'), object);
    assert.equal(await cache.length(), 4);
  });

  it('end by themselves', async () => {
    assert.deepEqual(await once(start('use'), 'exit'), [0]);
  });

  it('end by themselves with a schedule', async () => {
    assert.deepEqual(await once(start('idle'), 'exit'), [0]);
  });

  it('20 of them, terminated in the middle of calls', async () => {
    for (let round = 0; round < 5; round += 1) {
      const busy = Array.from({ length: 4 }, () => start('busy'));
      await Promise.all(busy.map((thread) => once(thread, 'message')));
      assert.deepEqual(await Promise.all(busy.map((thread) => thread.terminate())), [1, 1, 1, 1]);
    }
    const Cache = require('..');
    const cache = new Cache({ namespace: 'after threads' });
    await cache.set('k', 1);
    assert.equal(await cache.get('k'), 1);
  });

  it('terminated with schedules that tick', async () => {
    for (let round = 0; round < 5; round += 1) {
      const thread = start('schedule');
      await once(thread, 'message');
      if (round === 0) await new Promise((resolve) => setTimeout(resolve, 1100));
      assert.equal(await thread.terminate(), 1);
    }
  });

  it('that exit inside a call end with their code', async () => {
    assert.deepEqual(await once(start('exit'), 'exit'), [5]);
  });

  it('that throw inside a call end with their error', async () => {
    const thread = start('fail');
    const [error] = await once(thread, 'error');
    assert.deepEqual([error.name, error.message], ['RangeError', 'from the thread']);
  });

  /** In a process of its own: it must end well after all that. */
  async function alone(run, ...args) {
    const primary = await startPrimary();
    const result = await primary.run(run, ...args);
    await primary.run(() => void setImmediate(() => process.disconnect()));
    assert.deepEqual(await primary.ended, { code: 0, signal: null }, primary.output);
    return result;
  }

  it('can be the first and only ones that load the addon', async () => {
    const results = await alone(async (context, file) => {
      const { Worker: Thread } = context.require('node:worker_threads');
      const use = (thread) =>
        new Promise((resolve, reject) => {
          const started = new Thread(file, { workerData: { task: 'use', thread } });
          let message;
          started.on('message', (value) => (message = value));
          started.on('error', reject);
          started.on('exit', (code) => resolve([code, message]));
        });
      return [await use(1), await use(2), ...(await Promise.all([use(3), use(4)]))];
    }, THREAD);
    assert.deepEqual(
      results,
      [1, 2, 3, 4].map((thread) => [0, [[], { thread }, 1]]),
    );
  });

  it('can load the addon before the process itself does', async () => {
    const result = await alone(async (context, file) => {
      const { Worker: Thread } = context.require('node:worker_threads');
      const thread = new Thread(file, { workerData: { task: 'busy' } });
      await new Promise((resolve) => thread.once('message', resolve));
      const cache = new context.Cache({ namespace: 'thread' });
      await cache.set('k', { a: 1 });
      await thread.terminate();
      return [await cache.keys(), await cache.get('k')];
    }, THREAD);
    assert.deepEqual(result, [['k'], { a: 1 }]);
  });

  it('under way when the process ends do not keep it from ending', async () => {
    const primary = await startPrimary();
    primary
      .run(async (context, file) => {
        const { Worker: Thread } = context.require('node:worker_threads');
        const tasks = ['busy', 'schedule', 'busy', 'schedule'];
        await Promise.all(
          tasks.map((task) => {
            const thread = new Thread(file, { workerData: { task } });
            return new Promise((resolve) => thread.once('message', resolve));
          }),
        );
        process.exit(9);
      }, THREAD)
      .catch(() => {});
    assert.deepEqual(await primary.ended, { code: 9, signal: null });
    assert.equal(primary.output, '');
  });

  it('of a worker of a cluster have caches of their own too', async () => {
    require('..');
    const worker = await startWorker();
    const got = await worker.run(async (context, file) => {
      const cache = await context.Cache.getInstance({
        namespace: 'thread of worker',
        timeout: 10_000,
      });
      await cache.set('k', 1);
      const { Worker: Thread } = context.require('node:worker_threads');
      const thread = new Thread(file, { workerData: { task: 'use', thread: 1 } });
      const message = await new Promise((resolve, reject) => {
        thread.on('message', resolve).on('error', reject);
      });
      return [message, await cache.get('k')];
    }, THREAD);
    assert.deepEqual(got, [[[], { thread: 1 }, 1], 1]);
  });
});
