'use strict';

/**
 * Overwrites bytes of a store in shared memory at random, again and again, while three workers and the primary
 * call:
 *
 *   node __test__/stress/corrupt.js [seconds] [what]
 *
 * `what` is `entries` (index, rows and blocks), `columns` (versions, free blocks, uses), `header`, `tags`, `leases`, `lock`, or
 * `all`. Nobody may
 * crash or hang; a value whose bytes were hit may be read as it is then (its own checksum says so), as a miss or as
 * an error. Once the bytes are left alone, everything works again.
 */

const assert = require('node:assert/strict');
const cluster = require('node:cluster');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const { setTimeout: sleep, setImmediate: turn } = require('node:timers/promises');
const { segmentsOf, recoveries, validate } = require('./segment');
const { seal, flaw } = require('./values');

const [, , role, ...given] = process.argv;
const WORKERS = 3;
const KEYS = 300;
const TIMEOUT = 500;
/** What a call may take beyond its timeout where the machine is busy, in milliseconds. */
const GRACE = 5000;
const OPTIONS = { namespace: 'damaged', timeout: TIMEOUT, failsafe: 'reject', max: 250 };

/** The next message of this script's own: the package sends others on the same channel. */
function hear(from) {
  return new Promise((resolve) => {
    from.on('message', function receive(message) {
      if (message?.stress === undefined) return;
      from.off('message', receive);
      resolve(message.stress);
    });
  });
}

const random = (below) => Math.floor(Math.random() * below);

// ---- who writes ----

/** The regions of a segment that are in use, as far as they can be told: from, to. See `layout.rs`. */
function regions(handle) {
  const header = Buffer.alloc(320);
  fs.readSync(handle, header, 0, header.length, 0);
  const align = (at) => Math.ceil(at / 65536) * 65536;
  const [buckets, rows, blocks] = [16, 20, 24].map((at) => header.readUInt32LE(at));
  const at = {};
  let next = 65536;
  for (const [name, bytes] of [
    ['index', 4 * buckets],
    ['rows', 64 * rows],
    ['versions', 8 * rows],
    ['rings', 128 * 132 * 1024],
    ['tags', 2 * 2048 * 16],
    ['leases', 2048 * (4 + 128) + 16 * 65536],
    ['sections', 576 * Math.ceil(blocks / 4096)],
    ['blocks', 64 * blocks],
  ]) {
    at[name] = next;
    next = align(next + bytes);
  }
  const part = (name, bytes, from = 0) => [at[name] + from, at[name] + from + bytes];
  const entries = [part('index', 4 * 600), part('rows', 64 * 400), part('blocks', 64 * 10_000)];
  const columns = [
    part('versions', 8 * 400),
    part('sections', 576 * 3),
    part('rings', 2048),
    // Gate, epoch, count of uses.
    [320, 448],
  ];
  const rest = [
    [0, 64],
    [128, 320],
    // The record of a change.
    [512, 1152],
    // Summaries, counts, label.
    [1152, 3840],
  ];
  const tags = [[3840, 3904], [3840, 3904], part('tags', 2 * 2048 * 16)];
  const leases = [
    [3904, 3968],
    part('leases', 4 * 2048),
    part('leases', 128 * 2048, 4 * 2048),
    part('leases', 16 * 65536, 132 * 2048),
  ];
  const lock = [64, 128];
  const all = [...entries, ...entries, ...rest, ...tags, ...leases, lock];
  return { entries, columns, header: rest, tags, leases, lock: [lock], all };
}

/** Writes into the newest segment of a process, wherever that is, until it is told to end. */
async function write(pid, what) {
  let writes = 0;
  let over = false;
  const known = new Map();
  process.on('message', () => (over = true));
  process.on('disconnect', () => process.exit());
  while (!over) {
    const segment = segmentsOf(pid).at(-1);
    if (segment) {
      const handle = fs.openSync(segment.file, 'r+');
      // Before the first damage: where they are is said in the header.
      if (!known.has(segment.inode)) known.set(segment.inode, regions(handle)[what]);
      const where = known.get(segment.inode);
      for (let at = 0; at < 300; at += 1) {
        const [from, to] = where[random(where.length)];
        const bytes = Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256)));
        if (random(3) === 0) bytes.fill(random(2) ? 0 : 255);
        fs.writeSync(handle, bytes, 0, bytes.length, from + random(to - from - bytes.length));
        writes += 1;
        if (at % 30 === 0) await sleep(1);
      }
      fs.closeSync(handle);
    }
    await turn();
  }
  process.send(writes);
  process.disconnect();
}

// ---- who calls ----

