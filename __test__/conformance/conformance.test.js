'use strict';

const assert = require('assert');
const { DOORS } = require('../helpers');
const { run, checkout } = require('./run');

describe("the original's own tests", () => {
  for (const door of DOORS) {
    /** Whether the workers had the door they were meant to have. */
    const checkDoor = ({ attached }) => assert.strictEqual(attached > 0, door === 'direct');

    it(`pass, those of 1.7.4, door: ${door}`, async () => {
      const ran = await run('1.7.4', checkout, door);
      assert.deepStrictEqual(ran.failed, []);
      assert.strictEqual(ran.passed.length, 96);
      checkDoor(ran);
    });

    it(`pass, those of 1.5.24, save the two that expect stale() to be undefined, door: ${door}`, async () => {
      const ran = await run('1.5.24', checkout, door);
      // In the worker the test ends the process: the failure it reports does not survive JSON.
      assert.deepStrictEqual(ran.failed, [
        { title: 'LRU Cache for Clusters should stale()', message: 'socket hang up' },
        {
          title: 'LRU Cache as Promised should stale()',
          message: 'expected false to be undefined',
        },
      ]);
      assert.strictEqual(ran.passed.length, 71);
      checkDoor(ran);
    });
  }

  it('pass, those of 1.7.4 for a single process, each run to its end', async () => {
    const { passed, failed } = await run('1.7.4 awaited', checkout);
    assert.deepStrictEqual(failed, []);
    assert.strictEqual(passed.length, 46);
  });
});
