'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { TRANSPORTS, startWorker, startPrimary, processes } = require('./agents');

/** Whether the long versions of tests run too. */
const STRESS = process.env.STRESS === '1';

/** `describe` for what needs the shared memory; skipped where there is none. */
const describeShared = (title, tests) =>
  (TRANSPORTS.includes('shared-memory') ? describe : describe.skip)(title, tests);

let count = 0;

/** A namespace that no other test uses, nor a run of the tests beside this one: the command finds both. */
function unique(name = 'test') {
  count += 1;
  return `${name}-${process.pid}-${count}`;
}

/** Sets what `Date.now()` gives in a process; without `now`, to what it gave at first. */
function setClock({ state }, now) {
  state.systemClock ??= Date.now;
  Date.now = now === undefined ? state.systemClock : () => now;
}

/**
 * For one `describe`: `Date.now()` of this process moves by `tick` alone, and so does that of the agents that `others`
 * gives. Their clocks have moved when the promise of `tick` resolves.
 *
 * @param {() => object[]} [others]
 */
function fakeClock(others = () => []) {
  const real = Date.now;
  const tell = (now) => Promise.all(others().map((agent) => agent.run(setClock, now)));
  const clock = {
    now: 0,
    tick(milliseconds) {
      clock.now += milliseconds;
      return tell(clock.now);
    },
  };
  beforeEach(() => {
    clock.now = 1_700_000_000_000;
    Date.now = () => clock.now;
    return tell(clock.now);
  });
  afterEach(() => {
    Date.now = real;
    return tell(undefined);
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
  TRANSPORTS,
  STRESS,
  describeShared,
  unique,
  fakeClock,
  until,
  block,
  heap,
  startWorker,
  startPrimary,
  processes,
};
