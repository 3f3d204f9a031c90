'use strict';

/**
 * The memory of a namespace: a million entries of a small object, as the kernel counts them, in the segment and in
 * the workers that use it; then one that grows and shrinks by turns.
 *
 *   node __test__/stress/memory.js [entries]
 */

const assert = require('node:assert/strict');
const { startWorker } = require('../helpers/agents');
const { committed, memoryOf, segmentsOf, validate } = require('./segment');

const ENTRIES = Number(process.argv[2] ?? 1_000_000);
const MIB = 1 << 20;
const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;

async function fill({ Cache }, { namespace, from, to, length }) {
  const cache = await Cache.getInstance({ namespace, timeout: 60_000, failsafe: 'reject' });
  for (let at = from; at < to; at += 1000) {
    const pairs = {};
    for (let n = at; n < Math.min(to, at + 1000); n += 1) {
      const id = 1_000_000 + n;
      // 99 bytes of JSON, or as many as were asked for.
      const value = {
        id,
        rev: 0,
        name: `Ada ${id}`,
        mail: `u${id}@example.com`,
        tags: ['a'],
        hits: 12345,
      };
      pairs[`entry:${n}`] = length ? 'x'.repeat(length) : value;
    }
    await cache.mSet(pairs);
  }
  return cache.length();
}

/** Reads every entry once. */
async function read({ Cache }, { namespace, entries }) {
  const cache = await Cache.getInstance({ namespace, timeout: 60_000, failsafe: 'reject' });
  let found = 0;
  for (let at = 0; at < entries; at += 1000) {
    const keys = Array.from({ length: 1000 }, (_, n) => `entry:${at + n}`);
    for (const value of Object.values(await cache.mGet(keys))) if (value.hits === 12345) found += 1;
  }
  return found;
}

async function shrink({ Cache }, { namespace, to }) {
  const cache = await Cache.getInstance({ namespace, timeout: 60_000, failsafe: 'reject' });
  if (to === 0) await cache.reset();
  else {
    await cache.max(to);
    await cache.max(0);
  }
  return cache.length();
}

/** What collects is asked to. */
async function settled({ require: load }) {
  for (let round = 0; round < 5; round += 1) {
    global.gc();
    await load('node:timers/promises').setTimeout(50);
  }
  return process.memoryUsage().heapUsed;
}

async function main() {
  const Cache = require('../..');
  const cache = new Cache({ namespace: 'million' });
  await cache.length();
  const start = () => startWorker({ execArgv: ['--expose-gc'] });
  const workers = await Promise.all([start(), start(), start()]);
  const open = ({ Cache: C }, namespace) => C.getInstance({ namespace }).then((c) => c.transport());
  for (const worker of workers) {
    assert.deepEqual(await worker.run(open, 'million'), { transport: 'shared-memory' });
    await worker.run(settled);
  }
  const figures = () =>
    workers.map(({ child: { pid } }) => ({
      pss: memoryOf(pid, 'Pss'),
      shared: memoryOf(pid, 'Pss_Shmem'),
    }));
  const before = figures();
  const began = performance.now();
  assert.equal(await workers[0].run(fill, { namespace: 'million', from: 0, to: ENTRIES }), ENTRIES);
  const filled = performance.now();
  for (const worker of workers) {
    assert.equal(await worker.run(read, { namespace: 'million', entries: ENTRIES }), ENTRIES);
    await worker.run(settled);
  }
  const segment = segmentsOf(process.pid)[0];
  const bytes = committed(segment);
  const seconds = ((filled - began) / 1000).toFixed(1);
  console.log(
    `${ENTRIES} entries in ${seconds} s: ${mib(bytes)}, ${(bytes / ENTRIES).toFixed(1)} bytes each`,
  );
  figures().forEach((now, at) => {
    const own = now.pss - now.shared - (before[at].pss - before[at].shared);
    console.log(
      `worker ${at}: ${mib(now.shared)} is its part of the segment, ${mib(own)} more of its own than before`,
    );
    // What V8 keeps of what it has collected is some of it.
    assert.ok(own < bytes / 2, 'a worker has a copy');
  });
  console.log(validate(segment));

  // The primary prunes a million entries of which none is over, and lists them: how long that takes.
  for (const call of ['prune', 'keys', 'values', 'dump']) {
    const since = performance.now();
    await cache[call]();
    console.log(`${call}(): ${Math.round(performance.now() - since)} ms`);
  }

  for (let round = 0; round < 5; round += 1) {
    await workers[round % 3].run(shrink, { namespace: 'million', to: round % 2 ? 0 : 1000 });
    const low = committed(segment);
    // Longer values each time, so that what is free does not fit by luck.
    const length = 100 * (round + 1);
    await workers[(round + 1) % 3].run(fill, {
      namespace: 'million',
      from: 0,
      to: 100_000,
      length,
    });
    console.log(
      `shrunk to ${mib(low)}, 100000 entries of ${length} bytes: ${mib(committed(segment))}`,
    );
  }
  await cache.reset();
  console.log(`empty: ${mib(committed(segment))}`);
  assert.ok(committed(segment) < MIB);
  console.log(validate(segment));
  await Promise.all(workers.map((worker) => worker.kill()));
}

main();
