'use strict';

// Requests a second of four workers with our handlers, and with those of Next.js. Runs alternate; it writes the medians.
//
//   node bench.js      after `node run.js`

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const RUNS = 5;
const SECONDS = 5;
const CONNECTIONS = 32;
const PAGES = 50;
const KINDS = ['page', 'use-cache'];

async function serve(cache, source) {
  const distDir = `.next-${cache}`;
  fs.rmSync(path.join(__dirname, distDir), { recursive: true, force: true });
  fs.cpSync(path.join(__dirname, '.next'), path.join(__dirname, distDir), { recursive: true });
  const env = { CACHE: cache, DIST_DIR: distDir, NODE_ENV: 'production', SOURCE: source };
  const options = {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  };
  const child = fork(path.join(__dirname, 'server.js'), options);
  const [{ ports }] = await once(child, 'message');
  return { child, ports };
}

async function load(ports, kind, seconds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const end = performance.now() + seconds * 1000;
  let count = 0;
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
  return Math.round(count / seconds);
}

async function main() {
  let loads = 0;
  const source = http.createServer((request, response) => {
    loads += 1;
    response.end('1');
  });
  source.listen(0, '127.0.0.1');
  await once(source, 'listening');
  const rates = {};
  for (let run = 0; run < RUNS; run += 1) {
    for (const cache of ['ours', 'default']) {
      const { child, ports } = await serve(cache, `http://127.0.0.1:${source.address().port}`);
      for (const kind of KINDS) {
        loads = 0;
        await load(ports, kind, 2);
        const own = (rates[`${kind}, ${cache}`] ??= { rates: [] }).rates;
        own.push(await load(ports, kind, SECONDS));
        rates[`${kind}, ${cache}`].loads = loads;
      }
      child.disconnect();
      await once(child, 'exit');
    }
  }
  for (const [name, { rates: all, loads: made }] of Object.entries(rates)) {
    all.sort((a, b) => a - b);
    console.log(name, { requestsPerSecond: all[RUNS >> 1], rates: all, loads: made });
  }
  source.close();
}

main();
