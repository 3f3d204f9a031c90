'use strict';

// What near reads promise across processes: a read that begins after a write was acknowledged, in whatever process, gives
// nothing that this write replaced; no value is a mixture of two; two values that were written together are read
// together. `actor.js` says how that is known. STRESS=1: 10 million reads and 1 million writes, 300 kills, 300 stops.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const Cache = require('../..');
const { Actor, BYTES } = require('./actor');
const { STRESS, describeShared, processes, startWorker, unique, until } = require('../helpers');

const READS = STRESS ? 10_000_000 : 120_000;
const WRITES = READS / 10;
const KILLS = STRESS ? 300 : 6;
const STOPS = STRESS ? 300 : 6;

/** In a worker: opens an actor. */
async function open({ Cache: Class, state, require: load }, module, given) {
  state.actor = await load(module).Actor.open(Class, given);
  return state.actor.transport;
}

const run = ({ state }, goal) => state.actor.run(goal);

const finish = ({ state }) => void (state.actor.over = true);

describeShared('reads by three workers and the primary, which all write', () => {
  const { worker: start } = processes();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'coherence-'));
  after(() => fs.rmSync(directory, { recursive: true }));

  /** A namespace, its file and its writers: the primary, and workers that `worker` starts. */
  async function stage() {
    const namespace = unique('coherence');
    const file = path.join(directory, namespace);
    fs.writeFileSync(file, Buffer.alloc(BYTES));
    const worker = async (writer, begin = start) => {
      const agent = await begin({ transport: 'shared-memory' });
      const kind = await agent.run(open, require.resolve('./actor'), { file, namespace, writer });
      assert.equal(kind, 'shared-memory');
      return agent;
    };
    return { primary: await Actor.open(Cache, { file, namespace, writer: 0 }), worker };
  }

  function summary(title, parts, since) {
    const total = {};
    for (const part of parts) {
      for (const [name, count] of Object.entries(part)) {
        if (typeof count === 'number') total[name] = (total[name] ?? 0) + count;
      }
    }
    total.seconds = Number(((performance.now() - since) / 1000).toFixed(1));
    total.violations = parts.reduce((sum, { violations }) => sum + violations.length, 0);
    if (STRESS) console.log(title, total);
    return total;
  }

  function assertNone(parts) {
    assert.deepEqual(
      parts.flatMap(({ violations }) => violations),
      [],
    );
  }

  it(`none gives an older value, none a mixture: ${READS} reads, ${WRITES} writes`, async () => {
    const { primary, worker: begin } = await stage();
    const workers = await Promise.all([1, 2, 3].map((writer) => begin(writer)));
    const goal = { reads: READS / 4, writes: WRITES / 4 };
    const since = performance.now();
    const parts = await Promise.all([
      primary.run(goal),
      ...workers.map((worker) => worker.run(run, goal)),
    ]);
    const total = summary('all live', parts, since);
    assertNone(parts);
    assert.equal(total.timedOut, 0);
    assert.ok(total.reads >= READS && total.writes >= WRITES);
    // Nor is it so because nothing was found.
    assert.ok(total.hits > total.reads / 4, `${total.hits} hits of ${total.reads}`);
    await Promise.all(workers.map((worker) => worker.kill()));
  }).timeout(STRESS ? 1_800_000 : 60_000);

  const forever = { reads: Infinity, writes: Infinity };

  it(`the same where workers are killed at random, ${KILLS} times`, async () => {
    const { primary, worker: begin } = await stage();
    const kept = await begin(1);
    const since = performance.now();
    const running = [primary.run(forever), kept.run(run, forever)];
    let killed = 0;
    let begun = 0;
    const victims = async (writer) => {
      while (begun < KILLS) {
        begun += 1;
        const worker = await begin(writer, startWorker);
        worker.run(run, forever).catch(() => {});
        await sleep(Math.random() * 60);
        await worker.kill();
        killed += 1;
      }
    };
    // Whether it fails or not, nobody goes on.
    await Promise.all([victims(2), victims(3)]).finally(() => {
      begun = KILLS;
      primary.over = true;
    });
    await kept.run(finish);
    const parts = await Promise.all(running);
    const total = summary(`${killed} killed`, parts, since);
    assertNone(parts);
    assert.equal(total.timedOut, 0, 'a repair took longer than a call waits');
    await kept.kill();
  }).timeout(STRESS ? 1_800_000 : 60_000);

  it(`the same where a worker is stopped at random, ${STOPS} times`, async () => {
    const { primary, worker: begin } = await stage();
    const workers = await Promise.all([1, 2, 3].map((writer) => begin(writer)));
    const since = performance.now();
    const running = [primary.run(forever), ...workers.map((worker) => worker.run(run, forever))];
    for (let stops = 0; stops < STOPS; stops += 1) {
      const { child } = workers[stops % 3];
      child.kill('SIGSTOP');
      await sleep(20);
      child.kill('SIGCONT');
      await sleep(Math.random() * 20);
    }
    primary.over = true;
    for (const worker of workers) await worker.run(finish);
    const parts = await Promise.all(running);
    const total = summary(`${STOPS} stops`, parts, since);
    assertNone(parts);
    assert.equal(total.timedOut, 0, 'no stop is as long as a call waits');
    await Promise.all(workers.map((worker) => worker.kill()));
  }).timeout(STRESS ? 1_800_000 : 60_000);
});

describeShared('near reads of an entry whose age another process changes', () => {
  const { worker: start } = processes();

  /** Reads a key so often that near reads remember the entry, and gives what was read last. */
  const readOften = async ({ state }) => {
    let value;
    for (let n = 0; n < 50; n += 1) value = await state.cache.get('k');
    return value;
  };

  it('end with the age that touch gave it', async () => {
    const namespace = unique('touched');
    const worker = await start({ transport: 'shared-memory' });
    await worker.run(async ({ Cache: Class, state }, name) => {
      state.cache = await Class.getInstance({ namespace: name, timeout: 10_000 });
    }, namespace);
    const primary = new Cache({ namespace });
    await primary.set('k', 'value', 60_000);
    assert.equal(await worker.run(readOften), 'value');
    assert.equal(await primary.get('k'), 'value');
    assert.equal(await primary.touch('k', 1), true);
    await until(async () => !(await primary.has('k')));
    assert.equal(await worker.run(readOften), undefined);
    assert.equal(await primary.get('k'), undefined);
  });

  it('give what compareAndSet, getAndDelete and setMany left', async () => {
    const namespace = unique('compared');
    const worker = await start({ transport: 'shared-memory' });
    await worker.run(async ({ Cache: Class, state }, name) => {
      state.cache = await Class.getInstance({ namespace: name, timeout: 10_000 });
    }, namespace);
    const primary = new Cache({ namespace });
    await primary.set('k', 1);
    assert.equal(await worker.run(readOften), 1);
    const { version } = await primary.getEntry('k');
    assert.equal(await primary.compareAndSet('k', version, 2), true);
    assert.equal(await worker.run(readOften), 2);
    assert.deepEqual(await primary.setMany([['k', 3]]), [true]);
    assert.equal(await worker.run(readOften), 3);
    assert.equal(await primary.getAndDelete('k'), 3);
    assert.equal(await worker.run(readOften), undefined);
  });
});
