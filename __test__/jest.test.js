'use strict';

// jest loads the package anew for each test file, in a fresh context.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const path = require('node:path');

const jest = require.resolve('jest/bin/jest');
const project = path.join(__dirname, 'fixtures', 'jest');

/** Runs jest in the fixture; gives its exit code and what it wrote. */
function run(...args) {
  const { NODE_OPTIONS, ...env } = process.env;
  return new Promise((resolve) => {
    const command = [jest, '--rootDir', project, '--config', path.join(project, 'jest.config.js')];
    execFile(process.execPath, [...command, ...args], { env, cwd: project }, (error, out, err) =>
      resolve({ code: error?.code ?? 0, output: out + err }),
    );
  });
}

describe('under jest', () => {
  for (const [title, args] of [
    ['in band', ['--runInBand']],
    ['in its workers', ['--maxWorkers=2']],
    ['in its worker threads', ['--maxWorkers=2', '--workerThreads']],
  ]) {
    it(`several test files, ${title}`, async () => {
      const { code, output } = await run(...args);
      assert.equal(code, 0, output);
      assert.match(output, /Tests: +11 passed, 11 total/);
      assert.doesNotMatch(output, /did not exit|warning|leak|failed to exit|force/i);
    });
  }
});
