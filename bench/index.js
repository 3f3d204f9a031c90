'use strict';

/** `npm run bench`: see README.md beside this file, or `node bench/index.js --help`. */

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { cases, manyCases, nearCases } = require('./cases');
const { Host } = require('./host');
const { environment, printSection, summarize } = require('./report');

const USAGE = `usage: npm run bench -- [options]
  --only SECTIONS   single, shared, near, nearSingle, many, writer, ipc, memoryShared, memoryIpc, busyShared, busyIpc, blocked
                    (comma-separated; default: all)
  --quick           a short, rough run
  --rounds N        rounds per section, each with new processes
  --package PATH    race an installed copy of this package (its folder) instead of the checkout
  --json FILE       write all figures to FILE
`;

const ORIGINAL = 'lru-cache-for-clusters';
const SMALL_CACHE = { namespace: 'bench', max: 20_000, timeout: 5000, failsafe: 'reject' };

/** One worker whose calls all go by IPC. */
const IPC = { workers: 1, transport: 'ipc', env: { LRU_CACHE_SHARED: '0' } };

/** One worker that calls the cache in shared memory, as by default. */
const SHARED = { workers: 1, transport: 'shared-memory', env: { LRU_CACHE_SHARED: undefined } };

/** What is measured with either transport. */
const CASES = {
  unit: 'µs per call',
  measure: sampleCases,
  inProcess: true,
  rounds: [5, 1],
  samples: [4, 2],
  ms: [200, 80],
};
const MEMORY = {
  unit: 'bytes per entry',
  measure: measureMemory,
  inProcess: true,
  rounds: [3, 1],
  entries: [1_000_000, 100_000],
};
const BUSY = {
  unit: 'µs',
  measure: measureBusy,
  inProcess: true,
  rounds: [5, 1],
  ms: [5000, 2000],
};

/**
 * What is run where. `env`: variables of the processes; `inProcess`: whether `lru-cache` 11 takes part, holding values and
 * holding their JSON; `originals`: whether 1.7.4 and 1.5.24 do;
 * `alone`: whether the original, which could only wait, takes no part; `rounds`, `samples` (per case and round), `ms` (length of one sample), `entries`: a full run's, then a quick run's.
 * Sections of another transport differ in `title`, `transport` and `env` alone.
 */
const sections = {
  single: {
    title: 'Single process',
    unit: 'µs per call',
    measure: sampleCases,
    workers: 0,
    inProcess: true,
    env: {},
    rounds: [5, 1],
    samples: [6, 2],
    ms: [80, 60],
  },
  shared: { title: 'Worker, shared memory', ...CASES, ...SHARED },
  near: {
    title: 'Reads that an in-process lru-cache would answer: a worker, shared memory',
    ...CASES,
    ...SHARED,
    cases: nearCases,
    originals: false,
    rounds: [5, 1],
    samples: [8, 3],
    ms: [60, 40],
  },
  nearSingle: {
    title: 'Reads that an in-process lru-cache would answer: a single process',
    ...CASES,
    cases: nearCases,
    originals: false,
    workers: 0,
    env: {},
    rounds: [5, 1],
    samples: [8, 3],
    ms: [60, 40],
  },
  many: {
    title: 'One, two and four workers at once on one namespace, shared memory',
    ...CASES,
    ...SHARED,
    measure: measureMany,
    cases: manyCases,
    originals: false,
    workers: 4,
  },
  writer: {
    title:
      "A worker's gets beside another that sets the same entries 10,000 times a second, shared memory",
    unit: 'µs',
    measure: measureBesideWriter,
    alone: true,
    ...SHARED,
    workers: 2,
    rounds: [5, 1],
    ms: [3000, 1000],
  },
  ipc: { title: 'Worker, IPC', ...CASES, ...IPC },
  memoryShared: {
    title: 'Memory, entries of a 99-byte JSON set by a worker, shared memory',
    ...MEMORY,
    ...SHARED,
  },
  memoryIpc: {
    title: 'Memory, entries of a 99-byte JSON set by a worker, IPC',
    ...MEMORY,
    ...IPC,
  },
  busyShared: {
    title: "A worker's get while the primary computes 20 ms of every 40, shared memory",
    ...BUSY,
    ...SHARED,
  },
  busyIpc: {
    title: "A worker's get while the primary computes 20 ms of every 40, IPC",
    ...BUSY,
    ...IPC,
  },
  blocked: {
    title: "A worker's gets one after another while the primary computes for 5 s, shared memory",
    unit: 'µs',
    measure: measureBlocked,
    alone: true,
    ...SHARED,
    rounds: [3, 1],
    ms: [5000, 1000],
  },
};

