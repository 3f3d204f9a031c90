'use strict';

// Scheduled pruning, in real time. Each wait is for something to happen.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const Cache = require('..');
const { TRANSPORTS, processes, unique, until } = require('./helpers');

const EACH_SECOND = '* * * * * *';
const ONCE_A_YEAR = '0 0 0 1 1 *';

/** A cache with a schedule. */
function scheduled(prune, namespace = unique('prune')) {
  return new Cache({ namespace, prune }).getCache();
}

/** Sets an entry that has expired already, and waits until a schedule removes it. */
async function pruned(cache) {
  cache.set('expired', {}, -1);
  assert.equal(cache.length, 1, 'nothing but a schedule removes it');
  await until(() => cache.length === 0, 5000);
}

describe('prune', () => {
  const { worker: startWorker } = processes();
  after(() => {
    for (const namespace of Object.keys(Cache.getAllCaches()))
      new Cache({ namespace, prune: false });
  });

  it('removes expired entries at the times of the pattern, and no others', async () => {
    const cache = scheduled(EACH_SECOND);
    cache.set('stays', 1);
    cache.set('later', 1, 3_600_000);
    cache.set('expired', {}, -1);
    assert.equal(cache.length, 3);
    await until(() => cache.length === 2, 5000);
    assert.deepEqual(cache.keys(), ['later', 'stays']);
  });

  it('goes on, second by second', async () => {
    const cache = scheduled(EACH_SECOND);
    await pruned(cache);
    await pruned(cache);
  });

  it('the same pattern again changes nothing, and neither does no pattern', async () => {
    const namespace = unique('prune');
    const cache = scheduled(EACH_SECOND, namespace);
    for (let at = 0; at < 1000; at += 1) scheduled(EACH_SECOND, namespace);
    new Cache({ namespace });
    new Cache({ namespace, prune: undefined });
    await pruned(cache);
  });

  describe('leaves alone a cache', () => {
    /** How a cache comes to have no schedule of each second. */
    const ways = {
      'whose pattern says another time': () => scheduled(ONCE_A_YEAR),
      'without a pattern, whatever others have': () => scheduled(undefined),
      'whose schedule was stopped by false': async () => {
        const namespace = unique('prune');
        const cache = scheduled(EACH_SECOND, namespace);
        await pruned(cache);
        return scheduled(false, namespace);
      },
      'whose schedule was replaced by another': () => {
        const namespace = unique('prune');
        scheduled(EACH_SECOND, namespace);
        return scheduled(ONCE_A_YEAR, namespace);
      },
      ...Object.fromEntries(
        TRANSPORTS.map((transport) => [
          `whose schedule was made and stopped by a worker, transport: ${transport}`,
          async () => {
            const namespace = unique('prune');
            const worker = await startWorker({ transport });
            await worker.open({ namespace, prune: EACH_SECOND, timeout: 10_000 });
            const cache = new Cache({ namespace }).getCache();
            await pruned(cache);
            await worker.open({ namespace, prune: false, timeout: 10_000 });
            return cache;
          },
        ]),
      ),
    };
    const caches = {};

    before(async () => {
      const make = async (title) => {
        caches[title] = await ways[title]();
        caches[title].set('expired', 1, -1);
      };
      await Promise.all(Object.keys(ways).map(make));
      // After the second time of another cache, a first one has passed for all.
      const other = scheduled(EACH_SECOND);
      await pruned(other);
      await pruned(other);
    });

    for (const title of Object.keys(ways)) {
      it(title, () => assert.equal(caches[title].length, 1));
    }
  });

  it('does not keep a process alive', async () => {
    const idle = path.join(__dirname, 'fixtures', 'idle.js');
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [idle], {
      timeout: 20_000,
    });
    assert.deepEqual([stdout, stderr], ['done', '']);
  });

  for (const pattern of [
    '* * * * *',
    '0 0 * * *',
    '*/15 * * * * *',
    '0,30 1-5 */2 * * *',
    '0 0 12 1-31/2 * *',
    '0 0 * * 0',
    '0 0 * * 7',
    '0 0 * * 1-5',
    '0 0 * * mon',
    '0 0 * * SUN,sat',
    '0 0 1 jan *',
    '0 0 1 1-12 *',
    ' 0 0 1 JAN-mar * ',
    '59 59 23 31 12 6',
  ]) {
    it(`takes the pattern '${pattern}'`, () => {
      const cache = scheduled(pattern);
      assert.ok(cache);
    });
  }
});
