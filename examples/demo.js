'use strict';

/**
 * The demo: `npm run demo`. It starts the clustered server of server.js, drives it with the load
 * generator of demo/load.js for some seconds and shows what the shared cache is worth. It uses the
 * loopback interface alone, on a free port, and ends by itself: with 0, or with 1 and a message
 * when a worker dies, the port cannot be had, or a request fails.
 */

const { fork } = require('node:child_process');
const cluster = require('node:cluster');
const path = require('node:path');
const { setTimeout: wait } = require('node:timers/promises');
const { name } = require('../package.json');

const SECONDS = 12;
const WORKERS = 4;
const CACHE_MAX = 2000;
/** The longest the demo may take before it gives up, in seconds. */
const GIVE_UP = 60;

// What server.js reads, in this process and in the workers it forks.
process.env.PORT ??= '0';
process.env.WORKERS = String(WORKERS);
process.env.CACHE_MAX = String(CACHE_MAX);

let load; // the load generator's process
let loaded; // its latest report: see demo/load.js

if (cluster.isWorker) {
  // A fork of this very file: the server as it is, and the counting beside it.
  require('./demo/stats');
  require('./server');
} else {
  process.on('SIGINT', () => stop(130));
  process.on('SIGTERM', () => stop(143));
  process.on('SIGHUP', () => stop(129));
  process.on('uncaughtException', fail);
  main().catch(fail);
}

async function main() {
  const { Screen } = require('./demo/screen');
  const { PRODUCTS, MIN_MS, MAX_MS } = require('./source');

  cluster.on('exit', (worker, code, signal) => {
    if (signal === 'SIGINT') stop(130); // Ctrl-C reaches the workers as well
    fail(`worker ${worker.id} died: ${signal ?? `exit code ${code}`}`);
  });
  setTimeout(() => fail(`not done within ${GIVE_UP} s`), GIVE_UP * 1000);

  console.log(
    `${WORKERS} workers, one cache of ${CACHE_MAX} entries, ${PRODUCTS} products, ` +
      `a source that takes ${MIN_MS} to ${MAX_MS} ms.`,
  );
  const listening = allListening();
  require('./server'); // forks the workers
  startLoad(await listening);
  if ((await measure()).transport === 'shared-memory') {
    console.log('Watch it from a second terminal, in this directory:');
    console.log(`  npx ${name} stats --watch`);
  }

  const screen = new Screen(process.stdout);
  while (!loaded?.done) {
    await wait(screen.interval);
    if (loaded && !loaded.done) screen.show(await measure());
  }
  // The generator drops its last requests when its time is up; the server still works on them.
  let state = await measure();
  while (state.pending > 0) {
    await wait(20);
    state = await measure();
  }
  process.stdout.write(screen.end({ ...state, herd: await herd() }), () => stop(0));
}

/** How often the source is asked when a popular entry runs out: by `get` and `set`, and by `fetch`. */
async function herd() {
  const { CALLERS } = require('./demo/herd');
  const LRUCache = require('..');
  const cache = new LRUCache({ namespace: 'herd' });
  const id = 1;
  const calls = async (by) => {
    await cache.del(id);
    const all = Object.values(cluster.workers).map((worker) => ask(worker, 'herd', { id, by }));
    return (await Promise.all(all)).reduce((sum, report) => sum + report.calls, 0);
  };
  return { callers: CALLERS * WORKERS, get: await calls('get'), fetch: await calls('fetch') };
}

/** Resolves to the port once every worker serves it. */
function allListening() {
  return new Promise((resolve) => {
    let listening = 0;
    cluster.on('listening', (worker, { port }) => {
      listening += 1;
      if (listening === WORKERS) resolve(port);
    });
  });
}

/** Starts the load generator, whose reports are kept in `loaded`. */
function startLoad(port) {
  load = fork(path.join(__dirname, 'demo', 'load.js'), [port, SECONDS]);
  load.on('message', (report) => {
    loaded = report;
    if (report.failed > 0) fail(`${report.failed} requests failed`);
  });
  load.on('error', fail);
  load.on('exit', (code, signal) => {
    if (!loaded?.done) fail(`the load generator died: ${signal ?? `exit code ${code}`}`);
  });
}

/** What the workers, the load generator and the cache have to say now, as screen.js shows it. */
async function measure() {
  const LRUCache = require('..');
  // In the primary a call is on the store itself.
  const cache = new LRUCache({ namespace: 'products' });
  const [reports, bodies, stats] = await Promise.all([
    Promise.all(Object.values(cluster.workers).map((worker) => ask(worker, 'report'))),
    cache.values(),
    cache.stats(),
  ]);
  const sum = (of) => reports.reduce((total, report) => total + of(report), 0);
  const bytes = bodies.reduce((total, body) => total + Buffer.byteLength(body), 0);
  const perWorker = (name) => ({
    misses: sum((report) => report[name].misses),
    entries: sum((report) => report[name].entries),
  });
  return {
    duration: SECONDS,
    workers: WORKERS,
    cacheMax: CACHE_MAX,
    requests: sum((report) => report.requests),
    pending: sum((report) => report.pending),
    shared: { misses: sum((report) => report.calls), entries: bodies.length },
    share: perWorker('share'),
    copy: perWorker('copy'),
    stats: { ...stats, nearHits: sum((report) => report.nearHits) },
    transport: reports[0].transport,
    entryBytes: bodies.length > 0 ? bytes / bodies.length : 0,
    primaryRss: process.memoryUsage.rss(),
    workerRss: sum((report) => report.rss),
    seconds: loaded?.seconds,
    answered: loaded?.latencies.all.count,
    latencies: loaded?.latencies,
  };
}

/** What a worker answers: see demo/stats.js. */
function ask(worker, what, more) {
  return new Promise((resolve) => {
    const onMessage = (message) => {
      if (message?.demo !== what) return;
      worker.off('message', onMessage);
      resolve(message);
    };
    worker.on('message', onMessage);
    worker.send({ demo: `${what}?`, ...more });
  });
}

function fail(reason) {
  console.error(`\nThe demo failed: ${reason instanceof Error ? reason.message : reason}.`);
  stop(1);
}

/** Ends every process of the demo: there is nothing in them to save. */
function stop(code) {
  load?.kill('SIGKILL');
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
  process.exit(code);
}
