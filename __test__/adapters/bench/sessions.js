'use strict';

// Requests a second of an application with sessions, by the store of its sessions: `node __test__/adapters/bench/sessions.js [REQUESTS]`, after
// `npm run test:adapters -- install`. Four workers; each of 40 connections has a session, and keeps to one worker, as `MemoryStore` needs it.
// The stores take turns in each of three rounds; a figure is the median of its rounds.

const assert = require('node:assert/strict');
const cluster = require('node:cluster');
const os = require('node:os');
const autocannon = require('autocannon');

const WORKERS = 4;
const CONNECTIONS = 40;
const ROUNDS = 3;

const STORES = {
  'no sessions': {},
  'this package': { STORE: 'lru' },
  'this package, by IPC': { STORE: 'lru', LRU_CACHE_SHARED: '0' },
  'MemoryStore, not shared': { STORE: 'memory' },
  'session-file-store': { STORE: 'file' },
};

if (cluster.isPrimary) main();
else work();

function storeOf(session) {
  const { STORE, SESSIONS } = process.env;
  if (STORE === 'memory') return new session.MemoryStore();
  if (STORE === 'file') {
    const FileStore = require('session-file-store')(session);
    return new FileStore({ path: SESSIONS, logFn: () => {} });
  }
  const { LRUCacheStore } = require('lru-cache-for-clusters-as-promised/express-session');
  return new LRUCacheStore({ max: 100_000, timeout: 60_000 });
}

function cpuTime() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function work() {
  const express = require('express');
  const app = express();
  if (process.env.STORE) {
    const session = require('express-session');
    const store = storeOf(session);
    const cookie = { maxAge: 600_000 };
    app.use(session({ secret: 'bench', store, resave: false, saveUninitialized: false, cookie }));
  }
  let requests = 0;
  let known = 0;
  const count = ({ session }) => {
    if (!session) return;
    requests += 1;
    if (session.user) known += 1;
    else session.user = { name: 'Ada', roles: ['admin', 'editor'] };
  };
  app.get('/read', (req, res) => {
    count(req);
    res.send('read');
  });
  app.get('/write', (req, res) => {
    count(req);
    if (req.session) req.session.visits = (req.session.visits ?? 0) + 1;
    res.send('written');
  });
  process.on('message', (message) => {
    if (message === 'count') process.send({ counted: true, requests, known, cpu: cpuTime() });
  });
  const server = app.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
}

/** Waits for a message of a worker that has this property. */
function told(worker, property) {
  return new Promise((resolve) => {
    worker.on('message', function listener(message) {
      if (message?.[property] === undefined) return;
      worker.off('message', listener);
      resolve(message);
    });
  });
}

/** The client sends the cookie that it was given last. */
function keepCookie(client) {
  client.on('headers', ({ headers }) => {
    const at = headers.findIndex((text, index) => index % 2 === 0 && /^set-cookie$/i.test(text));
    if (at >= 0) client.setHeaders({ cookie: headers[at + 1].split(';')[0] });
  });
}

/** What was measured of the two kinds of requests. */
async function measure(env, requests) {
  const workers = Array.from({ length: WORKERS }, () => cluster.fork(env));
  for (const worker of workers) {
    worker.once('exit', (status) => {
      if (status !== null) throw new Error(`a worker ended with ${status}`);
    });
  }
  const [{ port }] = await Promise.all(workers.map((worker) => told(worker, 'port')));
  /** What all workers have counted, and the processor time they have used. */
  const count = async () => {
    const counts = workers.map((worker) => {
      const counted = told(worker, 'counted');
      worker.send('count');
      return counted;
    });
    const all = await Promise.all(counts);
    const sum = (property) => all.reduce((total, one) => total + one[property], 0);
    return { cpu: sum('cpu'), lost: sum('requests') - sum('known') };
  };
  const run = async (path, amount) => {
    const url = `http://127.0.0.1:${port}${path}`;
    const before = await count();
    const result = await autocannon({
      url,
      connections: CONNECTIONS,
      amount,
      timeout: 60,
      setupClient: keepCookie,
    });
    const after = await count();
    assert.deepEqual([result.non2xx, result.errors], [0, 0], JSON.stringify(env));
    // The first request of each connection makes a session.
    const lost = after.lost - before.lost - CONNECTIONS;
    assert.ok(!env.STORE || lost <= 0, `${lost} sessions were lost`);
    return {
      rate: result.requests.total / result.duration,
      cpu: (after.cpu - before.cpu) / result.requests.total,
    };
  };
  // The code of the workers is compiled meanwhile.
  await run('/write', requests);
  const write = await run('/write', requests);
  const read = await run('/read', requests);
  const ends = workers.map((worker) => new Promise((end) => worker.once('exit', end)));
  for (const worker of workers) worker.process.kill('SIGKILL');
  await Promise.all(ends);
  return { write, read };
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

async function main() {
  const fs = require('node:fs');
  const path = require('node:path');
  // The primary has the package, so the workers share its caches.
  require('lru-cache-for-clusters-as-promised');
  const requests = Number(process.argv[2] ?? 20_000);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-sessions-'));
  const figures = Object.fromEntries(Object.keys(STORES).map((name) => [name, []]));
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [name, env] of Object.entries(STORES)) {
        const SESSIONS = path.join(directory, `${round}`);
        figures[name].push(await measure({ NODE_ENV: 'test', SESSIONS, ...env }, requests));
      }
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
  const [{ model }] = os.cpus();
  console.log(`Node ${process.version}, ${model}, ${os.cpus().length} cores`);
  console.log("requests a second, and microseconds of the workers' processor time per request");
  console.log('| store | a request that writes | one that reads |\n| --- | --- | --- |');
  for (const [name, rounds] of Object.entries(figures)) {
    const of = (kind, what) => Math.round(median(rounds.map((one) => one[kind][what])));
    const cell = (kind) => `${of(kind, 'rate')}/s, ${of(kind, 'cpu')} µs`;
    console.log(`| ${name} | ${cell('write')} | ${cell('read')} |`);
  }
}
