'use strict';

const assert = require('node:assert');
const { Clock } = require('../../lib/near/clock');

/** Milliseconds that the clock shows at first, and an end that is far away. */
const START = 1_000_000;
const FAR = START + 60_000;

describe('the clock of near reads', () => {
  let time;
  let looks;
  let isReal;
  let endTurn;
  let clock;
  beforeEach(() => {
    time = START;
    looks = 0;
    isReal = true;
    endTurn = undefined;
    clock = new Clock({
      now() {
        looks += 1;
        return time;
      },
      isSystemClock: () => isReal,
      atEndOfTurn(end) {
        endTurn = end;
      },
    });
  });

  function read(times, expires) {
    looks = 0;
    for (let n = 0; n < times; n += 1) assert.strictEqual(clock.isBefore(expires), true);
    return looks;
  }

  it('is looked at for each read in a turn that makes few', () => {
    assert.strictEqual(read(8, FAR), 8);
    assert.strictEqual(endTurn, undefined);
  });

  it('is looked at for each read where time passes between them', () => {
    for (let n = 0; n < 100; n += 1) {
      time += 1;
      assert.strictEqual(read(1, FAR), 1);
    }
  });

  it('is looked at once in 65 reads of a turn that makes many', () => {
    read(9, FAR);
    assert.strictEqual(read(650, FAR), 10);
  });

  it('is looked at again in the next turn', () => {
    read(20, FAR);
    endTurn();
    time = FAR + 1;
    assert.strictEqual(clock.isBefore(FAR), false);
  });

  it('shows the end of an entry that is less than 10 seconds away', () => {
    read(20, FAR);
    const soon = START + 9999;
    assert.strictEqual(read(100, soon), 100);
    time = soon + 1;
    assert.strictEqual(clock.isBefore(soon), false);
  });

  it('shows the end of an entry within 64 reads, whatever the turn does', () => {
    read(9, FAR);
    time = FAR + 1;
    const given = Array.from({ length: 65 }, () => clock.isBefore(FAR));
    assert.strictEqual(given.indexOf(false), 64);
  });

  it('is looked at for each read where a test suite has replaced it', () => {
    read(20, FAR);
    isReal = false;
    time = FAR + 1;
    assert.strictEqual(clock.isBefore(FAR), false);
  });
});
