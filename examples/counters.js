'use strict';

/**
 * Counters: votes that all workers count together, and none is lost.
 *
 *   node examples/counters.js
 *   curl -X POST http://127.0.0.1:3000/votes/tea       a vote more
 *   curl -X DELETE http://127.0.0.1:3000/votes/tea     a vote less
 *   curl http://127.0.0.1:3000/votes                   {"tea":0}
 *
 * Settings from the environment: PORT (3000).
 */

const cluster = require('node:cluster');
const http = require('node:http');
const LRUCache = require('lru-cache-for-clusters-as-promised');

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/votes`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  work();
}

async function work() {
  // With 'reject' a call that is not answered in time is an error, and not a counter without a number.
  const counters = await LRUCache.getInstance({
    namespace: 'counters',
    failsafe: 'reject',
    timeout: 2000,
  });

  /** What a request gives; `undefined`: there is nothing under its address. */
  async function answer({ method, url }) {
    if (method === 'GET' && url === '/votes') {
      const votes = await counters.entries({ prefix: 'votes:' });
      return Object.fromEntries(votes.map(([key, count]) => [key.slice('votes:'.length), count]));
    }
    const [, name] = /^\/votes\/(\w+)$/.exec(url) ?? [];
    if (name === undefined) return undefined;
    if (method === 'POST') return counters.incr(`votes:${name}`);
    if (method === 'DELETE') return counters.decr(`votes:${name}`);
    return undefined;
  }

  const server = http.createServer(async (req, res) => {
    try {
      const body = await answer(req);
      res.setHeader('x-worker', cluster.worker.id);
      if (body === undefined) res.writeHead(404).end();
      else res.end(`${JSON.stringify(body)}\n`);
    } catch (error) {
      console.error(error);
      res.writeHead(500).end();
    }
  });
  server.listen(PORT, '127.0.0.1');
}
