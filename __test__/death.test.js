'use strict';

// Workers and primaries that end at any moment.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { TRANSPORTS, STRESS, processes, until } = require('./helpers');

for (const transport of TRANSPORTS) {
  describe(`a worker that is killed in the middle of traffic, transport: ${transport}`, () => {
    const { primary: start } = processes();
    const times = STRESS ? 200 : 6;

    it(`is no event for the primary, ${times} times over`, async () => {
      const primary = await start({ execArgv: ['--expose-gc'] });
      const got = await primary.run(
        async (context, rounds, by) => {
          const { startWorker } = context.require('.');
          const cache = new context.Cache({ namespace: 'killed', max: 500 });
          const events = [];
          process.on('uncaughtException', (error) => events.push(String(error)));
          process.on('unhandledRejection', (error) => events.push(String(error)));
          process.on('warning', (warning) => events.push(String(warning)));
          await cache.set('kept', { by: 'primary' });

          const traffic = async ({ Cache }) => {
            const options = { namespace: 'killed', timeout: 10_000 };
            const theirs = await Cache.getInstance(options);
            const value = 'x'.repeat(5000);
            const turn = () => {
              for (let at = 0; at < 50; at += 1) {
                theirs.set(at, value);
                theirs.get(at);
              }
              theirs.values();
              setImmediate(turn);
            };
            turn();
            // Its answer says that the traffic flows.
            await theirs.incr('started');
          };

          const memory = () => {
            global.gc();
            const { heapUsed, rss } = process.memoryUsage();
            return { heapUsed, rss };
          };
          let before;
          for (let round = 0; round < rounds; round += 1) {
            // From a third on, what stays has been there before.
            if (round === Math.floor(rounds / 3)) before = memory();
            const worker = await startWorker({ transport: by });
            await worker.run(traffic);
            // Its pipe is full of calls now, and answers are on their way to it.
            await worker.kill();
          }
          await new Promise((resolve) => setTimeout(resolve, 50));
          const end = memory();
          const last = await startWorker({ transport: by });
          const seen = await last.run(async ({ Cache }) => {
            const theirs = await Cache.getInstance({ namespace: 'killed', timeout: 10_000 });
            return [await theirs.get('started'), await theirs.get('kept')];
          });
          await last.kill();
          return {
            events,
            seen,
            heap: end.heapUsed - before.heapUsed,
            rss: end.rss - before.rss,
          };
        },
        times,
        transport,
      );
      assert.deepEqual(got.events, []);
      assert.deepEqual(got.seen[0], times, 'every worker was answered');
      assert.ok(got.heap < 3e6, `the heap grew by ${got.heap} bytes`);
      if (STRESS) assert.ok(got.rss < 60e6, `the memory grew by ${got.rss} bytes`);
    }).timeout(600_000);

    it('leaves the answers of others alone', async () => {
      const primary = await start();
      const sum = await primary.run(async (context, by) => {
        const { startWorker } = context.require('.');
        void context.Cache;
        const workers = await Promise.all([
          startWorker({ transport: by }),
          startWorker({ transport: by }),
        ]);
        const [victim, other] = workers;
        const count = async ({ Cache }, calls) => {
          const options = { namespace: 'two', timeout: 30_000, failsafe: 'reject' };
          const cache = await Cache.getInstance(options);
          for (let at = 0; at < calls; at += 1) {
            await Promise.all([cache.incr('n'), cache.set(at, 'x'.repeat(1000)), cache.get(at)]);
          }
          return cache.get('n');
        };
        await victim.run(({ Cache }) => {
          const cache = new Cache({ namespace: 'victim' });
          const turn = () => (cache.keys(), cache.set('k', 'x'), setImmediate(turn));
          turn();
        });
        const counted = other.run(count, 300);
        await new Promise((resolve) => setTimeout(resolve, 10));
        await victim.kill();
        return counted;
      }, transport);
      assert.equal(sum, 300);
    });

    it('by the primary with disconnect() or kill(): the primary goes on', async () => {
      const primary = await start();
      const got = await primary.run(async (context, by) => {
        const { startWorker } = context.require('.');
        const cache = new context.Cache({ namespace: 'ended' });
        const traffic = async ({ Cache }) => {
          const theirs = await Cache.getInstance({ namespace: 'ended', timeout: 10_000 });
          const turn = () => (theirs.incr('n'), setImmediate(turn));
          turn();
          await theirs.set('k', 1);
          setTimeout(() => process.exit(), 2000).unref();
        };
        for (const end of ['disconnect', 'kill']) {
          const worker = await startWorker({ transport: by });
          await worker.run(traffic);
          worker.worker[end]();
          await new Promise((resolve) => worker.worker.once('disconnect', resolve));
          await worker.kill();
        }
        return cache.get('k');
      }, transport);
      assert.equal(got, 1);
    });
  });
}