async function calls(name, until) {
  const Cache = require('../..');
  const open = async (options) => {
    for (;;) {
      const cache = await Cache.getInstance(options).catch(() => undefined);
      if (cache) return cache;
      await sleep(10);
    }
  };
  const json = await open(OPTIONS);
  const clones = await open({ ...OPTIONS, serialization: 'advanced' });
  const seen = { calls: 0, damaged: 0, hung: 0 };
  const running = new Set();
  const watch = setInterval(() => {
    for (const call of running) {
      if (performance.now() - call.since < TIMEOUT + GRACE) continue;
      running.delete(call);
      seen.hung += 1;
      console.error(`${name}: ${call.what} hangs`);
    }
  }, 250);
  const made = async (what, make) => {
    const call = { what, since: performance.now() };
    running.add(call);
    seen.calls += 1;
    try {
      return await make();
    } catch (error) {
      // Those without a code with their text: they say what was made of damaged bytes.
      const kind = String(error?.code ?? `${what}: ${error}`.slice(0, 100));
      seen[kind] = (seen[kind] ?? 0) + 1;
      return undefined;
    } finally {
      running.delete(call);
    }
  };
  const verify = (key, value) => {
    if (String(key).startsWith('key:') && value !== undefined && flaw(key, value))
      seen.damaged += 1;
  };
  const step = async () => {
    // A Map of the primary is `{}` for workers that ask for JSON.
    const [cache, clone] = random(3) ? [json, false] : [clones, cluster.isWorker];
    const key = `key:${random(KEYS)}`;
    const keys = Array.from({ length: 8 }, () => `key:${random(KEYS)}`);
    switch (random(26)) {
      case 20:
        return made('invalidateTags', () => cache.invalidateTags([`tag:${random(50)}`]));
      case 21:
        return made('deletePrefix', () => cache.deletePrefix(`key:${10 + random(90)}`));
      case 22:
      case 23: {
        const tags = [`tag:${random(50)}`];
        return made('set with tags', () => cache.set(key, seal(key, { clone }), { tags }));
      }
      case 24:
      case 25: {
        const load = async (given, { signal, skip }) => {
          if (random(2)) await sleep(random(5));
          if (random(8) === 0) throw Object.assign(new Error('load'), { code: 'E_LOAD' });
          const value = seal(key, { clone });
          if (random(3) === 0) return skip(value);
          return signal.aborted ? undefined : value;
        };
        const options = { leaseTimeout: 300, tags: [`tag:${random(50)}`] };
        return verify(key, await made('fetch', () => cache.fetch(key, load, options)));
      }
      case 0:
        return made('del', () => cache.del(key));
      case 1: {
        const pairs = Object.fromEntries(keys.map((each) => [each, seal(each, { clone })]));
        return made('mSet', () => cache.mSet(pairs));
      }
      case 2:
        for (const [each, value] of Object.entries(
          (await made('mGet', () => cache.mGet(keys))) ?? {},
        ))
          verify(each, value);
        return undefined;
      case 3: {
        const entries = (await made('dump', () => cache.dump())) ?? [];
        return entries.forEach(({ k, v }) => verify(k, v));
      }
      case 4:
        await made('values', () => cache.values());
        return made('keys', () => cache.keys());
      case 5:
        return made('prune', () => cache.prune());
      case 6:
        return made('incr', () => cache.incr('count'));
      case 7:
        await made('length', () => cache.length());
        return made('pop', () => cache.execute('pop'));
      case 8:
        return random(50)
          ? made('max', () => cache.max(200 + random(100)))
          : made('reset', () => cache.reset());
      case 9:
        return made('has', () => cache.has(key));
      default:
        if (random(2)) return verify(key, await made('get', () => cache.get(key)));
        return made('set', () => cache.set(key, seal(key, { clone }), random(3) * 1000));
    }
  };
  const forever = async () => {
    for (let at = 1; !until(); at += 1) {
      await step();
      if (at % 10 === 0) await turn();
    }
  };
  await Promise.all([forever(), forever(), forever()]);
  clearInterval(watch);
  return { seen, json };
}

/** Whether everything works: what is written here is read here. */
async function works(name, cache) {
  const failed = [];
  for (let at = 0; at < 20; at += 1) {
    const value = seal(`${name}:${at}`);
    const stored = await cache.set(`${name}:${at}`, value).catch((error) => error);
    const found = await cache.get(`${name}:${at}`).catch((error) => error);
    if (stored !== true || flaw(`${name}:${at}`, found))
      failed.push(`${stored} ${found}`.slice(0, 200));
  }
  return { failed: failed.length, first: failed[0], transport: cache.transport() };
}

