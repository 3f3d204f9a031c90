'use strict';

const assert = require('node:assert/strict');
const { Budget, Shelf } = require('../../lib/near/budget');

/** A cache of texts with a budget, as `NearCache` is one. */
class Texts {
  items = new Map();
  shelf = new Shelf();
  evicted = 0;

  constructor(budget, limit) {
    this.budget = budget;
    this.limit = limit;
    budget.join(this);
  }

  get bytes() {
    return this.shelf.bytes;
  }

  /** Reads a key: whether it was there. */
  read(key, bytes = 10) {
    const item = this.items.get(key);
    if (item !== undefined) {
      item.used = true;
      return true;
    }
    const added = { key, bytes, used: false, queue: undefined, older: undefined, newer: undefined };
    this.items.set(key, added);
    this.shelf.add(added);
    this.budget.count(bytes);
    this.budget.trim(this);
    return false;
  }

  remove(key) {
    const item = this.items.get(key);
    this.shelf.remove(item);
    this.items.delete(key);
    this.budget.count(-item.bytes);
  }

  evict() {
    const item = this.shelf.evict();
    this.items.delete(item.key);
    this.budget.count(-item.bytes);
    this.evicted += 1;
    return true;
  }
}

describe('the budget of near reads', () => {
  it('keeps what is read often when keys are read once', () => {
    const texts = new Texts(new Budget(10000), 10000);
    const hot = Array.from({ length: 500 }, (_, n) => `hot ${n}`);
    for (let round = 0; round < 3; round += 1) for (const key of hot) texts.read(key);
    let hits = 0;
    let reads = 0;
    for (let scanned = 0; scanned < 100000; scanned += 1) {
      assert.equal(texts.read(`scanned ${scanned}`), false);
      if (scanned % 10 !== 0) continue;
      reads += 1;
      if (texts.read(hot[(scanned / 10) % hot.length])) hits += 1;
    }
    assert.ok(hits === reads, `${hits} of ${reads}`);
    assert.ok(texts.bytes <= 10000);
  });

  it('turns to what is read now', () => {
    const texts = new Texts(new Budget(10000), 10000);
    for (const age of ['old', 'new']) {
      for (let round = 0; round < 60; round += 1) {
        for (let key = 0; key < 80; key += 1) texts.read(`${age} ${key}`);
        for (let once = 0; once < 10; once += 1) texts.read(`${age} ${round} ${once}`);
      }
    }
    for (let n = 0; n < 1000; n += 1) texts.read(`once ${n}`);
    let hits = 0;
    for (let key = 0; key < 80; key += 1) if (texts.read(`new ${key}`)) hits += 1;
    assert.equal(hits, 80);
  });

  it('lets what was read often before make room', () => {
    const texts = new Texts(new Budget(10000), 10000);
    for (let round = 0; round < 2; round += 1) {
      for (let key = 0; key < 950; key += 1) texts.read(`old ${key}`);
    }
    for (let n = 0; n < 1000; n += 1) texts.read(`once ${n}`);
    let hits = 0;
    for (let round = 0; round < 10; round += 1) {
      hits = 0;
      for (let key = 0; key < 70; key += 1) if (texts.read(`new ${key}`)) hits += 1;
    }
    assert.equal(hits, 70);
  });

  it('never keeps more than its bounds, and counts right', () => {
    const budget = new Budget(5000);
    const all = [5000, 800, 5000, 300].map((limit) => new Texts(budget, limit));
    let state = 7;
    const random = (below) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return (state >>> 8) % below;
    };
    for (let count = 0; count < 50000; count += 1) {
      const texts = all[random(all.length)];
      const key = random(400);
      if (random(10) === 0 && texts.items.has(key)) texts.remove(key);
      else texts.read(key, 1 + random(60));
      if (random(20) === 0) {
        const item = [...texts.items.values()][0];
        if (item) {
          const bytes = 1 + random(60);
          budget.count(bytes - item.bytes);
          texts.shelf.resize(item, bytes);
          budget.trim(texts);
        }
      }
      assert.ok(texts.bytes <= texts.limit);
      assert.ok(budget.bytes <= budget.limit);
      if (count % 100 !== 0) continue;
      let sum = 0;
      for (const { items, bytes } of all) {
        const counted = [...items.values()].reduce((total, item) => total + item.bytes, 0);
        assert.equal(bytes, counted);
        sum += counted;
      }
      assert.equal(budget.bytes, sum);
    }
    assert.ok(all.every(({ evicted }) => evicted > 0));
  });

  it('takes from who has more than a share', () => {
    const budget = new Budget(1000);
    const [large, small, fresh] = [1, 2, 3].map(() => new Texts(budget, 1000));
    for (let key = 0; key < 100; key += 1) large.read(key);
    for (let key = 0; key < 10; key += 1) small.read(key);
    for (let key = 0; key < 200; key += 1) fresh.read(key);
    assert.equal(small.evicted, 0);
    assert.ok(fresh.bytes >= 320 && large.bytes >= 320, `${fresh.bytes}, ${large.bytes}`);
    budget.leave(small);
    budget.leave(small);
    large.read('another');
    assert.ok(budget.bytes <= 1000);
  });

  it('is as large as the largest that is asked for', () => {
    const budget = new Budget(1000);
    new Texts(budget, 500);
    assert.equal(budget.limit, 1000);
    new Texts(budget, 5000);
    assert.equal(budget.limit, 5000);
  });

  it('looks at few entries to let one go, among a hundred thousand', () => {
    const texts = new Texts(new Budget(1e6), 1e6);
    for (let key = 0; key < 100000; key += 1) texts.read(key);
    let looks = 0;
    for (const [key, item] of texts.items) {
      let used = key % 2 === 0;
      Object.defineProperty(item, 'used', {
        get: () => (looks += 1) && used,
        set(value) {
          used = value;
        },
      });
    }
    for (let key = 0; key < 100000; key += 1) texts.read(`new ${key}`);
    assert.equal(texts.items.size, 100000);
    assert.ok(texts.evicted === 100000 && looks <= 200000, `${looks} looks`);
  });
});
