'use strict';

// The options `near` and `freeze`, by every transport.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { TRANSPORTS, describeShared, processes, unique } = require('../helpers');

/** Values that are refused: [option, value, message]. */
const WRONG = [
  ['near', -1, 'near must be a number of bytes from 0 on, or false, got -1'],
  ['near', NaN, 'near must be a number of bytes from 0 on, or false, got NaN'],
  ['near', -Infinity, 'near must be a number of bytes from 0 on, or false, got -Infinity'],
  ['near', '8', 'near must be a number of bytes from 0 on, or false, got "8"'],
  ['near', {}, 'near must be a number of bytes from 0 on, or false, got "[object Object]"'],
  ['freeze', 1, 'freeze must be true or false, got 1'],
  ['freeze', 'yes', 'freeze must be true or false, got "yes"'],
  ['freeze', {}, 'freeze must be true or false, got "[object Object]"'],
];

/** What an agent's functions find, for this process. */
const here = { Cache, require, state: {} };
const runHere = (fn, ...args) => fn(here, ...args);

/** Reads a key twice with instances of these options, and says how many near hits that made. */
async function nearHits({ Cache: Class, require: load, state }, namespace, near, root) {
  const { Budget } = load(`${root}/lib/near/budget`);
  if (!state.sharers) {
    state.sharers = [];
    const { join } = Budget.prototype;
    Budget.prototype.join = function (sharer) {
      state.sharers.push(sharer);
      return join.call(this, sharer);
    };
  }
  const count = () => state.sharers.reduce((sum, { hits }) => sum + hits, 0);
  const options = { namespace, near, timeout: 10_000, failsafe: 'reject' };
  const cache = await Class.getInstance(options);
  await cache.set('k', 'v');
  const before = count();
  const values = [];
  for (let turn = 0; turn < 3; turn += 1) {
    values.push(await cache.get('k'), await cache.peek('k'), await cache.has('k'));
    values.push((await cache.mGet(['k'])).k);
  }
  if (values.some((value) => value !== 'v' && value !== true)) throw new Error(String(values));
  return count() - before;
}

/** What each read gives of an object that was stored as JSON, by an instance that freezes. */
async function freezes({ Cache: Class }, namespace, transport) {
  const options = { namespace, timeout: 10_000, failsafe: 'reject' };
  const cache = await Class.getInstance({ ...options, freeze: true });
  const { kind } = cache.transport();
  if (kind !== transport) throw new Error(kind);
  const isDeep = (value) => [value, value?.list, value?.list?.[0]].every(Object.isFrozen);
  const reads = {
    get: () => cache.get('k'),
    peek: () => cache.peek('k'),
    mGet: async () => (await cache.mGet(['k', 'missing'])).k,
    values: async () => (await cache.values())[0],
    dump: async () => (await cache.dump())[0].v,
  };
  const frozen = {};
  const objects = [];
  for (const [name, read] of Object.entries(reads)) {
    const [first, second] = [await read(), await read()];
    frozen[name] = isDeep(first) && isDeep(second) && first.list[0].n === 1;
    if (['get', 'peek', 'mGet'].includes(name)) objects.push(first, second);
  }
  // An instance that does not freeze gives copies of its own, of the same entry.
  const plain = await Class.getInstance(options);
  const own = await plain.get('k');
  own.list.push('mine');
  const other = await plain.get('k');
  return {
    frozen,
    isSame: objects.every((object) => object === objects[0]),
    own: other.list.length,
    isOwnFrozen: Object.isFrozen(other),
  };
}

