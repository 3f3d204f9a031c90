'use strict';

const assert = require('assert');
const { TRANSPORTS } = require('../helpers');
const { run, checkout } = require('./run');

describe("the original's own tests", () => {
  for (const transport of TRANSPORTS) {
    /** Whether the workers had the transport they were meant to have. */
    const checkDoor = ({ attached }) =>
      assert.strictEqual(attached > 0, transport === 'shared-memory');

    it(`pass, those of 1.7.4, transport: ${transport}`, async () => {
      const ran = await run('1.7.4', checkout, transport);
      assert.deepStrictEqual(ran.failed, []);
      assert.strictEqual(ran.passed.length, 96);
      checkDoor(ran);
    });

    it(`pass, those of 1.5.24, save the two that expect stale() to be undefined, transport: ${transport}`, async () => {
      const ran = await run('1.5.24', checkout, transport);
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
