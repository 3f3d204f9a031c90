'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { startWorker, startPrimary, processes } = require('./agents');

/** Whether the long versions of tests run too. */
const STRESS = process.env.STRESS === '1';

let count = 0;

/** A namespace that no other test uses. */
function unique(name = 'test') {
  count += 1;
  return `${name}-${count}`;
}

/**
 * For one `describe`: `Date.now()` of this process (the primary, for workers it forks) moves by `tick` alone.
 */
function fakeClock() {
  const real = Date.now;
  const clock = {
    now: 0,
    tick(milliseconds) {
      clock.now += milliseconds;
    },
  };
  beforeEach(() => {
    clock.now = 1_700_000_000_000;
    Date.now = () => clock.now;
  });
  afterEach(() => {
    Date.now = real;
  });
  return clock;
}

/** Waits until `check` gives something true; fails when that takes longer than `limit` milliseconds. */
async function until(check, limit = 10_000) {
  const end = performance.now() + limit;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (performance.now() > end) throw new Error(`did not come true in ${limit} ms: ${check}`);
    await sleep(10);
  }
}

/** Keeps this process busy. */
function block(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** Bytes of the heap that are in use, once what is free has been collected; needs `--expose-gc`. */
async function heap() {
  for (let round = 0; round < 3; round += 1) {
    await sleep(20);
    global.gc();
  }
  return process.memoryUsage().heapUsed;
}

module.exports = {
  STRESS,
  unique,
  fakeClock,
  until,
  block,
  heap,
  startWorker,
  startPrimary,
  processes,
};
