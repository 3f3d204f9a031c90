'use strict';

/**
 * Kills workers with SIGKILL at random moments under full load, 2 to 4 of them alive at any time:
 *
 *   node __test__/stress/kill.js [kills]
 *
 * A worker writes into a file of its own what was acknowledged to it: so its counters are known to the process
 * that kills it. At the end every counter must be what was acknowledged, give or take the one call that was under way
 * when its worker was killed; no value may be other than it was written; no call may outlast its timeout; the
 * segments must be valid, and gone with the last process.
 */

const assert = require('node:assert/strict');
const cluster = require('node:cluster');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep, setImmediate: turn } = require('node:timers/promises');
const { committed, holders, recoveries, segmentsOf, validate } = require('./segment');
const { seal, flaw } = require('./values');

const TIMEOUT = 3000;
/** What a call may take beyond its timeout where the machine is busy, in milliseconds. */
const GRACE = 3000;
const SHARED = ['a', 'b', 'c'];
const KEYS = 400;
const MAX = 250;

/** What a worker writes down: a number each, 8 bytes. */
const FIELDS = ['own', ...SHARED, 'calls', 'timedOut', 'hung', 'failed', 'wrong'];

const random = (below) => Math.floor(Math.random() * below);
const anyKey = () => `key:${random(KEYS)}`;
const options = (namespace) => ({ namespace, timeout: TIMEOUT, failsafe: 'reject' });

// ---- a worker: calls without end ----

/** Counts, in a file: what is written there outlasts the process. */
class Notes {
  #file = fs.openSync(process.env.NOTES, 'w');
  #counts = new Float64Array(FIELDS.length);

