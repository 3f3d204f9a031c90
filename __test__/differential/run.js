'use strict';

/**
 * Makes the same random calls on this package and on 1.7.4, side by side in the same processes, and compares what they
 * give, step by step. It stands alone because it sets the clock of its processes.
 *
 *   node __test__/differential/run.js [--workers N] [--transport KIND] [--transports] [--calls N] [--seed N] [--package DIR] [--all]
 *
 * `--workers` is how many there are beside the primary; `--transport`, `shared-memory` or `ipc`, is what their calls go through.
 * With `--transports` the shared memory is compared with messages, and nothing with the original. `--seed` is that of the first
 * run, the next has the next; `--all` goes on after a difference.
 */

const cluster = require('cluster');
const path = require('path');
const { parseArgs } = require('util');

/** What the time is, for both packages. */
let now = 0;
Date.now = () => now;

const { ENV_OF } = require('../helpers/agents');
const { Comparison, describe } = require('./compare');
const { generate, CALLS, START } = require('./generate');

const { values: options } = parseArgs({
  options: {
    workers: { type: 'string', default: '0' },
    transport: { type: 'string' },
    transports: { type: 'boolean', default: false },
    calls: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    package: { type: 'string', default: path.resolve(__dirname, '../..') },
    all: { type: 'boolean', default: false },
  },
});

const workers = Number(options.workers);
const free = options.transports;
const transport = free ? 'shared-memory' : options.transport;

/** In a worker: another copy of this package, whose calls travel as messages. */
function loadForMessages() {
  for (const file of Object.keys(require.cache)) {
    if (path.dirname(file) === ours || file.startsWith(path.join(ours, 'lib', path.sep))) {
      delete require.cache[file];
    }
  }
  Object.assign(process.env, ENV_OF.ipc);
  return require(ours);
}

const ours = path.resolve(options.package);
const Ours = require(ours);
const packages = { Ours, Original: Ours, transport };
if (!free) packages.Original = require('lru-cache-for-clusters-1.7.4');
else if (cluster.isWorker) packages.Original = loadForMessages();

/** A process's part of the run that is under way. */
class Part {
  begin(seed, attempt) {
    if (this.run?.seed !== seed) this.run = generate(seed, { workers, free });
    this.comparison = new Comparison(packages, this.run, attempt);
  }

  step(indices, time) {
    now = time;
    return this.comparison.step(indices);
  }
}

/** A worker does what the primary tells it, and tells what it found. */
function work() {
  const part = new Part();
  process.on('message', async ({ differential: order }) => {
    if (!order) return;
    if (order.begin) part.begin(...order.begin);
    const difference = order.step && (await part.step(...order.step));
    process.send({ differential: { difference } });
  });
}

class Driver {
  #part = new Part();
  #attempts = 0;

  constructor(workers) {
    this.workers = workers;
  }

  /** Tells a worker, and waits for what it found. */
  #tell(worker, order) {
    return new Promise((resolve, reject) => {
      const gone = () => reject(new Error(`worker ${worker.id} died`));
      const receive = ({ differential: answer }) => {
        if (!answer) return;
        worker.off('message', receive);
        worker.off('exit', gone);
        resolve(answer.difference);
      };
      worker.on('message', receive);
      worker.on('exit', gone);
      worker.send({ differential: order });
    });
  }

  /**
   * Runs some calls of a seed's run, in namespaces of their own.
   *
   * @param {number} seed
   * @param {number[]} [indices] of the calls; all, when not given
   * @returns {Promise<{ run, indices, difference?: string }>} ended by the first difference
   */
  async attempt(seed, indices) {
    this.#attempts += 1;
    const begin = [seed, this.#attempts];
    this.#part.begin(...begin);
    await Promise.all(this.workers.map((worker) => this.#tell(worker, { begin })));
    const { run } = this.#part;
    const chosen = indices ?? run.calls.map((call, index) => index);
    now = START;
    for (let from = 0; from < chosen.length;) {
      let end = from + 1;
      const { actor } = run.calls[chosen[from]];
      while (end < chosen.length && isJoined(run.calls[chosen[end]], actor)) end += 1;
      const step = [chosen.slice(from, end), now + run.calls[chosen[from]].advance];
      now = step[1];
      const difference =
        (actor === 0
          ? await this.#part.step(...step)
          : await this.#tell(this.workers[actor - 1], { step })) ?? this.#part.comparison.state();
      if (difference) return { run, indices: chosen.slice(0, end), difference };
      from = end;
    }
    return { run, indices: chosen };
  }

  /** The fewest calls that still differ, as far as leaving out finds them. */
  async shrink(found) {
    let least = found;
    // Without those that open the namespaces nothing works.
    const first = found.run.calls.findIndex((call) => call.name !== 'open');
    for (let size = least.indices.length >> 1; size > 0; size >>= 1) {
      for (let from = first; from < least.indices.length;) {
        const fewer = least.indices.filter((index, at) => at < from || at >= from + size);
        const attempt = await this.attempt(found.run.seed, fewer);
        if (attempt.difference) least = attempt;
        else from += size;
      }
    }
    return least;
  }
}

function isJoined(call, actor) {
  return call.joined && call.actor === actor;
}

function report({ run, indices, difference }) {
  const calls = indices.map((index) => run.calls[index]);
  const lines = calls.map((call, at) => {
    const actor = call.actor === 0 ? 'primary' : `worker ${call.actor}`;
    const joined = at > 0 && isJoined(call, calls[at - 1].actor);
    const when = joined ? 'with it ' : call.advance === 0 ? '' : `${call.advance} ms later `;
    return `  ${actor}: ${when}${describe(call)}`;
  });
  const mode = free ? ' --transports' : transport ? ` --transport ${transport}` : '';
  const command = `run.js --workers ${workers}${mode} --seed ${run.seed} --calls 1`;
  return (
    `A difference in the run of seed ${run.seed} (${command}):\n` +
    `${lines.join('\n')}\n  differs at ${difference}`
  );
}

async function drive() {
  const forked = Array.from({ length: workers }, () => cluster.fork(ENV_OF[transport]));
  const driver = new Driver(forked);
  const first = Number(options.seed);
  let calls = 0;
  for (let seed = first; calls < Number(options.calls); seed += 1) {
    // For who started this process: a crash says nothing of it.
    process.send?.({ seed });
    const found = await driver.attempt(seed);
    calls += CALLS;
    if (found.difference) {
      process.exitCode = 1;
      console.log(report(await driver.shrink(found)));
      if (!options.all) break;
    }
  }
  const where = `${workers} workers, transport: ${free ? 'each against the other' : transport}`;
  console.log(
    `${calls} calls, ${workers > 0 ? where : 'in a single process'}, seeds from ${first}`,
  );
  for (const worker of forked) worker.kill();
}

if (cluster.isWorker) work();
else drive();
