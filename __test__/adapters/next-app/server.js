'use strict';

// Serves the application in the directory APP by workers. Each has a port of its own, so that a test can choose; the primary sends the ports
// to its parent, and the ids of the processes.

const cluster = require('node:cluster');
const http = require('node:http');
const path = require('node:path');

const next = require('next');

const WORKERS = Number(process.env.WORKERS ?? 4);

if (cluster.isPrimary) {
  require('lru-cache-for-clusters-as-promised').init();
  const ports = [];
  const pids = [process.pid];
  cluster.on('message', (worker, { port }) => {
    if (port === undefined) return;
    ports.push(port);
    pids.push(worker.process.pid);
    if (ports.length === WORKERS) process.send({ ports, pids });
  });
  process.on('disconnect', () => process.exit());
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  serve();
}

async function serve() {
  const app = next({
    dev: false,
    dir: path.join(__dirname, process.env.APP),
    port: 0,
    hostname: '127.0.0.1',
  });
  const handle = app.getRequestHandler();
  await app.prepare();
  const server = http.createServer((request, response) => handle(request, response));
  // A connection that ends while a request comes would fail a test.
  server.keepAliveTimeout = 0;
  // A port that is not shared with the other workers.
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
    process.send({ port: server.address().port });
  });
}
