/**
 * A graceful end: on SIGTERM or Ctrl-C every request that has begun is answered, then `await using` closes
 * the caches, and all processes end by themselves.
 *
 *   node examples/graceful.mts        (Node.js 24 or newer, for `await using`; TypeScript compiles it for older ones)
 *   curl -N http://127.0.0.1:3000/    and Ctrl-C at the server: the rest of the answer still comes
 *
 * Settings from the environment: PORT (3000), DELAY (2000 ms that an answer takes).
 */

import cluster from 'node:cluster';
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import LRUCache from 'lru-cache-for-clusters-as-promised';

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);
const DELAY = Number(process.env.DELAY ?? 2000);
const SETTINGS = { namespace: 'orders', failsafe: 'reject', timeout: 2000 } as const;

await (cluster.isPrimary ? lead() : work());

/** Resolves when the process is to end. A signal that comes again changes nothing. */
function ending(): Promise<unknown> {
  return new Promise((resolve) => {
    process.on('SIGTERM', resolve);
    process.on('SIGINT', resolve);
  });
}

async function lead(): Promise<void> {
  await using orders = await LRUCache.getInstance<number>(SETTINGS);
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/`);
  });
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  const ended = workers.map((worker) => once(worker, 'exit'));
  await ending();
  // A signal that reached the primary alone. Ctrl-C has reached the workers already.
  for (const worker of workers) worker.process.kill('SIGTERM');
  await Promise.all(ended);
  console.log(`Answered ${(await orders.get('answered')) ?? 0} requests`);
}

async function work(): Promise<void> {
  {
    await using orders = await LRUCache.getInstance<number>(SETTINGS);
    let isEnding = false;

    async function answer(res: http.ServerResponse): Promise<void> {
      res.write(`order ${await orders.incr('begun')} begins\n`);
      await wait(DELAY);
      res.end(`order ${await orders.incr('answered')} of those that are done\n`);
    }

    const server = http.createServer((req, res) => {
      res.setHeader('x-worker', String(cluster.worker?.id));
      // A connection that stays open for a next request would keep the process for some seconds.
      res.on('close', () => isEnding && server.closeIdleConnections());
      answer(res).catch((error: unknown) => {
        console.error(error);
        res.destroy();
      });
    });
    server.listen(PORT, '127.0.0.1');
    await ending();
    isEnding = true;
    // Takes no more connections, and waits for the requests that have begun.
    await new Promise((resolve) => server.close(resolve));
  }
  // The cache is closed. Without its channel nothing keeps the process.
  cluster.worker?.disconnect();
}