async function work() {
  let over = false;
  const told = hear(process);
  told.then(() => (over = true));
  const { seen, json } = await calls(`worker ${process.env.NAME}`, () => over);
  await told;
  process.send({ stress: { seen } });
  await hear(process);
  const name = `worker${process.env.NAME}`;
  const after = await works(name, json);
  process.send({ stress: { after } });
  await hear(process);
  // What the others have written, too.
  const others = [];
  for (let at = 0; at < WORKERS; at += 1) {
    const value = await json.get(`worker${at}:0`).catch((error) => error);
    others.push(flaw(`worker${at}:0`, value) ?? 'found');
  }
  process.send({ stress: { others, transport: json.transport() } });
}

async function lead(seconds, what) {
  const Cache = require('../..');
  const cache = new Cache(OPTIONS);
  await cache.set('slot', { of: 'the primary' });
  process.on('disconnect', () => process.exit());
  const workers = Array.from({ length: WORKERS }, (_, at) => cluster.fork({ NAME: at }));
  for (const worker of workers) {
    worker.on('exit', (code, signal) => {
      if (!worker.asked) process.send({ flaw: `a worker ended: ${signal ?? code}` });
    });
  }
  const ask = (worker) => {
    const answer = Promise.race([hear(worker), once(worker, 'exit').then(() => ({ gone: true }))]);
    worker.send({ stress: 'next' }, () => {});
    return answer;
  };
  await sleep(500);
  const shared = segmentsOf(process.pid).length;
  const writer = fork(__filename, ['write', String(process.pid), what]);
  let over = false;
  const own = calls('primary', () => over);
  await sleep(seconds * 1000);
  const writes = once(writer, 'message');
  writer.send('end');
  process.send({ writes: (await writes)[0], segments: shared });
  over = true;
  process.send({ who: 'primary', seen: (await own).seen });
  for (const worker of workers) process.send({ who: 'worker', ...(await ask(worker)) });
  // A lock that was damaged is found to be so after a while.
  await sleep(1500);
  const afters = await Promise.all(workers.map(ask));
  process.send({ who: 'primary', after: await works('primary', cache) });
  afters.forEach((after) => process.send({ who: 'worker', ...after }));
  for (const worker of workers) process.send({ who: 'worker', ...(await ask(worker)) });
  const seen = [];
  for (let at = 0; at < WORKERS; at += 1) {
    const value = await cache.get(`worker${at}:0`).catch((error) => error);
    seen.push(flaw(`worker${at}:0`, value) ?? 'found');
  }
  const where = [process, ...workers.map(({ process: worker }) => worker)].map(({ pid }) =>
    segmentsOf(pid).map(({ inode }) => inode),
  );
  process.send({ who: 'primary', others: seen, where });
  const segment = segmentsOf(process.pid).at(-1);
  if (segment) {
    let valid;
    try {
      valid = validate(segment);
    } catch (error) {
      // No check number tells of a version that is damaged, nor of a block that is free and is not.
      if (what !== 'columns') process.send({ flaw: String(error) });
    }
    process.send({ valid, ...recoveries(segment), segments: segmentsOf(process.pid).length });
  }
  for (const worker of workers) {
    worker.asked = true;
    worker.process.kill('SIGKILL');
  }
  process.send('done');
}

async function main(
  seconds = 5,
  kinds = ['entries', 'columns', 'header', 'tags', 'leases', 'lock', 'all'],
) {
  const flaws = [];
  for (const what of kinds) {
    console.log(`--- ${what}, ${seconds} s`);
    const primary = fork(__filename, ['lead', String(seconds), what]);
    const ended = once(primary, 'exit');
    let done = false;
    primary.on('message', (message) => {
      if (message === 'done') {
        done = true;
        primary.kill('SIGKILL');
        return;
      }
      console.log(message);
      const { flaw: bad, seen, after, others, who } = message;
      if (bad) flaws.push(`${what}: ${bad}`);
      if (seen?.hung) flaws.push(`${what}: ${who}: ${seen.hung} calls hang`);
      if (after?.failed) flaws.push(`${what}: ${who}: ${after.failed} calls fail afterwards`);
      if (others?.some((other) => other !== 'found')) flaws.push(`${what}: not found: ${others}`);
    });
    const [code, signal] = await ended;
    if (!done) flaws.push(`${what}: the primary ended: ${signal ?? code}`);
  }
  for (const what of flaws) console.log(`FLAW: ${what}`);
  assert.deepEqual(flaws, []);
}

if (cluster.isWorker) work();
else if (role === 'write') write(Number(given[0]), given[1]);
else if (role === 'lead') lead(Number(given[0]), given[1]);
else main(role && Number(role), given.length > 0 ? given : undefined);
