'use strict';

/** Starts everything, does what may go wrong, and judges. */

const { fork } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { Proxy, startServer } = require('../../remote/servers');
const { Faults } = require('./faults');
const { Machines } = require('./machines');
const options = require('./options');

const { FAULTS, OPS, ROUNDS, isDurable, isExact, isVerbose } = options;

/** What the server is started with so that it keeps all that it has acknowledged. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** How many faults there are between two checks. */
const FAULTS_A_CHECK = 5;

/** How long no process has been at work before a check, in milliseconds: then what was given up is over. */
const REST = 3000;

/** How long the load runs without faults after a check, in milliseconds. */
const CALM = 2000;

async function run() {
  const server = await startServer(options.SERVER, () => (isDurable ? DURABLE : []));
  const proxies = [];
  for (let left = options.MACHINES.length; left > 0; left -= 1) {
    const proxy = await new Proxy(server.port).start();
    proxy.delay = options.DELAY;
    proxies.push(proxy);
  }
  const script = require.resolve('../remote');
  const database = fork(script, [...process.argv.slice(2), '--role', 'database']);
  const [{ port }] = await once(database, 'message');
  const machines = new Machines(script, proxies, port);
  const faults = new Faults({ server, proxies, machines, database });
  const begun = performance.now();
  const checks = [];
  const check = async () => {
    await machines.all('rest');
    await sleep(REST);
    checks.push(await machines.all('check'));
    if (isVerbose) console.error(`${Math.round(performance.now())} ms: checked`);
  };
  await machines.all('go');
  await sleep(1500);
  for (let round = 1; FAULTS.length > 0 && round <= ROUNDS; round += 1) {
    await faults.next();
    if (round % FAULTS_A_CHECK > 0) continue;
    await check();
    await machines.all('go');
    await sleep(CALM);
  }
  while (machines.ops < OPS) await sleep(50);
  await check();
  const reports = await machines.all('report');
  database.send('report');
  const [loads] = await once(database, 'message');
  const seconds = (performance.now() - begun) / 1000;
  const found = resultOf({ reports, checks, loads, seconds, machines, faults });
  console.log(JSON.stringify(found, undefined, 1));
  machines.end();
  database.kill();
  for (const proxy of proxies) await proxy.remove();
  await server.remove();
  process.exit(found.isGood ? 0 : 1);
}

function resultOf({ reports, checks, loads, seconds, machines, faults }) {
  const sum = (name) => reports.reduce((total, report) => total + report[name], 0);
  const most = (name) => Math.max(...reports.map((report) => report[name] ?? 0));
  const merged = (name) => reports.flatMap((report) => report[name] ?? []);
  const errors = {};
  for (const report of reports) {
    for (const [text, times] of Object.entries(report.errors)) {
      errors[text] = (errors[text] ?? 0) + times;
    }
  }
  const counted = checks.map(countOf).filter(Boolean);
  const bad = [
    ...machines.bad,
    ...loads.bad,
    ...(isExact ? counted.map(({ bad: text }) => text).filter(Boolean) : []),
    ...(isExact ? twice(merged('sums')).map((one) => `${one} was counted twice`) : []),
  ];
  return {
    isGood: bad.length === 0 && sum('late') === 0,
    server: options.SERVER,
    transport: options.TRANSPORT,
    onError: options.ON_ERROR,
    durable: isDurable,
    seconds: Number(seconds.toFixed(1)),
    ops: machines.ops,
    failed: sum('failed'),
    errors,
    faults: faults.counts,
    checks: checks.length,
    bads: bad.length,
    bad: bad.slice(0, 20),
    longest: Math.round(most('longest')),
    late: sum('late'),
    ...(isExact && counted.length > 0 && { counted: counted.at(-1) }),
    delay: spread(merged('delays')),
    fetch: {
      fetches: sum('fetches'),
      longest: Math.round(most('longestFetch')),
      deletions: sum('deletions'),
      ...loads.counts,
    },
    tags: { invalidations: sum('invalidations') },
    flush: { longestSeen: Math.round(most('longestFlushed')) },
    remote: { hits: sum('hits'), pushes: most('pushes') },
  };
}

/** Whether a counter is what was counted. `check`: what each worker has found. */
function countOf(check) {
  const [first, ...rest] = check.map(({ total }) => total);
  if (first === undefined) return undefined;
  const byMachine = new Map(check.map((one) => [one.machine, one]));
  const sum = (name) => [...byMachine.values()].reduce((total, one) => total + one[name], 0);
  const [acknowledged, begun] = [sum('acknowledged'), sum('begun')];
  const isRight = acknowledged <= first && first <= begun && rest.every((one) => one === first);
  return {
    acknowledged,
    unknown: begun - acknowledged,
    total: first,
    ...(!isRight && {
      bad: `counted ${acknowledged} of ${begun}, processes read ${[first, ...rest]}`,
    }),
  };
}

/** What is in a list more than once. */
function twice(list) {
  const sorted = list.sort((a, b) => a - b);
  return sorted.filter((one, at) => one === sorted[at - 1]);
}

function spread(list) {
  const sorted = list.sort((a, b) => a - b);
  const at = (part) => Number(sorted[Math.floor(sorted.length * part)]?.toFixed(2));
  return { samples: sorted.length, median: at(0.5), p99: at(0.99) };
}

module.exports = { run };
