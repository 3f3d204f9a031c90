'use strict';

/**
 * What two workers' calls take while the primary is blocked, or busy half of the time, and when both work on one
 * namespace; awaited one after another, in microseconds:
 *
 *   node __test__/stress/blocked.js [seconds]
 */

const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');
const { startWorker } = require('../helpers/agents');

const SECONDS = Number(process.argv[2] ?? 5);

/** Calls for some seconds: how many, and the percentiles of what each took. */
async function measure({ Cache, require: load }, { seconds, name, keys }) {
  const { performance } = load('node:perf_hooks');
  const { setImmediate: turn } = load('node:timers/promises');
  const cache = await Cache.getInstance({
    namespace: 'blocked',
    timeout: 10_000,
    failsafe: 'reject',
  });
  const valueOf = (at) => ({
    id: at,
    name: `Ada ${at}`,
    mail: `u${at}@example.com`,
    tags: ['a'],
    name2: name,
  });
  const took = { get: [], set: [] };
  for (let at = 0; at < keys; at += 1) await cache.set(`${name}:${at}`, valueOf(at));
  const end = performance.now() + seconds * 1000;
  for (let at = 0; performance.now() < end; at = (at + 1) % keys) {
    let start = performance.now();
    const got = await cache.get(`${name}:${at}`);
    took.get.push(performance.now() - start);
    if (got?.id !== at || got.name2 !== name) throw new Error(`wrong: ${JSON.stringify(got)}`);
    if (at % 4 === 0) {
      start = performance.now();
      await cache.set(`${name}:${at}`, got);
      took.set.push(performance.now() - start);
    }
    if (at % 100 === 0) await turn();
  }
  const figures = {};
  for (const [call, times] of Object.entries(took)) {
    const sorted = Float64Array.from(times).sort();
    const of = (part) => Number((1000 * sorted[Math.floor(part * (sorted.length - 1))]).toFixed(1));
    figures[call] = {
      perSecond: Math.round(times.length / seconds),
      p50: of(0.5),
      p99: of(0.99),
      'p99.9': of(0.999),
      max: of(1),
    };
  }
  return figures;
}

function busy(milliseconds) {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** Keeps this process busy for 20 of every 40 milliseconds until `promise` is settled. */
async function busyUntil(promise) {
  let over = false;
  promise.finally(() => (over = true)).catch(() => {});
  while (!over) {
    busy(20);
    await sleep(20);
  }
  return promise;
}

async function main() {
  const Cache = require('../..');
  await new Cache({ namespace: 'blocked' }).set('kept', { by: 'the primary' });
  const workers = await Promise.all([startWorker(), startWorker()]);
  const run = (who, seconds = SECONDS) =>
    Promise.all(who.map((at) => workers[at].run(measure, { seconds, name: `w${at}`, keys: 1000 })));
  const show = (title, figures) => {
    console.log(`${title} (load ${os.loadavg()[0].toFixed(1)} on ${os.cpus().length} processors)`);
    figures.forEach(({ get, set }) => console.table({ get, set }));
  };
  for (const worker of workers) {
    const transport = await worker.run(async ({ Cache: C }) => {
      const cache = await C.getInstance({ namespace: 'blocked' });
      return cache.transport();
    });
    if (transport.kind !== 'shared-memory') throw new Error(JSON.stringify(transport));
  }
  // Warm.
  await run([0, 1], 1);
  const alone = await run([0]);
  show('one worker alone', alone);
  const both = await run([0, 1]);
  show('two workers on one namespace', both);

  const blocked = run([0, 1], SECONDS - 0.5);
  await sleep(100);
  busy(SECONDS * 1000);
  show(`the primary blocked for ${SECONDS} s`, await blocked);
  show('the primary busy for 20 ms of every 40', await busyUntil(run([0, 1])));
  show('the primary busy for 20 ms of every 40, one worker', await busyUntil(run([0])));
  const share = both.map(({ get }) => (get.perSecond / alone[0].get.perSecond).toFixed(2));
  console.log(`each of two workers is as fast as one alone times ${share.join(' and ')}`);
  await Promise.all(workers.map((worker) => worker.kill()));
}

main();
