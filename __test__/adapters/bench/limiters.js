'use strict';

// Limits of four workers: the limiter of this package beside `RateLimiterCluster` of rate-limiter-flexible, which asks the primary. Runs
// alternate; it writes the median of consumes a second, the microseconds of
// processor time that a consume takes of all processes, and how many passed
// over the limit, and were refused before it, in all runs.
//
//   node bench/limiters.js

const cluster = require('node:cluster');
const flexible = require('rate-limiter-flexible');

const WORKERS = 4;
const SECONDS = 3;
const RUNS = Number(process.env.RUNS ?? 5);
/** Consumes that a worker has under way at a time: as many requests. */
const AT_A_TIME = 32;
const KEYS = 16;
const POINTS = 5000;

/** The microseconds of processor time of this process since then. */
function micros(begun) {
  const { user, system } = process.cpuUsage(begun);
  return user + system;
}

const total = (numbers) => numbers.reduce((all, one) => all + one, 0);

if (cluster.isPrimary && process.argv[2] === undefined) {
  const { execFileSync } = require('node:child_process');
  const names = ['shared-memory', 'ipc', 'RateLimiterCluster'];
  const results = Object.fromEntries(names.map((name) => [name, []]));
  for (let run = 0; run < RUNS; run += 1) {
    for (const name of names) {
      results[name].push(JSON.parse(execFileSync(process.execPath, [__filename, name])));
    }
  }
  for (const [name, runs] of Object.entries(results)) {
    const rates = runs.map(({ rate }) => rate).sort((a, b) => a - b);
    const [over, short, errors] = ['over', 'short', 'errors'].map((what) =>
      total(runs.map((each) => each[what])),
    );
    const cpu = runs.map((each) => each.cpu).sort((a, b) => a - b)[RUNS >> 1];
    console.log(name, { consumesPerSecond: rates[RUNS >> 1], cpu, over, short, errors });
  }
} else if (cluster.isPrimary) {
  const name = process.argv[2];
  if (name === 'RateLimiterCluster') new flexible.RateLimiterClusterMaster();
  else require('lru-cache-for-clusters-as-promised').init({ shared: name === 'shared-memory' });
  cluster.setupPrimary({ args: [name] });
  const sum = { errors: 0, cpu: 0, consumed: Array(KEYS).fill(0), passed: Array(KEYS).fill(0) };
  let ready = 0;
  let done = 0;
  let begun;
  cluster.on('message', (worker, message) => {
    if (message.isReady && ++ready === WORKERS) {
      begun = process.cpuUsage();
      for (const each of Object.values(cluster.workers)) each.send({ begin: true });
    }
    if (message.consumed === undefined) return;
    sum.errors += message.errors;
    sum.cpu += message.cpu;
    for (let key = 0; key < KEYS; key += 1) {
      sum.consumed[key] += message.consumed[key];
      sum.passed[key] += message.passed[key];
    }
    if (++done < WORKERS) return;
    const differences = sum.passed.map(
      (passed, key) => passed - Math.min(POINTS, sum.consumed[key]),
    );
    const over = total(differences.map((difference) => Math.max(0, difference)));
    const short = total(differences.map((difference) => Math.max(0, -difference)));
    const all = total(sum.consumed);
    const rate = Math.round(all / SECONDS);
    const cpu = Math.round((10 * (sum.cpu + micros(begun))) / all) / 10;
    process.stdout.write(JSON.stringify({ rate, cpu, over, short, errors: sum.errors }));
    process.exit();
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  const options = { points: POINTS, duration: 600, keyPrefix: 'bench' };
  const limiter =
    process.argv[2] === 'RateLimiterCluster'
      ? new flexible.RateLimiterCluster({ ...options, timeoutMs: 60_000 })
      : new (require('lru-cache-for-clusters-as-promised/rate-limiter-flexible').RateLimiterLRUCache)(
          { ...options, cache: { timeout: 60_000 } },
        );
  const result = { errors: 0, consumed: Array(KEYS).fill(0), passed: Array(KEYS).fill(0) };
  let end;

  async function consume(key) {
    try {
      await limiter.consume(`client-${key}`);
      result.passed[key] += 1;
    } catch (error) {
      if (error instanceof Error) result.errors += 1;
    }
    result.consumed[key] += 1;
  }

  async function client(key) {
    while (performance.now() < end) {
      await consume(key);
      key = (key + 1) % KEYS;
      await new Promise(setImmediate);
    }
  }

  process.on('message', async ({ begin }) => {
    if (!begin) return;
    end = performance.now() + SECONDS * 1000;
    const begun = process.cpuUsage();
    await Promise.all(Array.from({ length: AT_A_TIME }, (_, n) => client(n % KEYS)));
    process.send({ ...result, cpu: micros(begun) });
  });
  limiter.get('nobody').then(() => process.send({ isReady: true }));
}
