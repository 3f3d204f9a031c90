'use strict';

/**
 * What runs in the processes under test: `node subject.js '{"kind","path","options","workers","transport"}'`. With
 * `workers` the process is a primary that forks as many with this same file. Each runs the commands
 * that `host.js` sends, one at a time; those for workers pass through the primary. `transport` is the one that this
 * package must use.
 */

const cluster = require('node:cluster');
const fs = require('node:fs');
const { performance } = require('node:perf_hooks');
const { setTimeout: sleep } = require('node:timers/promises');
const {
  cases,
  nearCases,
  manyCases,
  check,
  deepCheck,
  fill,
  keysOf,
  smallValue,
} = require('./cases');

const spec = JSON.parse(process.argv[2]);

/** Opens the cache; `own`: options of this instance. */
async function openCache(own) {
  if (spec.kind === 'lru-cache')
    return inProcess(
      (value) => value,
      (value) => value,
    );
  if (spec.kind === 'lru-json') return inProcess(JSON.stringify, JSON.parse);
  const LRUCache = require(spec.path);
  // 1.5.24 has no getInstance; its messages are answered in order, so nothing can overtake the creation.
  if (!LRUCache.getInstance) return new LRUCache(spec.options);
  const opened = await LRUCache.getInstance({ ...spec.options, ...own });
  const { kind, reason } = opened.transport?.() ?? {};
  if (kind && spec.transport && kind !== spec.transport) throw new Error(`uses ${kind}: ${reason}`);
  return opened;
}

/**
 * `lru-cache` 11 with the calls of the cases, each awaited as a Promise; it shares with nobody. `encode` and `decode` make
 * of a value what it holds, and back: the value itself, or its JSON.
 */
function inProcess(encode, decode) {
  const { LRUCache } = require(spec.path);
  const fetchMethod = async (key, stale, { context: load }) => encode(await load(key));
  const store = new LRUCache({ max: spec.options.max, fetchMethod });
  const read = (key) => {
    const held = store.get(key);
    return held === undefined ? undefined : decode(held);
  };
  return {
    get: (key) => Promise.resolve(read(key)),
    has: (key) => Promise.resolve(store.has(key)),
    fetch: (key, load) => store.fetch(key, { context: load }).then(decode),
    del: (key) => Promise.resolve(void store.delete(key)),
    set: (key, value, maxAge) => {
      store.set(key, encode(value), maxAge ? { ttl: maxAge } : undefined);
      return Promise.resolve(true);
    },
    incr: (key) => {
      const count = (store.get(key) || 0) + 1;
      store.set(key, count);
      return Promise.resolve(count);
    },
    mSet: (pairs) => {
      for (const key of Object.keys(pairs)) store.set(key, encode(pairs[key]));
      return Promise.resolve(true);
    },
    length: () => Promise.resolve(store.size),
    mGet: (keys) => {
      const found = {};
      for (const key of keys) found[key] = read(key);
      return Promise.resolve(found);
    },
  };
}

let cache;
/** Instances with options of their own, by the JSON of these. */
const instances = new Map();
const started = new Map();

/** The instance with these options: `cache` without any. */
async function instanceOf(own) {
  if (own === undefined) return cache;
  const name = JSON.stringify(own);
  if (!instances.has(name)) instances.set(name, await openCache(own));
  return instances.get(name);
}

async function runFor(test, ms) {
  let calls = 0;
  let elapsed;
  const start = performance.now();
  do {
    calls += await test.batch();
    elapsed = performance.now() - start;
  } while (elapsed < ms);
  return (elapsed * 1000) / calls;
}

/** Resident bytes of this process, but for the stores in shared memory. */
function privateBytes() {
  try {
    let own = 0;
    let counts = true;
    for (const line of fs.readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
      // The head of a mapping, or its resident size.
      if (/^[0-9a-f]+-/.test(line)) counts = !line.includes('/memfd:lru-cache-for-clusters');
      else if (counts && line.startsWith('Rss:')) own += Number(/\d+/.exec(line)[0]) * 1024;
    }
    return own;
  } catch {
    return process.memoryUsage().rss;
  }
}

