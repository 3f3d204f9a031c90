'use strict';

// Tags and near reads: once `invalidateTags` has resolved, in whatever process, no read of any process gives an entry that had
// one of the tags; and what was stored later is there.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const Cache = require('../..');
const { MISS, NearCache } = require('../../lib/near/near-cache');
const { STRESS, describeShared, processes, unique } = require('../helpers');
const { Store, atOnce, read } = require('./store');

const ROUNDS = STRESS ? 20_000 : 600;
const WRITERS = 3;
const KEYS = 8;

/**
 * Writes and reads in some process. A writer stores values of a generation under its keys, with its tag, and invalidates the tag
 * now and then. Then it notes the generation in the file: from here on nobody may read that one, or an earlier one.
 */
async function act(
  { Cache: Class, require: load },
  { file, namespace, writer, rounds, keys, writers },
) {
  const { readSync, writeSync, openSync, closeSync } = load('node:fs');
  const descriptor = openSync(file, 'r+');
  const bytes = new Float64Array(1);
  const deadOf = (of) => {
    readSync(descriptor, bytes, 0, 8, of * 8);
    return bytes[0];
  };
  const cache = await Class.getInstance({ namespace, timeout: 30_000 });
  const violations = [];
  const check = (of, dead, value, how) => {
    if (value !== undefined && value.generation <= dead) {
      violations.push(`${how}: ${value.generation} of ${of}, ${dead} has ended`);
    }
  };
  let reads = 0;
  let there = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const pairs = Array.from({ length: keys }, (_, at) => [
      `${writer}:${at}`,
      { generation: round, at },
      { tags: [`tag ${writer}`, 'all'], ...(at % 2 === 0 ? { ttl: 600_000 } : {}) },
    ]);
    await cache.mSet(pairs);
    for (let turn = 0; turn < 12; turn += 1) {
      const of = (round + turn) % writers;
      const names = Array.from({ length: keys }, (_, at) => `${of}:${at}`);
      const dead = deadOf(of);
      for (const name of names) {
        const value = await cache.get(name);
        check(of, dead, value, 'get');
        reads += 1;
        there += value === undefined ? 0 : 1;
      }
      const later = deadOf(of);
      const found = await cache.mGet(names);
      for (const value of Object.values(found)) check(of, later, value, 'mGet');
    }
    const own = await cache.get(`${writer}:0`);
    // Another may have ended all; nobody has stored another one.
    if (own !== undefined && own.generation !== round) violations.push('an own write is not read');
    await cache.invalidateTags(round % 50 === 0 ? ['unknown', 'all'] : `tag ${writer}`);
    bytes[0] = round;
    writeSync(descriptor, bytes, 0, 8, writer * 8);
    for (let at = 0; at < keys; at += 1) {
      check(writer, round, await cache.get(`${writer}:${at}`), 'own get');
    }
  }
  closeSync(descriptor);
  const { near } = await cache.stats();
  return { violations: violations.slice(0, 5), reads, there, hits: near.hits };
}

describe('a near read of an entry with tags', () => {
  function open() {
    const store = new Store();
    const port = store.attach();
    const near = new NearCache(port, { atEndOfTurn: atOnce });
    return { store, port, near, get: (key) => read(store, near, port, key) };
  }

  it('asks the native side once after each invalidation, and keeps its object', () => {
    const { store, port, near, get } = open();
    store.set('a', undefined, { json: '{"n":1}', tags: ['a'] });
    store.set('plain', 'text');
    get('a');
    get('plain');
    const begun = near.begin();
    store.read(port, 'a');
    const frozen = near.rememberFrozen(begun, 'a', '{"n":1}');
    assert.deepEqual(near.get('a'), { n: 1 });
    store.invalidate('other');
    assert.equal(near.get('a'), MISS);
    assert.equal(near.has('a'), false);
    assert.equal(near.getAll(['plain', 'a']), MISS);
    assert.equal(near.get('plain'), 'text', 'without tags nothing is asked');
    assert.deepEqual(get('a'), { n: 1 });
    assert.equal(near.get('a', true), frozen, 'the entry is the same');
    store.invalidate('a');
    assert.equal(near.get('a'), MISS);
    assert.equal(get('a'), undefined);
    assert.equal(near.get('a'), MISS);
  });

  it('counts no use and gives nothing where a tag is invalidated between its two halves', () => {
    const { store, port, near, get } = open();
    store.set('a', 1, { tags: ['a'], expires: Infinity });
    store.set('b', 2);
    get('a');
    const batch = near.getMany(['a', 'b']);
    assert.deepEqual(batch.missing, [1]);
    near.begin();
    store.read(port, 'b');
    store.invalidate('other');
    assert.equal(near.recheck(batch), false);
  });

  it('is not one of an entry that was read under an earlier invalidation', () => {
    const { store, port, near } = open();
    store.set('a', 1, { tags: ['a'] });
    const begun = near.begin();
    const { value } = store.read(port, 'a');
    store.invalidate('a');
    near.remember(begun, 'a', value);
    assert.equal(near.get('a'), MISS);
  });
});

describeShared('reads beside invalidations, by two workers and the primary', () => {
  const { worker: start } = processes();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tags-'));
  after(() => fs.rmSync(directory, { recursive: true }));

  it(`none gives what was invalidated before it began: ${ROUNDS} rounds each`, async () => {
    const namespace = unique('tags');
    const file = path.join(directory, namespace);
    fs.writeFileSync(file, Buffer.alloc(WRITERS * 8));
    const given = { file, namespace, rounds: ROUNDS, keys: KEYS, writers: WRITERS };
    const workers = await Promise.all([1, 2].map(() => start({ transport: 'shared-memory' })));
    const parts = await Promise.all([
      act({ Cache, require }, { ...given, writer: 0 }),
      ...workers.map((worker, at) => worker.run(act, { ...given, writer: at + 1 })),
    ]);
    for (const { violations, reads, there, hits } of parts) {
      assert.deepEqual(violations, []);
      // Nor is it so because nothing was found.
      assert.ok(there > reads / 20, `${there} found in ${reads} reads`);
      assert.ok(hits > 0, `${hits} near reads`);
    }
    await Promise.all(workers.map((worker) => worker.kill()));
  }).timeout(STRESS ? 1_800_000 : 60_000);
});
