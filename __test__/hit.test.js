'use strict';

// Counters of several processes at once: no count is given twice, and none is left out.

const assert = require('node:assert/strict');
const path = require('node:path');
const { resultOf } = require('./helpers/program');

const [WORKERS, HITS] = process.env.STRESS ? [16, 62_500] : [4, 2_000];

describe('hit by several processes', () => {
  for (const shared of [1, 0]) {
    it(`gives each count once, ${shared ? 'in shared memory' : 'by IPC'}`, async () => {
      const program = path.join(__dirname, 'fixtures', 'hits.js');
      assert.deepEqual(await resultOf(program, WORKERS, HITS, shared), {
        given: WORKERS * HITS,
        isExact: true,
      });
    }).timeout(300_000);
  }
});
