'use strict';

// Workers that are killed or stopped while their loader runs, again and again. STRESS=1: 300 kills, 50 stops.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { STRESS, TRANSPORTS, processes, unique } = require('../helpers');

const KILLS = STRESS ? 300 : 5;
const STOPS = STRESS ? 50 : 2;
const LEASE = 300;

// What agents run.

const open = async ({ Cache: Class, state }, options) => {
  state.cache = await Class.getInstance({ timeout: 30_000, ...options });
};

/** Begins a load that never ends. */
const hang = ({ state }, key, options) =>
  new Promise((resolve) => {
    const load = () => {
      resolve(process.pid);
      return new Promise(() => {});
    };
    state.cache.fetch(key, load, options).catch(() => {});
  });

/** Several callers of a key; gives when loaders ran here. */
const follow = async ({ state }, key, options) => {
  const loads = [];
  const load = async () => {
    const begun = Date.now();
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    loads.push([begun, Date.now()]);
    return 'value';
  };
  const calls = Array.from({ length: 10 }, () => state.cache.fetch(key, load, options));
  return { values: await Promise.all(calls), loads };
};

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

for (const transport of TRANSPORTS) {
  describe(`loaders whose process is killed or stopped, transport: ${transport}`, () => {
    const { worker: start } = processes();
    let followers;
    let cache;
    let options;

    before(async () => {
      const namespace = unique('death');
      cache = new Cache({ namespace });
      options = { namespace };
      followers = await Promise.all([start({ transport }), start({ transport })]);
      for (const one of followers) await one.run(open, options);
    });

    /** Ends a loader in mid-load, by `end`; gives how long after that the next one began. */
    async function takeOver(victim, end, given) {
      const key = unique('key');
      const pid = await victim.run(hang, key, given);
      const waiting = followers.map((one) => one.run(follow, key, { hardTimeout: 20_000 }));
      // They wait once the calls behind theirs are answered.
      await Promise.all(followers.map((one) => one.run(({ state }) => state.cache.length())));
      const ended = Date.now();
      end(pid);
      const all = await Promise.all(waiting);
      for (const { values } of all) assert.deepEqual(new Set(values), new Set(['value']));
      const loads = all.flatMap((one) => one.loads);
      assert.equal(loads.length, 1, 'one loader took over');
      assert.equal(await cache.get(key), 'value');
      return loads[0][0] - ended;
    }

    it(`the next one takes over soon, ${KILLS} kills over`, async function () {
      this.timeout(600_000);
      const times = [];
      for (let round = 0; round < KILLS; round += 1) {
        const victim = await start({ transport });
        await victim.run(open, options);
        times.push(await takeOver(victim, (pid) => process.kill(pid, 'SIGKILL')));
        await victim.ended;
      }
      if (STRESS) console.log(`      median ${median(times)} ms, longest ${Math.max(...times)} ms`);
      assert.ok(median(times) < 150, `${times}`);
    });

    it(`of one that is stopped after leaseTimeout, ${STOPS} stops over`, async function () {
      this.timeout(600_000);
      const victim = await start({ transport });
      await victim.run(open, options);
      const times = [];
      for (let round = 0; round < STOPS; round += 1) {
        const stop = (pid) => process.kill(pid, 'SIGSTOP');
        times.push(await takeOver(victim, stop, { leaseTimeout: LEASE }));
        victim.child.kill('SIGCONT');
      }
      // The lease began before the process was stopped.
      assert.ok(median(times) <= LEASE + 150, `${times}`);
      const { fetches } = await cache.stats();
      assert.ok(fetches.loads >= STOPS);
    });
  });
}
