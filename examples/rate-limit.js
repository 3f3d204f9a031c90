'use strict';

/**
 * A rate limit: each client may make 10 requests a minute, whichever worker gets them.
 *
 *   node examples/rate-limit.js
 *   curl -i http://127.0.0.1:3000/            twelve times: the last two get 429
 *   curl -i -H 'x-api-key: ann' http://127.0.0.1:3000/
 *
 * Settings from the environment: PORT (3000), LIMIT (10 requests), WINDOW (60 seconds).
 */

const cluster = require('node:cluster');
const http = require('node:http');
const LRUCache = require('lru-cache-for-clusters-as-promised');

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);
const LIMIT = Number(process.env.LIMIT ?? 10);
const WINDOW = Number(process.env.WINDOW ?? 60) * 1000;

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  work();
}

async function work() {
  // No `max`: an evicted counter would begin anew. Windows that are over are removed every minute.
  const hits = await LRUCache.getInstance({
    namespace: 'rate-limit',
    prune: '0 * * * * *',
    timeout: 2000,
  });

  async function answer(req, res) {
    const client = req.headers['x-api-key'] ?? req.socket.remoteAddress;
    // One step for all workers: no two requests get the same count.
    const { count, resetIn } = await hits.hit(client, WINDOW);
    res.setHeader('x-worker', cluster.worker.id);
    res.setHeader('ratelimit-limit', LIMIT);
    res.setHeader('ratelimit-remaining', Math.max(0, LIMIT - count));
    res.setHeader('ratelimit-reset', Math.ceil(resetIn / 1000));
    if (count > LIMIT) {
      res.setHeader('retry-after', Math.ceil(resetIn / 1000));
      res.writeHead(429).end('Too many requests\n');
    } else {
      res.end('Hello\n');
    }
  }

  const server = http.createServer((req, res) => {
    answer(req, res).catch((error) => {
      // The cache did not answer in time. Decide for yourself whether such a request may pass.
      console.error(error);
      res.writeHead(503).end();
    });
  });
  server.listen(PORT, '127.0.0.1');
}
