'use strict';

const assert = require('assert');
const { run, checkout } = require('./run');

describe("the original's own tests", () => {
  it('pass, those of 1.7.4', async () => {
    const { passed, failed } = await run('1.7.4', checkout);
    assert.deepStrictEqual(failed, []);
    assert.strictEqual(passed.length, 96);
  });

  it('pass, those of 1.7.4 for a single process, each run to its end', async () => {
    const { passed, failed } = await run('1.7.4 awaited', checkout);
    assert.deepStrictEqual(failed, []);
    assert.strictEqual(passed.length, 46);
  });

  it('pass, those of 1.5.24, save the two that expect stale() to be undefined', async () => {
    const { passed, failed } = await run('1.5.24', checkout);
    // In the worker the test ends the process: the failure it reports does not survive JSON.
    assert.deepStrictEqual(failed, [
      { title: 'LRU Cache for Clusters should stale()', message: 'socket hang up' },
      { title: 'LRU Cache as Promised should stale()', message: 'expected false to be undefined' },
    ]);
    assert.strictEqual(passed.length, 71);
  });
});
