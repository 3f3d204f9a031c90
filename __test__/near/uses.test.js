'use strict';

const assert = require('node:assert/strict');
const Cache = require('../..');
const { unique } = require('../helpers');
const { Uses } = require('../../lib/near/uses');

const MOST = 8;

/** Memory of a list for `MOST` rows, and a native side that counts how often it looks, and says what it finds. */
function recorder() {
  const buffer = new ArrayBuffer(32 + 4 * MOST);
  const words = new Int32Array(buffer);
  const numbers = new Float64Array(buffer, 0, 3);
  const column = new Float64Array(64);
  const looks = [];
  const look = () => {
    const rows = Array.from(words.subarray(8, 8 + words[6]));
    looks.push(rows.sort((one, other) => column[32 + one] - column[32 + other]));
    words[6] = 0;
    numbers[1] = numbers[0];
  };
  const uses = new Uses(buffer, look);
  return { look, looks, numbers, uses, use: (row) => uses.use(row, 1.5, column) };
}

describe('uses of entries on the heap', () => {
  it('list each row once, with the number of its last use', () => {
    const { look, looks, uses, use } = recorder();
    for (const row of [5, 6, 5, 7, 6, 6]) use(row);
    look();
    assert.deepEqual(looks, [[5, 7, 6]]);
    assert.equal(uses.uses, 6);
  });

  it('list a row anew after the native side has looked', () => {
    const { look, looks, use } = recorder();
    use(5);
    look();
    use(6);
    use(5);
    use(5);
    look();
    assert.deepEqual(looks, [[5], [6, 5]]);
  });

  it('have the native side look where the list is full, and lose no use', () => {
    const { look, looks, use } = recorder();
    for (let row = 1; row <= MOST + 2; row += 1) use(row);
    use(1);
    look();
    assert.deepEqual(looks, [
      [1, 2, 3, 4, 5, 6, 7, 8],
      [9, 10, 1],
    ]);
  });

  it('count where the place of the row is not known, and what is no hit', () => {
    const { numbers, uses } = recorder();
    uses.use(5, 1.5, undefined);
    uses.uncount(1);
    assert.equal(uses.uses, 1);
    assert.deepEqual([...numbers], [1, 0, 1]);
  });
});

describe('near reads of one process', () => {
  it('evict in the order of their uses, of more entries than are listed at a time', async () => {
    // Most of the calls are near reads, so their uses wait to be looked at.
    const max = 6000;
    const cache = new Cache({ namespace: unique('uses'), max });
    const model = new Map();
    const touch = (key, value) => {
      model.delete(key);
      model.set(key, value);
      if (model.size > max) model.delete(model.keys().next().value);
    };
    let state = 11;
    const random = (end) => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state >>> 8) % end;
    };
    for (let key = 0; key < max; key += 1) {
      await cache.set(key, key);
      touch(key, key);
    }
    const pick = () => (random(4) === 0 ? random(max + 100) : random(50));
    for (let call = 0; call < 100_000; call += 1) {
      const key = pick();
      const kind = random(1000);
      if (kind < 20) {
        await cache.set(key, call);
        touch(key, call);
      } else if (kind < 30) {
        await cache.del(key);
        model.delete(key);
      } else if (kind < 60) {
        const keys = [pick(), pick(), pick()];
        for (const one of keys) if (model.has(one)) touch(one, model.get(one));
        const expected = keys.map((one) => model.get(one));
        assert.deepEqual(await cache.getMany(keys), expected);
      } else {
        assert.equal(await cache.get(key), model.get(key));
        if (model.has(key)) touch(key, model.get(key));
      }
      if (call % 9973 === 0) assert.deepEqual(await cache.keys(), [...model.keys()].reverse());
    }
    assert.deepEqual(await cache.keys(), [...model.keys()].reverse());
    const { near, hits } = await cache.stats();
    assert.ok(near.hits > 50_000 && hits > near.hits, `${near.hits} near hits of ${hits}`);
    await cache.reset();
  });
});
