'use strict';

const assert = require('assert');
const { fork } = require('child_process');
const path = require('path');
const { TRANSPORTS, describeShared } = require('../helpers');

/** For longer runs and for others: how many calls, and the seed of the first run. */
const { DIFF_CALLS, DIFF_SEED = '1' } = process.env;

/** Milliseconds that a call may take on a slow machine; far more than it does. */
const LONGEST_CALL = 20;

let child;

/** Runs `run.js` to its end: what it wrote, how it ended, and the seed it was at. */
function run(args) {
  return new Promise((resolve, reject) => {
    child = fork(path.join(__dirname, 'run.js'), ['--seed', DIFF_SEED, ...args], { silent: true });
    let output = '';
    let seed;
    child.stdout.on('data', (data) => (output += data));
    child.stderr.on('data', (data) => (output += data));
    child.on('message', (message) => (seed = message.seed));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ ended: code ?? signal, seed, output }));
  });
}

/** [title, arguments, how many calls]. */
const runs = [['in a single process', [], 40_000]];
for (const transport of TRANSPORTS) {
  for (const workers of [1, 3]) {
    const title = `in a primary and ${workers} of its workers, transport: ${transport}`;
    runs.push([title, ['--workers', String(workers), '--transport', transport], 7500]);
  }
}

/** As `runs`, where one transport is compared with the other. */
const between = [1, 3].map((workers) => [
  `with a primary and ${workers} of its workers`,
  ['--workers', String(workers), '--transports'],
  10_000,
]);

function compare(all) {
  afterEach(() => child.kill());

  for (const [title, args, usual] of all) {
    const calls = Number(DIFF_CALLS ?? usual);

    it(title, async () => {
      const { ended, seed, output } = await run([...args, '--calls', String(calls)]);
      assert.strictEqual(ended, 0, `ended with ${ended} at seed ${seed}\n${output}`);
    }).timeout(60_000 + calls * LONGEST_CALL);
  }
}

describe('random calls give what they give with 1.7.4', () => compare(runs));

describeShared('random calls give the same through either transport', () => compare(between));
