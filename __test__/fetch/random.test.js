'use strict';

/**
 * Random programs over the double of the leases: several processes fetch, write, give up, die, while loaders end in any order.
 * The source has a version per key; a write raises it, and then removes the entry. Whatever comes between:
 *
 * - a fetch gives no version that is older than the last write before the call;
 * - a `forceRefresh` gives what a loader gave that began after the call;
 * - in the end no entry is older than the source, no lease is left, and every call has ended.
 */

const assert = require('node:assert/strict');
const { setImmediate: turn } = require('node:timers/promises');
const { Fetcher } = require('../../lib/fetch/fetcher');
const { STRESS, fakeClock } = require('../helpers');
const { LeaseStore } = require('../helpers/leases');
const { Random } = require('../differential/random');

const RUNS = STRESS ? 20_000 : 400;
const STEPS = 60;

class Program {
  store = new LeaseStore();
  source = { a: 0, b: 0 };
  processes = [];
  loads = [];
  calls = [];
  gates = [];
  loadsBegun = 0;

  constructor(seed, clock) {
    this.random = new Random(seed);
    this.clock = clock;
    this.isSync = this.random.below(2) === 0;
    this.log = [];
  }

  start() {
    const readsEntries = this.random.below(4) > 0;
    const process = this.store.process({ isSync: this.isSync, readsEntries });
    process.fetcher = new Fetcher(process, { leaseTimeout: 1000 });
    this.processes.push(process);
    return process;
  }

  pick(list) {
    return list[this.random.below(list.length)];
  }

  /** Reads the source, and ends when the program says so. */
  load(key) {
    this.loadsBegun += 1;
    const value = { version: this.source[key], begun: this.loadsBegun };
    return new Promise((resolve, reject) => {
      this.loads.push({ end: () => resolve(value), fail: () => reject(new Error('away')) });
    });
  }

  fetch(process, key, forceRefresh) {
    const controller = new AbortController();
    const call = {
      process,
      key,
      forceRefresh,
      controller,
      version: this.source[key],
      begun: this.loadsBegun,
      isOver: false,
      mayFail: false,
    };
    const onError = this.pick(['throw', 'retry']);
    const load = (given, { signal }) => {
      if (this.random.below(2) === 0) return this.load(given);
      const loaded = this.load(given);
      return new Promise((resolve, reject) => {
        loaded.then(resolve, reject);
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    };
    process.fetcher.fetch(key, load, { forceRefresh, onError, signal: controller.signal }).then(
      (value) => {
        call.isOver = true;
        call.value = value;
      },
      (error) => {
        call.isOver = true;
        call.error = error;
      },
    );
    this.calls.push(call);
  }

  step() {
    const process = this.pick(this.processes);
    const key = this.pick(['a', 'b']);
    const of = this.random.below(100);
    if (of < 40) this.fetch(process, key, of < 10);
    else if (of < 52) {
      this.source[key] += 1;
      process.del(key);
    } else if (of < 58) {
      this.source[key] += 1;
      process.set(key, { version: this.source[key], begun: Number.MAX_VALUE });
    } else if (of < 75) this.endOne('end');
    else if (of < 80) this.endOne('fail');
    else if (of < 85) this.pick(this.calls)?.controller.abort();
    else if (of < 88) this.clock.tick(400);
    else if (of < 90 && this.processes.length > 1) this.close(process);
    else if (of < 92) this.start();
    else if (of < 95 && !this.isSync) this.shut(process);
    else this.open();
  }

  endOne(how) {
    const at = this.random.below(this.loads.length);
    const [load] = this.loads.splice(at, 1);
    load?.[how]();
  }

  /** Answers to claims of a process are late. */
  shut(process) {
    if (process.gate !== undefined) return;
    process.gate = new Promise((resolve) => this.gates.push(resolve)).then(() => {
      process.gate = undefined;
    });
  }

  open() {
    for (const open of this.gates.splice(0)) open();
  }

  close(process) {
    process.fetcher.close(new Error('closed'));
    this.processes.splice(this.processes.indexOf(process), 1);
  }

  async run() {
    for (let n = 0; n < 3; n += 1) this.start();
    for (let n = 0; n < STEPS; n += 1) {
      this.step();
      if (this.random.below(3) === 0) await turn();
    }
    // All that runs comes to its end.
    for (let n = 0; n < 200 && this.calls.some(({ isOver }) => !isOver); n += 1) {
      this.open();
      while (this.loads.length > 0) this.endOne('end');
      await turn();
      await this.clock.tick(100);
    }
    // Claims of callers that have gone are answered, too, and given back.
    this.open();
    await turn();
    this.check();
  }

  check() {
    for (const call of this.calls) {
      assert.ok(call.isOver, `a fetch of ${call.key} did not end`);
      const isExpected = ['away', 'closed'].includes(call.error?.message);
      if (call.error) assert.ok(isExpected || call.controller.signal.aborted, call.error);
      else {
        assert.ok(
          call.value.version >= call.version,
          `${call.value.version} after ${call.version}`,
        );
        if (call.forceRefresh) assert.ok(call.value.begun > call.begun, 'the loader began before');
      }
    }
    for (const [key, { give }] of this.store.entries) {
      assert.equal(give().version, this.source[key], `the entry of ${key} is old`);
    }
    for (const { owner } of this.store.held.values()) {
      assert.ok(!this.processes.includes(owner), 'a lease is left');
    }
    assert.equal(this.store.held.size, 0);
  }
}

describe('random programs of fetch', () => {
  const clock = fakeClock();

  it(`${RUNS} of them`, async function () {
    this.timeout(600_000);
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const program = new Program(seed, clock);
      try {
        await program.run();
      } catch (error) {
        error.message = `seed ${seed}${program.isSync ? '' : ' by IPC'}: ${error.message}`;
        throw error;
      }
    }
  });
});
