'use strict';

// Counters of several processes at once: no count is given twice, and none is left out.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const [WORKERS, HITS] = process.env.STRESS ? [16, 62_500] : [4, 2_000];

describe('hit by several processes', () => {
  for (const shared of [1, 0]) {
    it(`gives each count once, ${shared ? 'in shared memory' : 'by IPC'}`, async () => {
      const child = spawn(process.execPath, [
        path.join(__dirname, 'fixtures', 'hits.js'),
        WORKERS,
        HITS,
        shared,
      ]);
      let text = '';
      let errors = '';
      child.stdout.on('data', (chunk) => (text += chunk));
      child.stderr.on('data', (chunk) => (errors += chunk));
      await once(child, 'close');
      assert.equal(errors, '');
      assert.deepEqual(JSON.parse(text), { given: WORKERS * HITS, isExact: true });
    }).timeout(300_000);
  }
});
