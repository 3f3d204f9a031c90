'use strict';

/**
 * Two machines and a server: `node examples/machines.js`. It starts `valkey-server` or `redis-server` on a free port of the
 * loopback interface, and two primaries with two workers each, which share no memory, as on two machines. It shows which tier answers
 * each read, and how a write on one machine ends what the other has. It needs the package `redis` or `ioredis`.
 */

const { fork, spawn, spawnSync } = require('node:child_process');
const cluster = require('node:cluster');
const { once } = require('node:events');
const net = require('node:net');
const { setTimeout: wait } = require('node:timers/promises');
const LRUCache = require('lru-cache-for-clusters-as-promised');

const WORKERS = 2;

if (cluster.isWorker) work();
else if (process.env.MACHINE) machine();
else main().catch((error) => fail(error.message));

function fail(message) {
  console.error(message);
  process.exit(1);
}

// --- the two machines

/** A primary: it forks workers, and passes on what they are asked. */
function machine() {
  LRUCache.init();
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  process.on('message', ({ worker, ...job }) => workers[worker].send(job));
  for (const worker of workers) {
    // The package has messages of its own.
    worker.on('message', (message) => message.id !== undefined && process.send(message));
  }
  process.on('disconnect', () => process.exit());
}

async function work() {
  // `LRU_CACHE_REMOTE` in the environment names the server.
  const cache = await LRUCache.getInstance({ namespace: 'products', timeout: 2000 });

  /** Which tier has answered: what has been counted since. */
  const counts = async () => {
    const { near, hits, remote } = await cache.stats();
    return { near: near.hits, shared: hits, server: remote.hits };
  };

  process.on('message', async ({ id, call, args }) => {
    if (id === undefined) return;
    const before = await counts();
    const result = await cache[call](...args);
    const after = await counts();
    let tier = '';
    if (call === 'get') {
      if (after.near > before.near) tier = 'this process';
      else if (after.server > before.server) tier = 'the server';
      else if (after.shared > before.shared) tier = 'shared memory';
      else tier = 'nobody';
    }
    process.send({ id, result, tier });
  });
  while ((await cache.stats()).remote.state !== 'on') await wait(20);
  process.send({ id: 'ready' });
}

// --- what happens

async function main() {
  const server = await startServer();
  const waiting = new Map();
  let ready = 0;
  let isReady;
  const allReady = new Promise((resolve) => (isReady = resolve));
  const machines = ['A', 'B'].map((name) => {
    const env = { ...process.env, MACHINE: name, LRU_CACHE_REMOTE: server.url };
    const child = fork(__filename, [], { env });
    child.on('message', ({ id, ...answer }) => {
      if (id === 'ready') {
        ready += 1;
        if (ready === 2 * WORKERS) isReady();
      } else {
        waiting.get(id)(answer);
      }
    });
    return { name, child };
  });
  await allReady;

  let count = 0;
  const ask = (at, worker, call, ...args) =>
    new Promise((resolve) => {
      count += 1;
      waiting.set(count, resolve);
      machines[at].child.send({ id: count, worker, call, args });
    });
  const show = (at, worker, text, answer = '') => {
    console.log(`${machines[at].name}, worker ${worker + 1}   ${text.padEnd(34)} ${answer}`);
  };
  const set = async (at, worker, price) => {
    await ask(at, worker, 'set', 'lamp', { price });
    show(at, worker, `set('lamp', { price: ${price} })`);
  };
  const get = async (at, worker) => {
    const { result, tier } = await ask(at, worker, 'get', 'lamp');
    show(at, worker, "get('lamp')", `price ${result?.price}, from ${tier}`);
    return result?.price;
  };

  await set(0, 0, 10);
  await wait(50);
  for (const at of [0, 1]) {
    for (const worker of [0, 1]) for (let times = 0; times < 3; times += 1) await get(at, worker);
  }
  await set(1, 1, 12);
  const begun = performance.now();
  while ((await ask(0, 0, 'get', 'lamp')).result.price !== 12);
  console.log(`machine A has the new price after ${(performance.now() - begun).toFixed(1)} ms`);
  for (const at of [0, 1]) for (const worker of [0, 1]) await get(at, worker);

  for (const { child } of machines) child.disconnect();
  await Promise.all(machines.map(({ child }) => once(child, 'exit')));
  server.stop();
}

// --- the server

async function startServer() {
  const program = ['valkey-server', 'redis-server'].find(
    (name) => spawnSync(name, ['--version']).status === 0,
  );
  if (program === undefined) fail('This needs valkey-server or redis-server in the PATH.');
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', ''];
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'inherit'] });
  child.on('exit', (code) => code && fail(`${program} ended with ${code}`));
  process.on('exit', () => child.kill());
  let output = '';
  for await (const data of child.stdout) {
    output += data;
    if (/ready to accept connections/i.test(output)) break;
  }
  console.log(`${program} on port ${port}, machines A and B with ${WORKERS} workers each\n`);
  return { url: `redis://127.0.0.1:${port}`, stop: () => child.kill() };
}
