/**
 * Feature flags: every request reads them, and a change counts in all workers at once. With `freeze` a read
 * gives the same frozen object until the flag changes: it costs no copy.
 *
 *   node examples/flags.mts           (Node.js 22.18 or newer, which takes TypeScript as it is)
 *   curl http://127.0.0.1:3000/checkout?user=ann                        the old checkout
 *   curl -X PUT -d '{"percent":50}' http://127.0.0.1:3000/flags/checkout
 *   curl http://127.0.0.1:3000/checkout?user=ann                        the same for Ann from every worker
 *
 * Settings from the environment: PORT (3000).
 */

import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import http from 'node:http';
import { json } from 'node:stream/consumers';
import LRUCache from 'lru-cache-for-clusters-as-promised';

interface Flag {
  /** For how many of a hundred users it is on. */
  readonly percent: number;
}

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);
const OFF: Flag = { percent: 0 };

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/checkout`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  await work();
}

async function work(): Promise<void> {
  const flags = await LRUCache.getInstance<Flag>({
    namespace: 'flags',
    freeze: true,
    timeout: 2000,
  });

  /** Whether a flag is on for a user: the same answer in every worker, and at every time. */
  async function isOn(name: string, user: string): Promise<boolean> {
    const { percent } = (await flags.get(name)) ?? OFF;
    const place = createHash('sha256').update(`${name}:${user}`).digest().readUInt32BE() % 100;
    return place < percent;
  }

  async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    const [, name] = /^\/flags\/(\w+)$/.exec(pathname) ?? [];
    if (name !== undefined && req.method === 'PUT') {
      const { percent } = (await json(req)) as Flag;
      await flags.set(name, { percent: Number(percent) });
      res.writeHead(204).end();
    } else if (name !== undefined) {
      const flag = (await flags.get(name)) ?? OFF;
      res.setHeader('x-frozen', String(Object.isFrozen(flag)));
      res.end(`${JSON.stringify(flag)}\n`);
    } else if (pathname === '/checkout') {
      const isNew = await isOn('checkout', searchParams.get('user') ?? '');
      res.end(`the ${isNew ? 'new' : 'old'} checkout\n`);
    } else {
      res.writeHead(404).end();
    }
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