/** Bytes of the stores in shared memory that this process has attached, by the kernel's count. */
function sharedBytes() {
  const stores = new Map();
  try {
    for (const fd of fs.readdirSync('/proc/self/fd')) {
      const file = `/proc/self/fd/${fd}`;
      try {
        if (!fs.readlinkSync(file).startsWith('/memfd:lru-cache-for-clusters')) continue;
        const { ino, blocks } = fs.statSync(file);
        stores.set(ino, blocks * 512);
      } catch {
        // Closed meanwhile.
      }
    }
  } catch {
    // No such folder, no such memory.
  }
  return [...stores.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function percentiles(figures) {
  const sorted = Float64Array.from(figures).sort();
  const percentile = (p) => sorted[Math.floor(p * (sorted.length - 1))];
  return { p50: percentile(0.5), p99: percentile(0.99) };
}

/** Keeps this process from doing anything else for `ms` milliseconds. */
function compute(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

let busyTimer;

const commands = {
  /** Runs a case for `ms` milliseconds; microseconds per call. The first time it sets up and warms up. */
  async sample({ name, ms }) {
    let test = started.get(name);
    if (!test) {
      // Each worker has keys of its own: what one sets, another does not expect.
      const { start, options } = { ...cases, ...nearCases, ...manyCases }[name];
      test = start(await instanceOf(options), `${name}${cluster.worker?.id ?? ''}`);
      started.set(name, test);
      await test.setup();
      await runFor(test, ms);
    }
    global.gc();
    const microseconds = await runFor(test, ms);
    await test.verify();
    return microseconds;
  },

  /** Sets the entries 0 to `entries`, in batches of 1000. */
  async fillEntries({ entries }) {
    for (let from = 0; from < entries; from += 1000) {
      const pairs = {};
      for (let i = from; i < Math.min(from + 1000, entries); i++)
        pairs[`entry:${i}`] = smallValue(i);
      await cache.mSet(pairs);
    }
    const length = await cache.length();
    if (length !== entries) throw new Error(`expected ${entries} entries, found ${length}`);
  },

  /** Reads 1000 of the entries, spread over all. */
  async checkEntries({ entries }) {
    const indexes = Array.from({ length: 1000 }, (_, n) => Math.floor((n * entries) / 1000));
    await deepCheck(
      cache,
      indexes.map((i) => `entry:${i}`),
      indexes.map((i) => smallValue(i)),
    );
  },

  /** Bytes in use once what the transport left behind is collected and given back. */
  async memory() {
    for (let n = 0; n < 10; n++) {
      global.gc();
      await sleep(100);
    }
    return { heap: process.memoryUsage().heapUsed, own: privateBytes(), shared: sharedBytes() };
  },

  /** Gets one after another for `ms` milliseconds: the median and the 99th percentile in microseconds. */
  async oneAfterAnother({ ms, options }) {
    const reader = await instanceOf(options);
    const keys = keysOf('blocked');
    const values = keys.map((_, i) => smallValue(i));
    await fill(reader, keys, values);
    process.send({ bench: 'note', note: 'filled' });
    const microseconds = [];
    const end = performance.now() + ms;
    for (let i = 0; performance.now() < end; i = (i + 1) % keys.length) {
      const start = performance.now();
      const got = await reader.get(keys[i]);
      microseconds.push((performance.now() - start) * 1000);
      check(got, values[i]);
      // Others have their turn, as in a server.
      if (i % 100 === 0) await new Promise(setImmediate);
    }
    return { ...percentiles(microseconds), calls: microseconds.length };
  },

  /** Sets the entries that `oneAfterAnother` reads, `perSecond` a second, evenly, for `ms` milliseconds. Gives the number. */
  async setSteadily({ ms, perSecond }) {
    const keys = keysOf('blocked');
    const begun = performance.now();
    let calls = 0;
    for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - begun) {
      for (const due = (elapsed * perSecond) / 1000; calls < due; calls++) {
        const i = calls % keys.length;
        await cache.set(keys[i], smallValue(i));
      }
      await sleep(1);
    }
    return calls;
  },

  /** From now on this process computes for `busy` of every `period` milliseconds; `busy: 0` ends it. */
  async busy({ busy, period }) {
    clearTimeout(busyTimer);
    if (busy === 0) return;
    let next = performance.now();
    (function work() {
      compute(busy);
      next = Math.max(next + period, performance.now());
      busyTimer = setTimeout(work, next - performance.now());
    })();
  },

  /**
   * Gets started at random moments 1–3 ms apart for `ms` milliseconds, whether the one before was
   * answered or not, as requests of users are: waiting for the answer first would leave out most of
   * those that meet a busy primary. Gives the median and the 99th percentile in microseconds.
   */
  async latencies({ ms }) {
    const keys = keysOf('busy');
    const values = keys.map((_, i) => smallValue(i));
    await fill(cache, keys, values);
    const microseconds = [];
    const timed = async (i) => {
      const start = performance.now();
      const got = await cache.get(keys[i]);
      microseconds.push((performance.now() - start) * 1000);
      check(got, values[i]);
    };
    const run = async (duration) => {
      const calls = [];
      const end = performance.now() + duration;
      for (let n = 0; performance.now() < end; n++) {
        calls.push(timed(n % keys.length));
        await sleep(1 + 2 * Math.random());
      }
      await Promise.all(calls);
    };
    await run(ms / 4); // warm-up
    microseconds.length = 0;
    await run(ms);
    return percentiles(microseconds);
  },
};

async function answer(message) {
  try {
    process.send({ bench: 'done', result: await commands[message.command](message) });
  } catch (error) {
    process.send({ bench: 'failed', error: String((error && error.message) || error) });
  }
}

/** Forks the workers: what each sends to the bench is an answer of all, once all have answered. */
function forkWorkers() {
  const workers = Array.from({ length: spec.workers }, () => cluster.fork());
  let waitFor = workers.length;
  let results = new Map();
  for (const [index, worker] of workers.entries()) {
    worker.on('message', (message) => {
      if (!message?.bench) return;
      if (message.bench !== 'done') return process.send(message);
      results.set(index, message.result);
      if (results.size < waitFor) return;
      const all = Array.from({ length: waitFor }, (_, at) => results.get(at));
      results = new Map();
      process.send({ bench: 'done', result: waitFor === 1 ? all[0] : all });
    });
    worker.on('exit', (code, signal) => {
      process.send({ bench: 'failed', error: `a worker ended (${signal || code})` });
    });
  }
  /** Passes a command to the first worker; or, given `each`, one to each of the first workers. */
  return (message) => {
    const each = message.each ?? [message];
    waitFor = each.length;
    global.gc();
    each.forEach((one, index) => workers[index].send({ ...message, ...one }));
  };
}

async function main() {
  let pass;
  process.on('message', (message) => {
    if (message?.bench === 'block') compute(message.ms);
    if (!message || message.bench !== 'run') return; // a message of the cache under test
    if (!message.to.startsWith('worker') || cluster.isWorker) return answer(message);
    pass(message);
  });
  // Nobody is left behind when the bench is stopped.
  process.on('disconnect', () => process.exit());
  if (spec.workers && cluster.isPrimary) {
    require(spec.path); // the original must be loaded before the fork
    pass = forkWorkers();
  } else {
    cache = await openCache();
    process.send({ bench: 'done' });
  }
}

main().catch((error) => {
  process.send({ bench: 'failed', error: error.message }, () => process.exit(1));
});
