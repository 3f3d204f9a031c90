'use strict';

/**
 * Pages of a scan: a list of users that is read in parts, each part from any worker, while others write.
 *
 *   node examples/scan.js
 *   curl -X PUT -d Ann http://127.0.0.1:3000/users/1
 *   curl http://127.0.0.1:3000/users?count=10          {"users":{"1":"Ann"}}, and `next`, if there is more
 *
 * Settings from the environment: PORT (3000).
 */

const cluster = require('node:cluster');
const http = require('node:http');
const { text } = require('node:stream/consumers');
const LRUCache = require('lru-cache-for-clusters-as-promised');

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/users`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  work();
}

async function work() {
  const cache = await LRUCache.getInstance({
    namespace: 'users',
    failsafe: 'reject',
    timeout: 2000,
  });

  /** Some of the users, and where the next ones are. A user may come twice; a page may be empty. */
  async function page(query) {
    const count = Number(query.get('count') ?? 100);
    const { keys, cursor } = await cache.scan({
      prefix: 'user:',
      count,
      cursor: query.get('cursor') ?? undefined,
    });
    const names = await cache.getMany(keys);
    // One that was removed since the scan has no name.
    const users = keys
      .map((key, at) => [key.slice('user:'.length), names[at]])
      .filter(([, name]) => name !== undefined);
    const next = cursor && `/users?${new URLSearchParams({ count: String(count), cursor })}`;
    return { users: Object.fromEntries(users), next };
  }

  async function answer(req, res) {
    const { pathname, searchParams } = new URL(req.url, 'http://localhost');
    const [, id] = /^\/users\/(\w+)$/.exec(pathname) ?? [];
    if (id !== undefined && req.method === 'PUT') {
      await cache.set(`user:${id}`, await text(req));
      res.writeHead(204).end();
    } else if (pathname === '/users' && req.method === 'GET') {
      res.end(`${JSON.stringify(await page(searchParams))}\n`);
    } else {
      res.writeHead(404).end();
    }
  }

  const server = http.createServer((req, res) => {
    res.setHeader('x-worker', cluster.worker.id);
    answer(req, res).catch((error) => {
      // A cursor that `scan` did not give, or a count that is none, is the client's mistake.
      const status = error.code === 'ERR_CURSOR' || error.name === 'TypeError' ? 400 : 500;
      if (status === 500) console.error(error);
      res.writeHead(status).end();
    });
  });
  server.listen(PORT, '127.0.0.1');
}
