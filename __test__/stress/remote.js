'use strict';

/**
 * Load on the remote tier: two machines, each a primary with workers, and a server. It checks that
 *
 * - no process reads an older value after a newer one,
 * - after a write has resolved, or a read was given, no process of that machine reads anything older,
 * - counters are exact, where the server loses nothing,
 * - no call takes much longer than its `timeout`,
 * - after the load no process reads anything but what the server has.
 *
 *     node __test__/stress/remote.js --ops 200000 --server valkey-server --faults kill,stop,flush,client,holder,pause --rounds 20 --delay 2
 *
 * It prints what it has found, and ends with 1 where a check failed.
 */

const { fork } = require('node:child_process');
const cluster = require('node:cluster');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');

const { values: given } = parseArgs({
  options: {
    ops: { type: 'string', default: '100000' },
    server: { type: 'string', default: 'valkey-server' },
    faults: { type: 'string', default: '' },
    rounds: { type: 'string', default: '10' },
    delay: { type: 'string', default: '0' },
    workers: { type: 'string', default: '3' },
    timeout: { type: 'string', default: '1000' },
    verbose: { type: 'boolean', default: false },
    role: { type: 'string', default: 'main' },
    url: { type: 'string', default: '' },
    machine: { type: 'string', default: '' },
    transport: { type: 'string', default: 'shared-memory' },
  },
});
const OPS = Number(given.ops);
const WORKERS = Number(given.workers);
const KEYS = 20;
const LOOPS = 16;
const TIMEOUT = Number(given.timeout);
const isLossy = given.faults.includes('kill') || given.faults.includes('flush');

const role = cluster.isWorker ? 'worker' : given.role;
if (role === 'main') main();
else if (role === 'primary') primary();
else worker();

async function main() {
  const { startServer, Proxy } = require('../remote/servers');
  const server = await startServer(given.server);
  const proxy = await new Proxy(server.port).start();
  proxy.delay = Number(given.delay);
  const machines = ['a', 'b'].map((machine) => {
    const args = process.argv.slice(2);
    const env = { ...process.env, LRU_CACHE_SHARED: given.transport === 'ipc' ? '0' : '1' };
    return fork(
      __filename,
      [...args, '--role', 'primary', '--machine', machine, '--url', proxy.url],
      { env },
    );
  });
  const reports = [];
  let loaded = 0;
  const done = Promise.all(
    machines.map(
      (child) =>
        new Promise((resolve, reject) => {
          child.on('message', (message) => {
            if (message.report) reports.push(message.report);
            if (message.ended) resolve(undefined);
            if (message.loaded) {
              // The check begins when no process of any machine is at work any more.
              loaded += 1;
              if (loaded === machines.length) for (const one of machines) one.send({ check: true });
            }
          });
          child.on('exit', (code) => reject(new Error(`a machine ended with ${code}`)));
        }),
    ),
  );
  done.catch(() => {});
  const begun = performance.now();
  let isOver = false;
  const finished = done.finally(() => (isOver = true));
  const faults = await fault({ server, machines, isOver: () => isOver });
  for (const child of machines) child.send({ finish: true });
  await finished;
  const seconds = (performance.now() - begun) / 1000;
  const sum = (name) => reports.reduce((total, report) => total + report[name], 0);
  const delays = reports.flatMap((report) => report.delays).sort((a, b) => a - b);
  const at = (part) => delays[Math.floor(delays.length * part)]?.toFixed(2);
  const result = {
    server: given.server,
    transport: given.transport,
    seconds: Number(seconds.toFixed(1)),
    ops: sum('ops'),
    failed: sum('failed'),
    errors: Object.assign({}, ...reports.map((report) => report.errors)),
    faults,
    bad: reports.flatMap((report) => report.bad.slice(0, 5)),
    bads: reports.reduce((total, report) => total + report.bad.length, 0),
    longest: Math.max(...reports.map((report) => report.longest)).toFixed(0),
    late: sum('late'),
    twice: isLossy ? [] : twice(reports.flatMap(({ sums }) => sums)).slice(0, 5),
    counted: { acknowledged: sum('counted'), unknown: sum('unknown'), total: reports[0].total },
    delay: { median: at(0.5), p99: at(0.99), samples: delays.length },
    remote: {
      hits: reports.reduce((total, { remote }) => total + remote.hits, 0),
      pushes: Math.max(...reports.map(({ remote }) => remote.pushes)),
    },
  };
  console.log(JSON.stringify(result, undefined, 1));
  for (const child of machines) child.kill();
  await proxy.remove();
  await server.remove();
  const { acknowledged, unknown, total } = result.counted;
  // A worker that was killed has not said what it has counted.
  const isBounded = given.faults.includes('holder') || total <= acknowledged + unknown;
  const isExact = isLossy || (total >= acknowledged && isBounded);
  process.exit(result.bad.length + result.twice.length + result.late === 0 && isExact ? 0 : 1);
}

/** What is in a list more than once. */
function twice(list) {
  const sorted = list.sort((a, b) => a - b);
  return sorted.filter((one, at) => one === sorted[at - 1]);
}

