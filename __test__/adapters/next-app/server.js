'use strict';

// Serves the application by workers. Each has a port of its own, so that a test can choose; the primary sends the ports to its parent.

const cluster = require('node:cluster');
const http = require('node:http');

const next = require('next');

const WORKERS = Number(process.env.WORKERS ?? 4);

if (cluster.isPrimary) {
  require('lru-cache-for-clusters-as-promised').init();
  const ports = [];
  cluster.on('message', (worker, { port }) => {
    if (port === undefined) return;
    ports.push(port);
    if (ports.length === WORKERS) process.send({ ports });
  });
  process.on('disconnect', () => process.exit());
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  serve();
}

async function serve() {
  const app = next({ dev: false, dir: __dirname, port: 0, hostname: '127.0.0.1' });
  const handle = app.getRequestHandler();
  await app.prepare();
  const server = http.createServer((request, response) => handle(request, response));
  // A port that is not shared with the other workers.
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
    process.send({ port: server.address().port });
  });
}
