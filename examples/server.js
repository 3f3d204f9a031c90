'use strict';

/**
 * A clustered HTTP server whose workers share one cache.
 *
 *   node examples/server.js
 *   curl -i http://127.0.0.1:3000/products/42
 *
 * Ask twice: the second answer says `x-cache: hit`, whichever worker gives it. However many ask at
 * once for a product that is not cached, the source is asked once.
 * Settings from the environment: PORT (3000), WORKERS (4), CACHE_MAX (1000 entries).
 */

const cluster = require('node:cluster');
const http = require('node:http');
// In your project: require('lru-cache-for-clusters-as-promised')
const LRUCache = require('..');
const { findProduct } = require('./source');

const PORT = Number(process.env.PORT ?? 3000);
const WORKERS = Number(process.env.WORKERS ?? 4);
const CACHE_MAX = Number(process.env.CACHE_MAX ?? 1000);

if (cluster.isPrimary) primary();
else worker();

function primary() {
  // Call init() before the first fork: from then on this process answers its workers. On Linux the
  // entries lie in shared memory, and the workers read and write them there; elsewhere they lie in
  // this process, and a worker's call is a message to it.
  LRUCache.init();
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();

  const served = new Set(); // ids of the workers that have listened
  cluster.on('listening', (worker, { address, port }) => {
    served.add(worker.id);
    if (served.size === WORKERS) console.log(`Listening on http://${address}:${port}/products/1`);
  });
  cluster.on('exit', (worker, code, signal) => {
    if (worker.exitedAfterDisconnect) return;
    console.error(`Worker ${worker.id} ended: ${signal ?? `exit code ${code}`}`);
    // A worker that ends removes nothing from the cache, so a new worker finds all entries. A
    // worker that ended before it listened is not replaced: a new one would fail the same way.
    if (served.has(worker.id)) cluster.fork();
    else process.exit(1);
  });
}

async function worker() {
  // Every worker that names the same namespace uses the same entries.
  const cache = await LRUCache.getInstance({
    namespace: 'products',
    max: CACHE_MAX, // entries; the least recently used one goes first
    maxAge: 60_000, // ms; after a minute the entry expires, and the product is read anew
    timeout: 200, // ms; where the cache takes longer, the source is asked
    leaseTimeout: 10_000, // ms; a worker that hangs on the source lets another one try after that
  });

  /** The product as JSON text, and whether the cache had it. `body` is undefined if there is none. */
  async function productJson(id) {
    let from = 'hit';
    // One loader runs at a time for an id, in all workers together. The others wait for it.
    const body = await cache.fetch(id, async () => {
      from = 'miss';
      const product = await findProduct(id);
      return product && JSON.stringify(product); // undefined is not cached
    });
    return { body, from };
  }

  async function answer(req, res) {
    const [, id] = /^\/products\/(\d+)$/.exec(req.url) ?? [];
    const { body, from } = id === undefined ? {} : await productJson(Number(id));
    if (body === undefined) {
      res.writeHead(404).end();
      return;
    }
    res.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'x-cache': from,
    });
    res.end(body);
  }

  const server = http.createServer((req, res) => {
    answer(req, res).catch((error) => {
      console.error(error);
      if (!res.headersSent) res.writeHead(500);
      res.end();
    });
  });
  server.on('error', (error) => {
    console.error(`Cannot listen: ${error.message}`);
    process.exit(1);
  });
  server.listen(PORT, '127.0.0.1'); // the workers share the port; without an address: all interfaces
}
