'use strict';

// `examples/machines.js`, as a reader runs it.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { describeServers } = require('./servers');

describeServers('the example of several machines', () => {
  it('shows each tier, and an invalidation that crosses', async () => {
    const file = path.join(__dirname, '..', '..', 'examples', 'machines.js');
    const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 60_000 });
    for (const text of [
      /B, worker 1 .* price 10, from the server/,
      /from (shared memory|this process)/,
      /machine A has the new price after [\d.]+ ms/,
      /A, worker 2 .* price 12/,
    ]) {
      assert.match(stdout, text);
    }
  });
});
