'use strict';

// Four workers with our handlers, and with those of Next.js: requests a second, and milliseconds of processor time that a request takes of all
// processes. Runs alternate; it writes the medians. For Linux.
//
//   node bench.js      after `node run.js`

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const RUNS = Number(process.env.RUNS ?? 5);
const SECONDS = 5;
const CONNECTIONS = 32;
const PAGES = 50;
const KINDS = ['page', 'use-cache'];

async function serve(cache, source) {
  const distDir = `.next-${cache}`;
  const directory = path.join(__dirname, 'isr');
  fs.rmSync(path.join(directory, distDir), { recursive: true, force: true });
  fs.cpSync(path.join(directory, '.next'), path.join(directory, distDir), { recursive: true });
  const env = {
    APP: 'isr',
    CACHE: cache,
    DIST_DIR: distDir,
    NODE_ENV: 'production',
    SOURCE: source,
  };
  const options = {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  };
  const child = fork(path.join(__dirname, 'server.js'), options);
  const [{ ports, pids }] = await once(child, 'message');
  return { child, ports, pids };
}

/** The milliseconds of processor time that processes have taken. */
function cpu(pids) {
  let ticks = 0;
  for (const pid of pids) {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  // A tick is 10 ms.
  return ticks * 10;
}

async function load(ports, pids, kind, seconds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const end = performance.now() + seconds * 1000;
  let count = 0;
  const before = cpu(pids);
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async (_, n) => {
      while (performance.now() < end) {
        const port = ports[n % ports.length];
        const url = `/${kind}/p${(n + count) % PAGES}`;
        const request = http.get({ host: '127.0.0.1', port, path: url, agent });
        const [response] = await once(request, 'response');
        if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
        response.resume();
        await once(response, 'end');
        count += 1;
      }
    }),
  );
  agent.destroy();
  return { rate: Math.round(count / seconds), cpu: (cpu(pids) - before) / count };
}

async function main() {
  const source = http.createServer((request, response) => response.end('1'));
  source.keepAliveTimeout = 0;
  source.listen(0, '127.0.0.1');
  await once(source, 'listening');
  const runs = {};
  for (let run = 0; run < RUNS; run += 1) {
    for (const cache of ['ours', 'default']) {
      const address = `http://127.0.0.1:${source.address().port}`;
      const { child, ports, pids } = await serve(cache, address);
      for (const kind of KINDS) {
        await load(ports, pids, kind, 2);
        (runs[`${kind}, ${cache}`] ??= []).push(await load(ports, pids, kind, SECONDS));
      }
      child.disconnect();
      await once(child, 'exit');
    }
  }
  const median = (numbers) => numbers.sort((a, b) => a - b)[RUNS >> 1];
  for (const [name, results] of Object.entries(runs)) {
    console.log(name, {
      requestsPerSecond: median(results.map(({ rate }) => rate)),
      cpuPerRequest: median(results.map((each) => each.cpu)).toFixed(2),
    });
  }
  source.close();
  source.closeAllConnections();
}

main();
