'use strict';

/**
 * A worker that is stopped (SIGSTOP) with the lock of a store in its hands:
 *
 *   node __test__/stress/stopped.js
 *
 * What the others do meanwhile: for how long their event loops stand still at a time, when their calls end, and
 * what is there once the worker is continued, or killed.
 */

const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { startWorker } = require('../helpers/agents');

const ENTRIES = 20_000;

/** Keeps a worker inside the lock for most of its time. */
async function occupy({ Cache, state }, namespace) {
  const cache = await Cache.getInstance({ namespace, timeout: 10_000 });
  state.over = false;
  const turn = () => {
    // It looks at every entry, and finds none that has expired.
    for (let at = 0; at < 20; at += 1) cache.prune();
    // The others have their time, too.
    if (!state.over) setTimeout(turn, 2);
  };
  turn();
  return cache.transport().kind;
}

/** One call, with little patience: whether the lock was taken. */
async function isTaken({ Cache }, namespace) {
  const cache = new Cache({ namespace, timeout: 60, failsafe: 'reject' });
  return cache.peek('probe').then(
    () => false,
    (error) => error.code === 'ETIMEDOUT',
  );
}

/** Stops `victim` at a moment at which it has the lock, as `prober` finds. */
async function stopInside(victim, prober, namespace) {
  for (let tries = 1; tries <= 500; tries += 1) {
    victim.child.kill('SIGSTOP');
    if (await prober.run(isTaken, namespace)) return tries;
    victim.child.kill('SIGCONT');
    await sleep(Math.random() * 5);
  }
  throw new Error('it never had the lock');
}

/**
 * Calls in one turn, then one every few milliseconds for a while. How each ended and after which time; and the
 * longest turns of the event loop, in milliseconds.
 */
async function call({ Cache, require: load }, { namespace, failsafe, timeout, calls, lasts }) {
  const { performance } = load('node:perf_hooks');
  const { setTimeout: wait } = load('node:timers/promises');
  const cache = new Cache({ namespace, timeout, failsafe });
  const ended = { fulfilled: 0, undefined: 0, ETIMEDOUT: 0, other: [] };
  let latest = 0;
  const make = (promise, since = performance.now()) =>
    promise
      .then(
        (value) => (ended[value === undefined ? 'undefined' : 'fulfilled'] += 1),
        (error) => (error.code in ended ? (ended[error.code] += 1) : ended.other.push(`${error}`)),
      )
      .then(() => (latest = Math.max(latest, performance.now() - since)));
  // How long a turn of the event loop took, without what the main thread waited for a processor meanwhile.
  const file = load('node:fs').openSync(`/proc/self/task/${process.pid}/schedstat`);
  const queued = () => {
    const text = Buffer.alloc(100);
    load('node:fs').readSync(file, text, 0, text.length, 0);
    return Number(String(text).split(' ')[1]) / 1e6;
  };
  const turns = [];
  let last;
  let before;
  let over = false;
  const begin = () => {
    before = queued();
    last = performance.now();
  };
  const turn = () => {
    turns.push(performance.now() - last - Math.max(0, queued() - before));
    begin();
    if (!over) setImmediate(turn);
  };
  await wait(20);
  begin();
  setImmediate(turn);
  const made = [];
  for (let at = 0; at < calls; at += 1) made.push(make(cache.incr('hits')));
  const firstTurn = performance.now() - last;
  for (const until = performance.now() + lasts; performance.now() < until;) {
    made.push(make(cache.get('probe')), make(cache.set('probe', 1)));
    await wait(3);
  }
  await Promise.all(made);
  over = true;
  turns.sort((a, b) => b - a);
  const blocked = turns.slice(0, 3).map((time) => Number(time.toFixed(2)));
  return { ended, latest: Math.round(latest), firstTurn: Number(firstTurn.toFixed(2)), blocked };
}

async function main() {
  const Cache = require('../..');
  const workers = [];
  const start = async (env) => {
    const worker = await startWorker({ env });
    workers.push(worker);
    return worker;
  };
  const [other, prober, messenger] = await Promise.all([
    start(),
    start(),
    start({ LRU_CACHE_SHARED: '0' }),
  ]);
  for (const [end, failsafe] of [
    ['SIGCONT', 'resolve'],
    ['SIGKILL', 'reject'],
  ]) {
    const namespace = `stopped-${end}`;
    const cache = new Cache({ namespace });
    for (let at = 0; at < ENTRIES; at += 1) cache.getCache().set(at, at, 1e9);
    await cache.set('order', 0);
    const victim = await start();
    for (const worker of [other, prober, messenger]) {
      await worker.run(
        async ({ Cache: C }, name) => void (await C.getInstance({ namespace: name })),
        namespace,
      );
    }
    // What it takes where nobody is stopped: the machine has other work.
    const given = { namespace, failsafe, timeout: 100, calls: 1000, lasts: 400 };
    const before = await other.run(call, given);
    await victim.run(occupy, namespace);
    const tries = await stopInside(victim, prober, namespace);
    console.log(`stopped inside the lock after ${tries} tries, failsafe ${failsafe}`);
    const [direct, messages, primary] = await Promise.all([
      other.run(call, given),
      messenger.run(call, given),
      call({ Cache, require }, given),
    ]);
    console.log({ before, direct, messages, primary });
    // One that waits long enough: nothing of it may be lost or change its place.
    const ordered = other.run(async ({ Cache: C }, name) => {
      const patient = new C({ namespace: name, timeout: 60_000, failsafe: 'reject' });
      const calls = [];
      for (let at = 1; at <= 300; at += 1) {
        calls.push(patient.incr('order'), patient.set('last', at), patient.get('last'));
      }
      return (await Promise.all(calls)).filter((_, at) => at % 3 !== 1);
    }, namespace);
    await sleep(300);
    victim.child.kill(end);
    const since = performance.now();
    const results = await ordered;
    console.log(`${end}: the others go on after ${Math.round(performance.now() - since)} ms`);
    const expected = Array.from({ length: 600 }, (_, at) => Math.floor(at / 2) + 1);
    assert.deepEqual(results, expected);
    if (end === 'SIGCONT') await victim.run(({ state }) => void (state.over = true));
    // Only calls that nobody waited for any more were left out: the counter is what was acknowledged.
    assert.equal(await cache.get('order'), 300);
    for (const { ended, latest } of [direct, messages, primary]) {
      assert.deepEqual(ended.other, []);
      assert.equal(ended.fulfilled, 0);
      assert.ok(latest < 2000, `a call took ${latest} ms`);
    }
    const after = await other.run(call, given);
    assert.deepEqual([after.ended.ETIMEDOUT, after.ended.undefined], [0, 0]);
  }
  await Promise.all(workers.map((worker) => worker.kill()));
}

main();
