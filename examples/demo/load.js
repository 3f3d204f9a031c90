'use strict';

/**
 * The load generator, a process of its own: autocannon over keep-alive connections, each of which
 * asks for the next product as soon as it has the last. A few products are asked for often and
 * most of them seldom, as in a shop: product n with a weight of 1/n (Zipf's law).
 *
 *   node examples/demo/load.js PORT SECONDS
 *
 * Forked by the demo it reports each quarter of a second, and ends with it.
 */

const { createHistogram, performance } = require('node:perf_hooks');
const autocannon = require('autocannon');
const { PRODUCTS } = require('../source');

const CONNECTIONS = 32;
const MAX_REQUESTS = 200_000;

const [port, seconds] = process.argv.slice(2).map(Number);

/** cumulated[n]: how often, of all requests, one of the products 1 … n + 1 is asked for (0 … 1). */
const cumulated = new Float64Array(PRODUCTS);
for (let n = 0, sum = 0; n < PRODUCTS; n += 1) cumulated[n] = sum += 1 / (n + 1);
for (let n = 0, total = cumulated[PRODUCTS - 1]; n < PRODUCTS; n += 1) cumulated[n] /= total;

function pickProduct() {
  const wanted = Math.random();
  let low = 0;
  let high = PRODUCTS - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cumulated[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low + 1;
}

// Latencies in microseconds, from the request's first byte to the answer's last.
const latencies = { all: createHistogram(), hit: createHistogram(), miss: createHistogram() };

const startedAt = performance.now();

function report() {
  const figures = (histogram) => ({
    count: histogram.count,
    p50: histogram.percentile(50),
    p95: histogram.percentile(95),
    p99: histogram.percentile(99),
  });
  return {
    seconds: (performance.now() - startedAt) / 1000,
    latencies: {
      all: figures(latencies.all),
      hit: figures(latencies.hit),
      miss: figures(latencies.miss),
    },
  };
}

autocannon(
  {
    url: `http://127.0.0.1:${port}`,
    connections: CONNECTIONS,
    duration: seconds,
    maxOverallRequests: MAX_REQUESTS,
    timeout: 5, // s
    requests: [
      {
        setupRequest(request, context) {
          context.startedAt = performance.now();
          return { ...request, path: `/products/${pickProduct()}` };
        },
        onResponse(status, body, context, headers) {
          const micros = Math.max(1, Math.round((performance.now() - context.startedAt) * 1000));
          latencies.all.record(micros);
          latencies[headers['x-cache']]?.record(micros);
        },
      },
    ],
  },
  (error, result) => {
    if (error) throw error;
    const last = { ...report(), done: true, failed: result.errors + result.non2xx };
    if (process.send) process.send(last, () => process.disconnect());
    else console.log(last);
  },
);

if (process.send) {
  setInterval(() => process.send(report()), 250);
  process.on('disconnect', () => process.exit()); // the demo has ended
}