/** Does what may go wrong. */
async function fault({ server, machines, isOver }) {
  const kinds = given.faults.split(',').filter(Boolean);
  const counts = {};
  if (kinds.length === 0) return counts;
  const ask = async (args) => {
    const { CLIENTS } = require('../remote/servers');
    const client = CLIENTS['redis 6'](server.url);
    client.on('error', () => {});
    await client.connect();
    try {
      return String(await client.sendCommand(args));
    } finally {
      client.destroy();
    }
  };
  await sleep(1500);
  for (let round = 0; round < Number(given.rounds) && !isOver(); round += 1) {
    const kind = kinds[round % kinds.length];
    counts[kind] = (counts[kind] ?? 0) + 1;
    if (given.verbose) console.error(`${Math.round(performance.now())} ms: ${kind}`);
    if (kind === 'kill') {
      await server.kill();
      await sleep(Math.random() * 300);
      await server.restart();
    } else if (kind === 'stop') {
      server.stop();
      await sleep(round % 3 === 0 ? 2500 : Math.random() * 800);
      server.go();
    } else if (kind === 'flush') {
      await ask(['FLUSHALL']);
    } else if (kind === 'client') {
      const list = await ask(['CLIENT', 'LIST']);
      for (const line of list.split('\n').filter((one) => / flags=\S*[tB]/.test(one))) {
        await ask(['CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)[1]]);
      }
    } else {
      machines[round % 2].send({ [kind]: true });
    }
    await sleep(300 + Math.random() * 1200);
  }
  return counts;
}

function primary() {
  const Cache = require('../..');
  Cache.init({ remote: { client: given.url, onError: 'reject' } });
  let isFinishing = false;
  const workers = new Map();
  const start = (index) => {
    const one = cluster.fork({ INDEX: index });
    workers.set(index, one);
    one.isHolder = false;
    one.on('message', (message) => {
      if (message.holder !== undefined) one.isHolder = message.holder;
      if (message.loaded) {
        one.isLoaded = true;
        if ([...workers.values()].every(({ isLoaded }) => isLoaded)) process.send(message);
      }
      if (!message.report) return;
      process.send(message);
      one.isReported = true;
      if ([...workers.values()].every(({ isReported }) => isReported))
        process.send({ ended: true });
    });
    one.on('exit', () => {
      if (!one.isReported) start(index);
    });
    if (isFinishing) one.once('online', () => one.send({ finish: true }));
  };
  for (let index = 0; index < WORKERS; index += 1) start(index);
  const holder = () => [...workers.values()].find((one) => one.isHolder);
  process.on('message', (message) => {
    if (message.finish || message.check) {
      isFinishing = true;
      for (const one of workers.values()) one.send(message);
    } else if (message.holder) {
      holder()?.process.kill('SIGKILL');
    } else if (message.pause) {
      const one = holder();
      one?.process.kill('SIGSTOP');
      setTimeout(() => one?.process.kill('SIGCONT'), 3500);
    }
  });
  process.on('disconnect', () => process.exit());
}

async function worker() {
  const Cache = require('../..');
  const { now } = require('../../lib/remote/clock');
  const index = Number(process.env.INDEX);
  const me = `${given.machine}${index}`;
  const remote = { client: given.url, onError: 'reject' };
  const options = { namespace: 'load', timeout: TIMEOUT, failsafe: 'reject', remote };
  const cache = await Cache.getInstance(options);
  // What the machine has seen: without a remote tier.
  const seen = new Cache({ namespace: 'seen', timeout: 60_000, failsafe: 'reject', remote: false });
  const bad = [];
  const delays = [];
  const sums = [];
  const errors = {};
  let [ops, failed, counted, unknown, longest, late] = [0, 0, 0, 0, 0, 0];
  let isFinishing = given.faults === '';
  let check;
  const mayCheck = new Promise((resolve) => (check = resolve));
  let lastLag = now();
  let lag = 0;
  setInterval(() => {
    lag = now() - lastLag - 20;
    lastLag = now();
  }, 20).unref();
  setInterval(async () => {
    // A process that is stopped may have the lock.
    const stats = await cache.stats().catch(() => undefined);
    if (stats && process.connected) process.send({ holder: stats.remote.isHolder });
  }, 100).unref();
  process.on('message', (message) => {
    if (message.finish) isFinishing = true;
    if (message.check) check();
  });
  process.on('disconnect', () => process.exit());
  const names = ['a', 'b'].flatMap((machine) =>
    Array.from({ length: WORKERS }, (_, at) => `${machine}${at}`),
  );
  const keys = names.flatMap((name) => Array.from({ length: KEYS }, (_, at) => `${name}:${at}`));
  const floors = new Map();
  const floorsOf = (key) => [
    `w ${key}`,
    ...Array.from({ length: WORKERS }, (_, at) => `${at} ${key}`),
  ];
  const pending = new Map();
  setInterval(() => {
    for (const [call, begun] of pending) {
      const since = performance.now() - begun;
      if (since < 10_000) continue;
      pending.delete(call);
      bad.push(`${me}: a call has not ended after ${since} ms: ${call}`);
      console.error(bad.at(-1));
    }
  }, 1000).unref();
  // For whoever wonders what a process does.
  process.on('SIGUSR2', () => {
    const now = {
      me,
      ops,
      share: OPS / (2 * WORKERS),
      isFinishing,
      failed,
      bad: bad.slice(0, 3),
      errors,
    };
    console.error(JSON.stringify({ ...now, pending: [...pending.keys()].map(String) }));
    cache.stats().then(
      ({ remote: stats }) => console.error(me, JSON.stringify(stats)),
      (error) => console.error(me, error.message),
    );
  });
  const timed = async (call) => {
    const begun = performance.now();
    pending.set(call, begun);
    const result = await call().finally(() => pending.delete(call));
    const took = performance.now() - begun;
    // Where this process was stopped, its own time stood still, too.
    if (now() - lastLag > 300 || lag > 300) return result;
    longest = Math.max(longest, took);
    if (took > 2 * TIMEOUT + 300) late += 1;
    return result;
  };
  const read = async (key) => {
    const machine = await seen.getMany(floorsOf(key));
    const floor = Math.max(floors.get(key) ?? 0, ...machine.map((value) => value ?? 0));
    const value = await timed(() => cache.get(key));
    if (value === undefined) {
      if (!isLossy && floor > 0 && !key.startsWith('delay'))
        bad.push(`${me} ${key}: nothing after ${floor}`);
      return undefined;
    }
    if (value < floor) bad.push(`${me} ${key}: ${value} after ${floor}`);
    floors.set(key, Math.max(floors.get(key) ?? 0, value));
    const own = `${index} ${key}`;
    // Loops of this process may have seen newer.
    await seen.set(own, floors.get(key));
    return value;
  };
  const busy = new Set();
  const writeOwn = async () => {
    const key = `${me}:${Math.floor(Math.random() * KEYS)}`;
    // One write of a key at a time: their order is known.
    if (busy.has(key)) return;
    busy.add(key);
    const value = Math.floor(now() * 1000);
    try {
      await timed(() => cache.set(key, value));
      floors.set(key, Math.max(floors.get(key) ?? 0, value));
      await seen.set(`w ${key}`, value);
    } finally {
      setTimeout(() => busy.delete(key), 2);
    }
  };
  const count = async () => {
    const floor = isLossy ? 0 : (floors.get('n') ?? 0);
    let sum;
    try {
      sum = await timed(() => cache.incr('n'));
    } catch (error) {
      unknown += 1;
      throw error;
    }
    counted += 1;
    sums.push(sum);
    if (sum <= floor) bad.push(`${me} n: ${sum} after ${floor}`);
    if (!isLossy) floors.set('n', Math.max(floors.get('n') ?? 0, sum));
  };
  const measure = async () => {
    // Machine a writes when it did; machine b looks until it sees it.
    let last = 0;
    while (!isOver()) {
      if (given.machine === 'a') {
        await cache.set('delay', now()).catch(() => {});
        await sleep(20);
      } else {
        const value = await cache.get('delay').catch(() => undefined);
        if (value > last) {
          if (last > 0) delays.push(now() - value);
          last = value;
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  };
  const share = OPS / (2 * WORKERS);
  const isOver = () => isFinishing && ops >= share;
  const loop = async () => {
    while (!isOver()) {
      ops += 1;
      const dice = Math.random();
      try {
        if (dice < 0.05) await writeOwn();
        else if (dice < 0.06) await count();
        else await read(keys[Math.floor(Math.random() ** 2 * keys.length)]);
      } catch (error) {
        failed += 1;
        errors[error.message] = (errors[error.message] ?? 0) + 1;
        if (!['ERR_REMOTE', 'ETIMEDOUT'].includes(error.code)) bad.push(String(error.stack));
      }
      if (ops % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const extra = index === 0 ? [measure()] : [];
  await Promise.all([...Array.from({ length: LOOPS }, loop), ...extra]);
  // All machines agree with the server in the end.
  process.send({ loaded: true });
  await mayCheck;
  await sleep(3000);
  let total;
  for (let attempt = 0; ; attempt += 1) {
    try {
      for (const key of keys) {
        const value = await cache.get(key);
        const there = (await cache.getEntry(key))?.value;
        if (value !== undefined && value !== there && !busy.has(key)) {
          bad.push(`${me} ${key}: ${value} at the end, the server has ${there}`);
        }
      }
      total = (await cache.getEntry('n'))?.value ?? 0;
      break;
    } catch (error) {
      if (attempt === 20) bad.push(`not well at the end: ${error}`);
      if (attempt === 20) break;
      await sleep(500);
    }
  }
  const { remote: stats } = await cache.stats();
  const report = {
    ops,
    failed,
    bad,
    delays,
    counted,
    unknown,
    longest,
    late,
    total,
    sums,
    errors,
    remote: stats,
  };
  process.send({ report });
}
