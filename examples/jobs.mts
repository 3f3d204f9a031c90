/**
 * Idempotent jobs: a client that got no answer sends its request again, with the same key, and the
 * card is charged once.
 *
 *   node examples/jobs.mts            (Node.js 22.18 or newer, which takes TypeScript as it is)
 *   curl -i -X POST -H 'idempotency-key: 1' 'http://127.0.0.1:3000/charges?amount=5'
 *   curl -i -X POST -H 'idempotency-key: 1' 'http://127.0.0.1:3000/charges?amount=5'     the same answer
 *   curl http://127.0.0.1:3000/charges                                                   1
 *
 * Settings from the environment: PORT (3000).
 */

import cluster from 'node:cluster';
import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import LRUCache from 'lru-cache-for-clusters-as-promised';

interface Charge {
  number: number;
  amount: number;
}

type Job = { state: 'running' } | { state: 'done'; charge: Charge };

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);
/** Longer than any job takes: after that, a job of a worker that died may be run again. */
const LONGEST_JOB = 60_000;
/** For so long a key counts. */
const DAY = 24 * 60 * 60_000;

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/charges`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  await work();
}

async function work(): Promise<void> {
  const settings = { failsafe: 'reject', timeout: 2000 } as const;
  const jobs = await LRUCache.getInstance<Job>({ namespace: 'jobs', ...settings });
  const charges = await LRUCache.getInstance<number>({ namespace: 'charges', ...settings });

  /** What must not be done twice. */
  async function chargeCard(amount: number): Promise<Charge> {
    await wait(50);
    if (!(amount > 0)) throw new RangeError('an amount is more than 0');
    return { number: await charges.incr('count'), amount };
  }

  async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    if (pathname !== '/charges') {
      res.writeHead(404).end();
      return;
    }
    if (req.method === 'GET') {
      res.end(`${(await charges.get('count')) ?? 0}\n`);
      return;
    }
    const key = req.headers['idempotency-key'];
    if (typeof key !== 'string') {
      res.writeHead(400).end('An idempotency-key is needed\n');
      return;
    }
    // One request is the first, in all workers together, and runs the job.
    if (await jobs.setIfAbsent(key, { state: 'running' }, { ttl: LONGEST_JOB })) {
      try {
        const charge = await chargeCard(Number(searchParams.get('amount')));
        await jobs.set(key, { state: 'done', charge }, { ttl: DAY });
        res.writeHead(201).end(`${JSON.stringify(charge)}\n`);
      } catch (error) {
        // The next request with this key tries again.
        await jobs.delete(key);
        if (!(error instanceof RangeError)) throw error;
        res.writeHead(422).end(`${error.message}\n`);
      }
      return;
    }
    const job = await jobs.get(key);
    if (job?.state === 'done') res.end(`${JSON.stringify(job.charge)}\n`);
    else res.writeHead(409, { 'retry-after': '1' }).end('The job is running\n');
  }

  const server = http.createServer((req, res) => {
    res.setHeader('x-worker', String(cluster.worker?.id));
    answer(req, res).catch((error: unknown) => {
      console.error(error);
      res.writeHead(500).end();
    });
  });
  server.listen(PORT, '127.0.0.1');
}
