/**
 * Sessions that every worker knows. A session ends 30 minutes after its last use.
 *
 *   node examples/sessions.mts        (Node.js 22.18 or newer, which takes TypeScript as it is)
 *   curl -i -c jar -X POST 'http://127.0.0.1:3000/login?name=Ann'
 *   curl -b jar -X POST 'http://127.0.0.1:3000/cart?item=tea'
 *   curl -b jar http://127.0.0.1:3000/
 *   curl -b jar -X POST http://127.0.0.1:3000/logout
 *
 * Settings from the environment: PORT (3000).
 */

import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import LRUCache from 'lru-cache-for-clusters-as-promised';

interface Session {
  name: string;
  cart: string[];
}

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  await work();
}

async function work(): Promise<void> {
  const sessions = await LRUCache.getInstance<Session>({
    namespace: 'sessions',
    maxAge: 30 * 60_000,
    prune: '0 * * * * *',
    failsafe: 'reject',
    timeout: 2000,
  });

  async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    const [, id = ''] = /\bsid=([\w-]+)/.exec(req.headers.cookie ?? '') ?? [];

    if (pathname === '/login' && req.method === 'POST') {
      const created = randomBytes(24).toString('base64url');
      await sessions.set(created, { name: searchParams.get('name') ?? 'nobody', cart: [] });
      res.setHeader('set-cookie', `sid=${created}; HttpOnly; SameSite=Lax; Path=/`);
      res.writeHead(204).end();
    } else if (pathname === '/logout' && req.method === 'POST') {
      await sessions.delete(id);
      res.setHeader('set-cookie', 'sid=; Max-Age=0; Path=/');
      res.writeHead(204).end();
    } else if (pathname === '/cart' && req.method === 'POST') {
      const item = searchParams.get('item') ?? 'nothing';
      // Two requests of one session may come at the same time, to two workers: no item is lost.
      const session = await sessions.update(
        id,
        (current) => current && { ...current, cart: [...current.cart, item] },
      );
      show(res, session);
    } else if (pathname === '/') {
      const session = await sessions.get(id);
      await sessions.touch(id); // its 30 minutes begin anew
      show(res, session);
    } else {
      res.writeHead(404).end();
    }
  }

  function show(res: http.ServerResponse, session: Session | undefined): void {
    if (session) res.end(`${JSON.stringify(session)}\n`);
    else res.writeHead(401).end('Log in first\n');
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