  add(field) {
    const at = FIELDS.indexOf(field);
    this.#counts[at] += 1;
    fs.writeSync(this.#file, this.#counts, at * 8, 8, at * 8);
  }

  static read(path) {
    const bytes = fs.existsSync(path) ? fs.readFileSync(path) : Buffer.alloc(0);
    const whole = Buffer.concat([bytes, Buffer.alloc(FIELDS.length * 8)]);
    return Object.fromEntries(FIELDS.map((field, at) => [field, whole.readDoubleLE(at * 8)]));
  }
}

async function work(name) {
  const notes = new Notes();
  const Cache = require('../..');
  const [counts, values, clones] = await Promise.all(
    [
      options('counts'),
      { ...options('values'), max: MAX },
      { ...options('values'), serialization: 'advanced' },
    ].map(async (given) => {
      for (;;) {
        try {
          return await Cache.getInstance(given);
        } catch (error) {
          if (error.code !== 'ETIMEDOUT') throw error;
          notes.add('timedOut');
        }
      }
    }),
  );
  const running = new Set();
  setInterval(() => {
    for (const call of running) {
      if (performance.now() - call.since < TIMEOUT + GRACE) continue;
      running.delete(call);
      console.error(`${name}: ${call.what} hangs`);
      notes.add('hung');
    }
  }, 250);
  let calls = 0;
  const made = async (what, promise) => {
    const call = { what, since: performance.now() };
    running.add(call);
    try {
      return await promise;
    } catch (error) {
      if (error.code === 'ETIMEDOUT') {
        notes.add('timedOut');
      } else {
        console.error(`${name}: ${what}:`, error);
        notes.add('failed');
      }
      return undefined;
    } finally {
      running.delete(call);
      calls += 1;
      if (calls % 100 === 0) notes.add('calls');
    }
  };
  const verify = (key, value) => {
    const wrong = value === undefined ? undefined : flaw(key, value);
    if (!wrong) return;
    console.error(`${name}: under ${key} there is ${wrong}`);
    notes.add('wrong');
  };
  const anyCall = async () => {
    const [cache, clone] = random(4) === 0 ? [clones, true] : [values, false];
    const key = anyKey();
    const keys = Array.from({ length: 8 }, anyKey);
    switch (random(24)) {
      case 0:
        return made('del', cache.del(key));
      case 1:
        return made('has', cache.has(key));
      case 2:
        return verify(key, await made('peek', cache.peek(key)));
      case 3:
        for (const [each, value] of Object.entries((await made('mGet', cache.mGet(keys))) ?? {})) {
          verify(each, value);
        }
        return undefined;
      case 4: {
        const pairs = Object.fromEntries(keys.map((each) => [each, seal(each, { clone })]));
        return made('mSet', cache.mSet(pairs, random(3) * 50));
      }
      case 5:
        return made('mDel', cache.mDel(keys.slice(0, 2)));
      case 6:
        return made('prune', cache.prune());
      case 7:
        if (random(8) > 0) return made('keys', cache.keys());
        for (const { k, v } of (await made('dump', cache.dump())) ?? []) verify(k, v);
        return undefined;
      case 8: {
        const popped = await made('pop', cache.execute('pop'));
        return popped && verify(popped.key, popped.value);
      }
      case 9:
        if (random(200) === 0) return made('reset', cache.reset());
        return made('max', cache.max(MAX / 2 + random(MAX)));
      default:
        if (random(2) > 0) return verify(key, await made('get', cache.get(key)));
        return made('set', cache.set(key, seal(key, { clone }), random(4) * 50));
    }
  };
  const forever = async (step) => {
    for (let at = 1; ; at += 1) {
      await step();
      // A call that needs no message never leaves the turn.
      if (at % 20 === 0) await turn();
    }
  };
  process.send('ready');
  forever(async () => {
    if ((await made('incr', counts.incr(`own:${name}`))) !== undefined) notes.add('own');
  });
  forever(async () => {
    const which = random(SHARED.length);
    if ((await made('incr', counts.incr(`all:${SHARED[which]}`))) !== undefined)
      notes.add(SHARED[which]);
    // Something that comes and goes between the counters.
    const key = `other:${random(100)}`;
    await made('set', random(2) ? counts.set(key, 'x'.repeat(random(300))) : counts.del(key));
  });
  for (let loop = 0; loop < 3; loop += 1) forever(anyCall);
}

// ---- the primary: kills them ----

async function kill(kills, directory) {
  const Cache = require('../..');
  const counts = new Cache(options('counts'));
  const values = new Cache({ ...options('values'), max: MAX });
  await counts.set('kept', { by: 'reference' });
  const total = { killed: 0, early: 0, calls: 0, acknowledged: 0, timedOut: 0 };
  const flaws = [];
  const shared = Object.fromEntries(SHARED.map((name) => [name, { said: 0, slack: 0 }]));
  let number = 0;
  async function start() {
    number += 1;
    const name = String(number);
    const file = path.join(directory, name);
    // Some use the other transport.
    const env = { NAME: name, NOTES: file, LRU_CACHE_SHARED: number % 8 === 0 ? '0' : '' };
    const worker = cluster.fork(env);
    worker.ready = once(worker, 'message');
    const ended = once(worker, 'exit');
    worker.finish = async () => {
      worker.process.kill('SIGKILL');
      const [code, signal] = await ended;
      if (signal !== 'SIGKILL') flaws.push(`worker ${name} ended by itself: ${signal ?? code}`);
      const said = Notes.read(file);
      fs.rmSync(file, { force: true });
      const own = (await counts.get(`own:${name}`)) ?? 0;
      // What timed out may have been done nevertheless, where it was a message.
      const slack = 1 + said.timedOut;
      if (own < said.own || own > said.own + slack) {
        flaws.push(`worker ${name} was told ${said.own} increments, its counter is ${own}`);
      }
      for (const each of SHARED) {
        shared[each].said += said[each];
        shared[each].slack += slack;
        total.acknowledged += said[each];
      }
      total.acknowledged += said.own;
      total.calls += 100 * said.calls;
      total.timedOut += said.timedOut;
      total.killed += 1;
      if (!said.calls) total.early += 1;
      for (const bad of ['hung', 'failed', 'wrong']) {
        if (said[bad]) flaws.push(`worker ${name}: ${said[bad]} calls ${bad}`);
      }
    };
    return worker;
  }

  const alive = [];
  const began = performance.now();
  while (total.killed + alive.length < kills) {
    alive.push(start());
    if (alive.length < 2 + random(3)) continue;
    const worker = await alive.splice(random(alive.length), 1)[0];
    // Some die before they are ready.
    if (random(10) > 0) await worker.ready;
    for (let calls = random(20); calls > 0; calls -= 1) {
      const key = anyKey();
      const value = await values.get(key);
      const wrong = value === undefined ? undefined : flaw(key, value);
      if (wrong) flaws.push(`the primary found under ${key}: ${wrong}`);
    }
    await sleep(random(10) > 0 ? random(100) : random(400));
    await worker.finish();
  }
  for (const worker of alive) await (await worker).finish();

  for (const each of SHARED) {
    const found = (await counts.get(`all:${each}`)) ?? 0;
    const { said, slack } = shared[each];
    if (found < said || found > said + slack) {
      flaws.push(`the counter ${each} is ${found}, acknowledged ${said}, perhaps done ${slack}`);
    }
  }
  if ((await counts.get('kept'))?.by !== 'reference')
    flaws.push('the value of the primary is lost');
  const segments = segmentsOf(process.pid);
  for (const segment of segments) {
    console.log(`segment: ${validate(segment)}; ${committed(segment)} bytes by the kernel's count`);
  }
  const rebuilt = segments.reduce((sum, segment) => sum + recoveries(segment).rebuilt, 0);
  const seconds = Math.round((performance.now() - began) / 1000);
  const inodes = segments.map(({ inode }) => inode);
  const others = holders(inodes).filter((pid) => Number(pid) !== process.pid);
  if (others.length > 0) flaws.push(`processes ${others} still hold the memory`);
  // Until it is killed, too.
  process.on('message', () => {});
  process.send({ ...total, rebuilt, seconds, flaws, inodes });
}

async function main() {
  const kills = Number(process.argv[2] ?? 1000);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'kill-'));
  process.on('exit', () => fs.rmSync(directory, { recursive: true }));
  const primary = fork(__filename, ['primary', String(kills), directory]);
  primary.on('exit', (code) => assert.equal(code, null, 'the primary ended by itself'));
  const [{ flaws, inodes, ...figures }] = await once(primary, 'message');
  assert.ok(holders(inodes).includes(String(primary.pid)), 'its own memory is seen');
  const ended = once(primary, 'exit');
  primary.kill('SIGKILL');
  await ended;
  assert.deepEqual(holders(inodes), [], 'memory is left');
  console.log(figures);
  for (const what of flaws) console.log(`FLAW: ${what}`);
  process.exitCode = flaws.length > 0 ? 1 : 0;
}

if (cluster.isWorker) work(process.env.NAME);
else if (process.argv[2] === 'primary') kill(Number(process.argv[3]), process.argv[4]);
else main();