/** Runs `task` for each implementation in turn; who begins moves on by one each time. */
let turn = 0;
async function inTurn(implementations, task) {
  turn += 1;
  for (let n = 0; n < implementations.length; n++) {
    await task(implementations[(turn + n) % implementations.length]);
  }
}

/** Starts one host for each implementation, all idle but the one that runs, and stops them after `task`. */
async function withHosts(race, implementations, options, task) {
  const hosts = new Map();
  try {
    for (const { name, kind, path } of implementations) {
      const { workers, transport } = race.section;
      const spec = { kind, path, options, workers, transport };
      try {
        hosts.set(name, await Host.start(spec, race.section.env));
      } catch (error) {
        race.fail(name, 'start', error);
      }
    }
    await task(hosts);
  } finally {
    for (const host of hosts.values()) await host.stop();
  }
}

/** One round: every case, its samples taken in turn. */
async function sampleCases(race, round) {
  const ms = race.setting('ms');
  const samples = race.setting('samples');
  const to = race.section.workers ? 'worker' : 'primary';
  await withHosts(race, race.implementations, SMALL_CACHE, async (hosts) => {
    for (const [name, { title }] of Object.entries(race.section.cases ?? cases)) {
      for (let n = 0; n < samples; n++) {
        race.progress(`round ${round + 1}, ${title}`);
        await inTurn(race.implementations, (implementation) =>
          race.record(name, title, `${round}.${n}`, implementation.name, hosts, (host) =>
            host.run(to, 'sample', { name, ms }),
          ),
        );
      }
    }
  });
}

/** One round: each implementation is filled and read in processes of its own, alone on the machine. */
async function measureMemory(race, round) {
  const entries = race.setting('entries');
  const options = { namespace: 'bench', max: entries, timeout: 60_000, failsafe: 'reject' };
  await inTurn(race.implementations, (implementation) =>
    withHosts(race, [implementation], options, async (hosts) => {
      race.progress(`round ${round + 1}, ${entries} entries in ${implementation.label}`);
      let used;
      await race.attempt(implementation.name, 'memory', hosts, async (host) => {
        const before = await host.run('primary', 'memory');
        const idle = await host.run('worker', 'memory');
        await host.run('worker', 'fillEntries', { entries });
        await host.run('worker', 'checkEntries', { entries });
        const after = await host.run('primary', 'memory');
        const { own } = await host.run('worker', 'memory');
        const all = (memory) => memory.own + memory.shared;
        used = {
          heap: (after.heap - before.heap) / entries,
          rss: (all(after) - all(before)) / entries,
          shared: (after.shared - before.shared) / entries,
          worker: (own - idle.own) / entries,
        };
      });
      if (!used) return;
      const count = entries.toLocaleString('en');
      const add = (name, title, figure) =>
        race.add(name, `${title}, ${count} entries`, round, implementation.name, figure);
      add('heap', "primary's V8 heap", used.heap);
      add('rss', 'primary and store, resident', used.rss);
      add('shared', 'store in shared memory', used.shared);
      add('worker', "the worker's own memory", used.worker);
    }),
  );
}

