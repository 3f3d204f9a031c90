'use strict';

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');

const run = (file) =>
  promisify(execFile)(process.execPath, [path.join(__dirname, 'fixtures', file)]);

describe('an ES module', () => {
  it('imports the class by default and by name, and LRUCache', async () => {
    const { stdout, stderr } = await run('import.mjs');
    assert.equal(stderr, '');
    assert.deepEqual(JSON.parse(stdout), {
      same: true,
      statics: [true, 'function'],
      instance: true,
      value: { a: 1 },
    });
  });
});