function optionTests(agent, transport) {
  for (const [option, value, message] of WRONG) {
    it(`${option} ${typeof value === 'object' ? '{}' : value} is refused`, async () => {
      const make = ({ Cache: Class }, given) =>
        Class.getInstance(given).then(
          () => undefined,
          (error) => ({ name: error.name, code: error.code, message: error.message }),
        );
      const error = await agent().run(make, { namespace: unique('near'), [option]: value });
      assert.deepEqual(error, { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE', message });
    });
  }

  it('undefined and null are the defaults', async () => {
    const make = ({ Cache: Class }, namespace) =>
      Promise.all(
        [undefined, null].map(async (none) => {
          const cache = await Class.getInstance({ namespace, near: none, freeze: none });
          await cache.set('k', 1);
          return cache.get('k');
        }),
      );
    assert.deepEqual(await agent().run(make, unique('near')), [1, 1]);
  });

  for (const near of [undefined, true, 1e6, false, 0]) {
    it(`near ${near}: reads are ${near === false || near === 0 ? 'not ' : ''}near`, async () => {
      const root = require.resolve('../..').replace(/\/index\.js$/, '');
      const hits = await agent().run(nearHits, unique('near'), near, root);
      if (near === false || near === 0 || transport === 'ipc') assert.equal(hits, 0);
      else assert.ok(hits >= 8, `${hits} near hits`);
    });
  }

  it('an entry that does not fit into near is read all the same', async () => {
    const read = async ({ Cache: Class }, namespace) => {
      const cache = await Class.getInstance({ namespace, near: 1000, timeout: 10_000 });
      const value = 'x'.repeat(5000);
      await cache.set('k', value);
      return [await cache.get('k'), await cache.get('k')].map((got) => got === value);
    };
    assert.deepEqual(await agent().run(read, unique('near')), [true, true]);
  });
}

/** Of an object that lies as JSON in the store. */
function freezeTests(agent, transport, store) {
  it('freeze: reads give what is frozen, deeply, and others copies of their own', async () => {
    const namespace = unique('freeze');
    await store(namespace, 'k', { list: [{ n: 1 }] });
    const got = await agent().run(freezes, namespace, transport);
    const frozen = { get: true, peek: true, mGet: true, values: true, dump: true };
    const isSame = transport !== 'ipc';
    assert.deepEqual(got, { frozen, isSame, own: 1, isOwnFrozen: false });
  });

  it('freeze: it is another object after the entry has changed', async () => {
    const namespace = unique('freeze');
    const read = async ({ Cache: Class, state }, name) => {
      const options = { namespace: name, freeze: true, timeout: 10_000, failsafe: 'reject' };
      const cache = await Class.getInstance(options);
      const [first, second] = [await cache.get('k'), await cache.get('k')];
      const before = state.before;
      state.before = second;
      return [first === second, first === before, first.n];
    };
    const isSame = transport !== 'ipc';
    await store(namespace, 'k', { n: 1 });
    assert.deepEqual(await agent().run(read, namespace), [isSame, false, 1]);
    assert.deepEqual(await agent().run(read, namespace), [isSame, isSame, 1]);
    await store(namespace, 'k', { n: 1 });
    assert.deepEqual(await agent().run(read, namespace), [isSame, false, 1]);
    await store(namespace, 'k', { n: 2 });
    assert.deepEqual(await agent().run(read, namespace), [isSame, false, 2]);
  });
}

describe('near and freeze in a process without workers', () => {
  optionTests(() => ({ run: runHere }), 'local');

  it('freeze: what is kept by reference is the same object, and not frozen', async () => {
    const cache = await Cache.getInstance({ namespace: unique('freeze'), freeze: true });
    const value = { list: [1] };
    await cache.set('k', value);
    for (let turn = 0; turn < 2; turn += 1) {
      assert.equal(await cache.get('k'), value);
      assert.equal(await cache.peek('k'), value);
      assert.equal((await cache.mGet(['k'])).k, value);
      assert.equal((await cache.values())[0], value);
      assert.equal((await cache.dump())[0].v, value);
    }
    assert.ok(!Object.isFrozen(value) && !Object.isFrozen(value.list));
  });
});

describeShared('near and freeze in a primary that shares its memory', () => {
  const { worker: start } = processes();
  let worker;
  before(async () => {
    worker = await start({ transport: 'shared-memory' });
  });
  const store = async (namespace, key, value) => {
    const cache = await worker.open({ namespace, timeout: 10_000, failsafe: 'reject' });
    await cache.set(key, value);
  };
  freezeTests(() => ({ run: runHere }), 'local', store);

  it('freeze: what is kept by reference is not frozen', async () => {
    const namespace = unique('freeze');
    const cache = await Cache.getInstance({ namespace, freeze: true });
    await worker.open({ namespace, timeout: 10_000 });
    const value = { list: [1] };
    await cache.set('k', value);
    for (let turn = 0; turn < 2; turn += 1) assert.equal(await cache.get('k'), value);
    assert.ok(!Object.isFrozen(value));
  });
});

for (const transport of TRANSPORTS) {
  describe(`near and freeze in a worker, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let worker;
    let other;
    before(async () => {
      [worker, other] = await Promise.all([start({ transport }), start({ transport })]);
    });
    optionTests(() => worker, transport);

    const store = async (namespace, key, value) => {
      const cache = await other.open({ namespace, timeout: 10_000, failsafe: 'reject' });
      await cache.set(key, value);
    };
    freezeTests(() => worker, transport, store);

    it('freeze: structured clones are copies of the caller’s own', async () => {
      const clones = async ({ Cache: Class }, namespace) => {
        const options = { namespace, serialization: 'advanced', freeze: true };
        const cache = await Class.getInstance({ ...options, timeout: 10_000, failsafe: 'reject' });
        await cache.set('k', { list: new Set([1]) });
        const [first, second] = [await cache.get('k'), await cache.get('k')];
        first.list.add(2);
        return [first === second, Object.isFrozen(second), second.list.size];
      };
      assert.deepEqual(await worker.run(clones, unique('freeze')), [false, false, 1]);
    });

    it('an object that the primary keeps by reference is read, each time anew', async () => {
      const namespace = unique('near');
      const value = { list: [1] };
      const primary = new Cache({ namespace });
      await primary.set('k', value);
      const cache = await worker.open({ namespace, timeout: 10_000, failsafe: 'reject' });
      assert.deepEqual(await cache.get('k'), { list: [1] });
      // The primary may change its object without a call.
      value.list.push(2);
      assert.deepEqual(await cache.get('k'), { list: [1, 2] });
      assert.deepEqual((await cache.mGet(['k'])).k, { list: [1, 2] });
    });
  });
}
