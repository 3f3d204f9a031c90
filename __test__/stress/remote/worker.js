'use strict';

/** A worker of a machine: runs the loads. It makes calls while it is to `go`; it checks and reports while no process is at work. */

const { setTimeout: sleep } = require('node:timers/promises');
const Cache = require('../../..');
const { Floors } = require('./floors');
const { Gate } = require('./gate');
const options = require('./options');
const { Stopwatch } = require('./stopwatch');

const { FAULTS, LOADS, MACHINE, ON_ERROR, TIMEOUT, URL } = options;

const FACTORIES = {
  values: (of) => require('./values').create(of),
  delay: (of) => require('./delay').create(of),
  still: (of) => require('./still').create(of),
  fetch: (of) => require('./fetch').create(of),
  tags: (of) => require('./tags').create(of),
};

/** The codes of errors that calls may have. */
const MAY_FAIL = [
  ...(FAULTS.length > 0 ? ['ETIMEDOUT'] : []),
  ...(FAULTS.length > 0 && ON_ERROR === 'reject' ? ['ERR_REMOTE'] : []),
];

/** How long a machine may take until it is well again, in milliseconds. */
const WELL = 20_000;

/** Opens the cache. A process that is stopped may have the lock. */
async function open(given) {
  for (;;) {
    try {
      return await Cache.getInstance(given);
    } catch (error) {
      if (!MAY_FAIL.includes(error.code)) throw error;
    }
  }
}

async function run() {
  const index = Number(process.env.INDEX);
  const me = `${MACHINE}${index}`;
  const remote = { client: URL, onError: ON_ERROR };
  const common = { timeout: TIMEOUT, failsafe: 'reject' };
  const cache = await open({ ...common, namespace: 'load', remote });
  const seen = new Cache({ namespace: 'seen', timeout: 60_000, failsafe: 'reject', remote: false });
  // At the end of the load the primary may be gone.
  const say = (message) => process.connected && process.send(message, () => {});
  const report = (text) => {
    console.error(`${me} ${text}`);
    say({ bad: `${me} ${text}` });
  };
  const stopwatch = new Stopwatch(report);
  const floors = new Floors(seen, index);
  const tell = (told) => say({ tell: told });
  const of = { cache, seen, index, me, report, stopwatch, floors, tell };
  const names = [
    ...LOADS,
    ...(LOADS.includes('values') && index === 0 ? ['delay'] : []),
    ...(FAULTS.includes('flush') ? ['still'] : []),
  ];
  const loads = await Promise.all(names.map((name) => FACTORIES[name](of)));

  const gate = new Gate(loads.reduce((sum, { loops }) => sum + loops, 0));
  const errors = {};
  let [ops, failed, told] = [0, 0, 0];
  const loop = async ({ step }) => {
    for (;;) {
      await gate.pass();
      ops += 1;
      try {
        await step();
      } catch (error) {
        failed += 1;
        errors[error.message] = (errors[error.message] ?? 0) + 1;
        if (!MAY_FAIL.includes(error.code)) report(error.stack);
      }
      if (ops % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };

  /** While no process is at work, all that is read is what the server has. */
  const check = async () => {
    const due = performance.now() + WELL;
    let result;
    for (;;) {
      try {
        const { state, isReady } = (await cache.stats()).remote;
        if (state !== 'on' || !isReady) throw new Error(`the state is ${state}, ${isReady}`);
        result = { machine: MACHINE };
        for (const load of loads) Object.assign(result, await load.check?.());
        return result;
      } catch (error) {
        if (performance.now() > due) {
          report(`not well after ${WELL} ms: ${error.stack}`);
          return { machine: MACHINE };
        }
        await sleep(100);
      }
    }
  };

  const tasks = {
    go: () => gate.open(),
    rest: () => gate.close(),
    check,
    async report() {
      const { hits, pushes } = (await cache.stats()).remote;
      const { longest, late } = stopwatch;
      const own = { failed, errors, longest, late, hits, pushes };
      return Object.assign(own, ...loads.map((load) => load.report()));
    },
  };
  process.on('message', async (message) => {
    if (message.want !== undefined) {
      const result = await tasks[message.want]();
      say({ did: message.want, result });
    }
    if (message.told !== undefined) floors.told(message.told);
    if (message.flushed !== undefined) for (const load of loads) load.flushed?.(message.flushed);
  });
  process.on('disconnect', () => process.exit());
  setInterval(async () => {
    // A process that is stopped may have the lock.
    const stats = await cache.stats().catch(() => undefined);
    say({ ops: ops - told, isHolder: stats?.remote.isHolder });
    told = ops;
  }, 100).unref();
  // For whoever wonders what a process does.
  process.on('SIGUSR2', () => {
    console.error(me, JSON.stringify({ ops, failed, errors, pending: stopwatch.pending }));
    cache.stats().then(
      (stats) => console.error(me, JSON.stringify(stats.remote)),
      (error) => console.error(me, error.message),
    );
  });
  for (const load of loads) for (let left = load.loops; left > 0; left -= 1) loop(load);
  say({ ready: true });
}

module.exports = { run };