/** One round: a worker alone, then two at the same time, then four; of several the slowest counts. */
async function measureMany(race, round) {
  const ms = race.setting('ms');
  await withHosts(race, race.implementations, SMALL_CACHE, async (hosts) => {
    for (const [name, { title }] of Object.entries(race.section.cases)) {
      for (let n = 0; n < race.setting('samples'); n++) {
        race.progress(`round ${round + 1}, ${title}`);
        const pair = `${round}.${n}`;
        await inTurn(race.implementations, (implementation) =>
          race.attempt(implementation.name, title, hosts, async (host) => {
            const add = (row, text, figure) =>
              race.add(`${name} ${row}`, `${title}, ${text}`, pair, implementation.name, figure);
            const slowest = async (count) => {
              const each = Array.from({ length: count }, () => ({ name, ms }));
              return Math.max(...[await host.run('workers', 'sample', { each })].flat());
            };
            const alone = await slowest(1);
            add('alone', 'alone', alone);
            for (const [count, word] of [
              [2, 'two'],
              [4, 'four'],
            ]) {
              const together = await slowest(count);
              add(`${count}`, `${word} at once, the slowest`, together);
              add(
                `speed of ${count}`,
                `${word} at once: speed, where one alone is 1`,
                alone / together,
              );
            }
          }),
        );
      }
    }
  });
}

/** One round: latencies of this package's reads, near and native. */
async function measureBesideWriter(race, round) {
  const ms = race.setting('ms');
  const [ours] = race.implementations;
  await withHosts(race, race.implementations, SMALL_CACHE, async (hosts) => {
    for (const [name, options] of [
      ['get', {}],
      ['get, near: false', { near: false }],
    ]) {
      race.progress(`round ${round + 1}, ${name}`);
      await race.attempt(ours.name, name, hosts, async (host) => {
        const [{ p50, p99 }] = await host.run('workers', undefined, {
          each: [
            { command: 'oneAfterAnother', ms, options },
            { command: 'setSteadily', ms, perSecond: 10_000 },
          ],
        });
        race.add(`${name} p50`, `${name}, median`, round, ours.name, p50);
        race.add(`${name} p99`, `${name}, 99th percentile`, round, ours.name, p99);
      });
    }
  });
}

/** One round: latencies of this package; the original answers nothing for as long as its primary computes. */
async function measureBlocked(race, round) {
  const ms = race.setting('ms');
  const [ours] = race.implementations;
  await withHosts(race, race.implementations, SMALL_CACHE, async (hosts) => {
    race.progress(`round ${round + 1}`);
    await race.attempt(ours.name, 'blocked', hosts, async (host) => {
      const blocked = new Promise((resolve) => {
        host.noted = resolve;
      });
      const measured = host.run('worker', 'oneAfterAnother', { ms });
      await blocked;
      host.child.send({ bench: 'block', ms });
      const { p50, p99 } = await measured;
      race.add('p50', 'get, median', round, ours.name, p50);
      race.add('p99', 'get, 99th percentile', round, ours.name, p99);
    });
  });
}

/** One round: latencies of each implementation in turn. */
async function measureBusy(race, round) {
  const ms = race.setting('ms');
  await withHosts(race, race.implementations, SMALL_CACHE, async (hosts) => {
    await inTurn(race.implementations, async ({ name, label }) => {
      race.progress(`round ${round + 1}, ${label}`);
      await race.attempt(name, 'busy', hosts, async (host) => {
        await host.run('primary', 'busy', { busy: 20, period: 40 });
        const { p50, p99 } = await host.run('worker', 'latencies', { ms });
        await host.run('primary', 'busy', { busy: 0 });
        race.add('p50', 'get, median', round, name, p50);
        race.add('p99', 'get, 99th percentile', round, name, p99);
      });
    });
  });
}

/** Collects the figures of one section. `samples` of a row: name of the implementation → pair → figure. */
class Race {
  constructor(section, implementations, quick) {
    Object.assign(this, { section, implementations, quick, rows: new Map(), failures: [] });
  }

