'use strict';

const assert = require('node:assert/strict');
const { Ring } = require('../../lib/near/ring');
const { STAMP, Store, atOnce } = require('./store');

const words = ({ ring }) => new Int32Array(ring);

/** A ring of one more process of a store. */
function ringOf(store, options, atEndOfTurn = atOnce) {
  const port = store.attach(options);
  return { port, ring: new Ring(port.ring, port.control, port.apply, atEndOfTurn) };
}

describe('rings of near reads', () => {
  it('hold row, version and stamp of each use, and count them', () => {
    const { port, ring } = ringOf(new Store());
    ring.use(5, 1.5);
    ring.use(6, 2.5);
    ring.use(5, 1.5);
    assert.deepEqual(Store.waiting(port), [
      [5, 1.5, 1],
      [6, 2.5, 2],
      [5, 1.5, 3],
    ]);
    assert.equal(ring.uses, 3);
  });

  it('have a second record of a row though nothing was used since', () => {
    // Another ring may hold a use of before that is applied later.
    const { port, ring } = ringOf(new Store());
    for (let count = 0; count < 3; count += 1) ring.use(5, 1.5);
    assert.equal(Store.waiting(port).length, 3);
    assert.equal(ring.uses, 3);
  });

  it('take stamps that rise with time over all rings', () => {
    const store = new Store();
    const rings = [ringOf(store), ringOf(store), ringOf(store)];
    const stamps = [];
    let state = 3;
    for (let count = 0; count < 20000; count += 1) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      // Long runs of one and quick changes alike.
      const { port, ring } = rings[((state >>> 20) % 40) % 3 && (count >> 8) % 3];
      ring.use(count % 1000, 1);
      stamps.push(Store.waiting(port).at(-1)[2]);
      if (count % 100 === 0) store.apply();
    }
    for (let at = 1; at < stamps.length; at += 1) assert.ok(stamps[at] > stamps[at - 1]);
    assert.ok(store.control[STAMP] >= stamps.at(-1), 'no stamp is above the counter');
  });

  it('take stamps above the limit of those that were applied', () => {
    const store = new Store();
    const { port, ring } = ringOf(store);
    for (let count = 0; count < 300; count += 1) ring.use(count, 1);
    const limit = store.control[STAMP];
    assert.ok(limit > Store.waiting(port).at(-1)[2], 'some stamps are left');
    store.apply();
    ring.use(1, 1);
    assert.ok(Store.waiting(port)[0][2] > limit);
  });

  it('go on over 2^31 and 2^32, of stamps and of records', () => {
    for (const start of [2 ** 31 - 700, 2 ** 32 - 700]) {
      const store = new Store(start | 0);
      const { port, ring } = ringOf(store, { head: start | 0 });
      let before = start | 0;
      for (let count = 1; count <= 2000; count += 1) {
        ring.use(count, 1);
        const [row, , stamp] = Store.waiting(port).at(-1);
        assert.equal(row, count);
        const step = (stamp - before) | 0;
        assert.ok(step > 0 && step < 1000, `${step} above the last stamp`);
        before = stamp;
        assert.equal(words(port)[0], (start + count) | 0);
      }
      assert.ok(before < (start | 0) === (start === 2 ** 31 - 700), 'the sign has changed');
      assert.equal(ring.uses, 2000);
      assert.ok(store.applications > 0 && store.applications <= 4);
    }
  });

  it('are applied when half full', () => {
    const store = new Store();
    const { ring } = ringOf(store);
    for (let count = 0; count <= 512; count += 1) {
      assert.equal(store.applications, 0);
      ring.use(count, 1);
    }
    assert.equal(store.applications, 1);
  });

  it('drop records when full, ask seldom, and go on when there is room', () => {
    const store = new Store();
    const { port, ring } = ringOf(store);
    store.free = false;
    for (let count = 0; count < 10000; count += 1) ring.use(count, 1);
    const waiting = Store.waiting(port).length;
    assert.ok(waiting > 900 && waiting <= 1024, `${waiting} wait`);
    assert.ok(store.applications < 200, `${store.applications} applications`);
    assert.equal(ring.uses, 10000);
    assert.deepEqual(Store.waiting(port)[0].slice(0, 2), [0, 1], 'the oldest is not overwritten');
    store.free = true;
    for (let count = 0; count < 100; count += 1) ring.use(count, 2);
    assert.ok(Store.waiting(port).length > 0 && Store.waiting(port).length <= 100);
  });

  it('hold stamps to the end of the turn while others read at the same time', () => {
    const store = new Store();
    /** The ends of turns that are waited for. */
    const ends = [];
    const { port, ring } = ringOf(store, {}, (end) => ends.push(end));
    const other = ringOf(store);
    const both = (uses) => {
      for (let count = 0; count < uses; count += 1) {
        other.ring.use(1, 1);
        ring.use(2, 1);
      }
      const stamps = Store.waiting(port).map(([, , stamp]) => stamp);
      for (let at = 1; at < stamps.length; at += 1) assert.ok(stamps[at] > stamps[at - 1]);
      const last = stamps.at(-1);
      const ofOther = Store.waiting(other.port).at(-1)[2];
      store.apply();
      return last - ofOther;
    };
    assert.ok(both(4) > 0, 'each use has a later stamp than that of the other ring before it');
    assert.ok(both(40) < 0, 'stamps that were taken before are used up');
    assert.equal(ends.length, 1, 'one turn was waited for');
    ends.pop()();
    assert.ok(both(1) > 0, 'in the next turn no stamp of the one before is used');
    assert.equal(ends.length, 1, 'the others still read: held again at once');
    ends.pop()();
    assert.ok(both(100) > 0, 'a hold for a single use was not worth its cost: none for a while');
    assert.equal(ends.length, 0);
  });

  it('hold stamps again in each turn in which others read at the same time', () => {
    const store = new Store();
    const ends = [];
    const { ring } = ringOf(store, {}, (end) => ends.push(end));
    const other = ringOf(store);
    for (let turn = 0; turn < 10; turn += 1) {
      for (let count = 0; count < 40; count += 1) {
        other.ring.use(1, 1);
        ring.use(2, 1);
      }
      store.apply();
      assert.equal(ends.length, 1, `turn ${turn}`);
      ends.pop()();
    }
  });

  it('hold no stamps over a call of their own thread that takes the lock', () => {
    const store = new Store();
    const { port, ring } = ringOf(store, {}, () => {});
    const other = ringOf(store);
    for (let count = 0; count < 40; count += 1) {
      other.ring.use(1, 1);
      ring.use(2, 1);
    }
    // A `set` of this thread applies the rings, and the entry that it sets has a time of its own.
    store.apply();
    const setAt = (store.control[STAMP] = (store.control[STAMP] + 1) | 0);
    ring.use(2, 1);
    assert.ok(Store.waiting(port)[0][2] > setAt);
  });
});