describe('a primary that is killed', () => {
  const { primary: start } = processes();
  const file = path.join(os.tmpdir(), `ended-${process.pid}.json`);
  afterEach(() => fs.rmSync(file, { force: true }));

  /** Kills a primary whose worker makes calls; what `fn` of that worker, called with its cache, has written. */
  async function orphan(transport, fn) {
    const primary = await start();
    await primary.run(
      async (context, by, source, to) => {
        const { startWorker } = context.require('.');
        void context.Cache;
        const worker = await startWorker({ transport: by });
        const begin = async ({ Cache, require: load }, text, file) => {
          const options = { namespace: 'orphan', timeout: 600_000, failsafe: 'reject' };
          const cache = await Cache.getInstance(options);
          const { worker: self } = load('node:cluster');
          // What keeps a worker of a cluster going when its primary is gone.
          self.exitedAfterDisconnect = true;
          setTimeout(() => process.exit(1), 30_000).unref();
          const gone = new Promise((resolve) => self.once('disconnect', resolve));
          (0, eval)(text)(cache, gone)
            .catch(String)
            .then((result) => {
              const { renameSync, writeFileSync } = load('node:fs');
              writeFileSync(`${file}.part`, JSON.stringify(result));
              renameSync(`${file}.part`, file);
              process.exit();
            });
        };
        await worker.run(begin, source, to);
      },
      transport,
      String(fn),
      file,
    );
    await primary.kill();
    await until(() => fs.existsSync(file));
    return JSON.parse(fs.readFileSync(file));
  }

  it('leaves no worker waiting: each of its calls ends, by messages', async () => {
    const ended = await orphan('ipc', async (cache) => {
      const code = (error) => error.code;
      let ending;
      while (!ending) ending = await cache.incr('n').then(() => undefined, code);
      return [ending, await cache.get('k').catch(code)];
    });
    assert.deepEqual(ended, ['ETIMEDOUT', 'ETIMEDOUT']);
  });

  if (TRANSPORTS.includes('shared-memory')) {
    it('leaves a worker with the shared memory all it had', async () => {
      const ended = await orphan('shared-memory', async (cache, gone) => {
        let isOver = false;
        gone.then(() => (isOver = true));
        let calls = 0;
        for (let after = 0; after < 1000; after += isOver) {
          calls += 1;
          const count = await cache.incr('n');
          if (count !== calls) return `${count} instead of ${calls}`;
          await new Promise((resolve) => setImmediate(resolve));
        }
        await cache.set('k', { after: true });
        return [await cache.keys(), await cache.get('k')];
      });
      assert.deepEqual(ended, [['k', 'n'], { after: true }]);
    });
  }
});

describe('process.exit() inside a call', () => {
  const { primary: start, worker: startWorker } = processes();

  it('of the primary ends it with its code', async () => {
    const primary = await start();
    primary
      .run(async ({ Cache }) => {
        const cache = await Cache.getInstance({ namespace: 'exit', prune: '* * * * * *' });
        await cache.set('k', { toJSON: () => process.exit(7) });
        await cache.mSet({ a: {}, b: 1 });
        cache.getCache().forEach(() => process.exit(7));
      })
      .catch(() => {});
    assert.deepEqual(await primary.ended, { code: 7, signal: null });
    assert.equal(primary.output, '');
  });

  for (const transport of TRANSPORTS) {
    it(`of the primary that answers a worker ends it with its code, transport: ${transport}`, async () => {
      const primary = await start();
      primary
        .run(async (context, by) => {
          const cache = await context.Cache.getInstance({ namespace: 'exit' });
          await cache.set('k', { toJSON: () => process.exit(7) });
          const worker = await context.require('.').startWorker({ transport: by });
          await worker.run(async ({ Cache }) => {
            const theirs = await Cache.getInstance({ namespace: 'exit', timeout: 10_000 });
            await theirs.get('k');
          });
        }, transport)
        .catch(() => {});
      assert.deepEqual(await primary.ended, { code: 7, signal: null });
      assert.equal(primary.output, '');
    });

    it(`of a worker with calls under way ends it with its code, transport: ${transport}`, async () => {
      require('..');
      const worker = await startWorker({ transport });
      worker
        .run(async ({ Cache }) => {
          const cache = await Cache.getInstance({ namespace: 'exit', timeout: 10_000 });
          for (let at = 0; at < 1000; at += 1) cache.set(at, 'x');
          setImmediate(() => setImmediate(() => process.exit(7)));
        })
        .catch(() => {});
      assert.deepEqual(await worker.ended, { code: 7, signal: null });
      assert.equal(worker.output, '');
    });
  }

  it('in a handler of exit, calls work', async () => {
    const primary = await start();
    primary
      .run(async ({ Cache }) => {
        const cache = new Cache({ namespace: 'exit' }).getCache();
        cache.set('k', { a: 1 });
        process.on('exit', () => {
          cache.set('l', 2);
          process.stdout.write(JSON.stringify(cache.values()));
        });
        process.exit(3);
      })
      .catch(() => {});
    assert.deepEqual(await primary.ended, { code: 3, signal: null });
    assert.equal(primary.output, '[2,{"a":1}]');
  });
});