  setting(name) {
    return this.section[name][this.quick ? 1 : 0];
  }

  /** `pair`: figures of the same pair were taken right after one another, and are compared. */
  add(name, title, pair, implementation, figure) {
    if (!this.rows.has(name)) this.rows.set(name, { name, title, samples: {} });
    const { samples } = this.rows.get(name);
    (samples[implementation] ||= {})[pair] = figure;
  }

  fail(implementation, where, error) {
    this.failures.push({ implementation, where, error: error.message.split('\n', 1)[0] });
  }

  /** Runs `task` with the implementation's host; what goes wrong is a failure of that implementation. */
  async attempt(implementation, where, hosts, task) {
    const host = hosts.get(implementation);
    if (!host) return; // its start failed and was recorded
    try {
      await task(host);
    } catch (error) {
      this.fail(implementation, where, error);
    }
  }

  record(name, title, pair, implementation, hosts, task) {
    return this.attempt(implementation, title, hosts, async (host) => {
      this.add(name, title, pair, implementation, await task(host));
    });
  }

  progress(text) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${this.section.title}: ${text}`);
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      package: { type: 'string', default: path.join(__dirname, '..') },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const only = values.only ? values.only.split(',') : Object.keys(sections);
  for (const name of only) {
    if (!Object.hasOwn(sections, name)) throw new Error(`--only: no section '${name}'`);
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
    throw new Error(`--rounds: '${values.rounds}' is not a positive whole number`);
  }
  return { ...values, only, rounds };
}

/** The version in the package.json of `folder`. */
function versionOf(folder) {
  return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).version;
}

/** The original, installed under an alias; a range in package.json could have brought another version. */
function original(version) {
  const file = require.resolve(`${ORIGINAL}-${version}`);
  const installed = versionOf(path.dirname(file));
  if (installed !== version) throw new Error(`${ORIGINAL}-${version} is ${installed}: pin it`);
  return { name: version, label: version, kind: 'shared', path: file };
}

function findImplementations(folder) {
  const ours = path.resolve(folder);
  if (!fs.existsSync(path.join(ours, 'package.json'))) {
    throw new Error(`--package: no package.json in '${folder}'`);
  }
  const version = versionOf(ours);
  return [
    { name: 'ours', label: `this ${version}`, version, kind: 'shared', path: ours },
    original('1.7.4'),
    original('1.5.24'),
    {
      name: 'lru-cache',
      label: 'lru-cache 11',
      kind: 'lru-cache',
      path: require.resolve('lru-cache'),
    },
    {
      name: 'lru-json',
      label: 'lru-cache 11 of JSON',
      kind: 'lru-json',
      path: require.resolve('lru-cache'),
    },
  ];
}

/** Whether an implementation is raced in a section. */
function takesPart({ name, kind }, { inProcess, originals = true, cases: own }) {
  if (kind === 'shared') return originals || name === 'ours';
  return Boolean(inProcess && (own !== undefined || kind === 'lru-cache'));
}

async function main() {
  const options = readOptions();
  if (options.help) return void process.stdout.write(USAGE);
  const implementations = findImplementations(options.package);
  const result = {
    ...environment(),
    quick: options.quick,
    version: implementations[0].version,
    implementations: Object.fromEntries(implementations.map(({ name, label }) => [name, label])),
    sections: [],
  };
  for (const name of options.only) {
    const section = sections[name];
    const entrants = implementations
      .slice(0, section.alone ? 1 : undefined)
      .filter((one) => takesPart(one, section));
    const race = new Race(section, entrants, options.quick);
    const rounds = options.rounds || race.setting('rounds');
    for (let round = 0; round < rounds; round++) await section.measure(race, round);
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    const summary = { name, title: section.title, unit: section.unit, ...summarize(race) };
    result.sections.push(summary);
    printSection(summary, entrants);
    if (options.json) fs.writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  if (result.sections.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
});
