'use strict';

/**
 * Loaded by the demo into each worker, beside the server. It counts what the worker does and what
 * caches of the worker's own would have done with the very same requests, and tells the primary
 * when it is asked. The server knows nothing of it: Node itself announces each request.
 */

const diagnostics = require('node:diagnostics_channel');
const { LRUCache: PlainLRU } = require('lru-cache');
const LRUCache = require('../..');
const { askHerd } = require('./herd');
const source = require('../source');

const CACHE_MAX = Number(process.env.CACHE_MAX);
const WORKERS = Number(process.env.WORKERS);

/**
 * A cache of this worker alone, keys only. A key counts as cached from the moment it is missed,
 * without the wait for the source: an error in favour of the per-worker caches, if any.
 */
class ShadowCache {
  constructor(max) {
    this.keys = new PlainLRU({ max });
    this.misses = 0;
  }

  request(key) {
    if (this.keys.get(key)) return;
    this.misses += 1;
    this.keys.set(key, true);
  }

  report() {
    return { misses: this.misses, entries: this.keys.size };
  }
}

const copy = new ShadowCache(CACHE_MAX); // as large as the shared cache
const share = new ShadowCache(Math.floor(CACHE_MAX / WORKERS)); // all workers together as large
let requests = 0;

diagnostics.subscribe('http.server.request.start', ({ request }) => {
  requests += 1;
  copy.request(request.url);
  share.request(request.url);
});

// The cache of the server, which has its settings.
const cache = new LRUCache({ namespace: 'products', timeout: 5000 });

process.on('message', async (message) => {
  if (message?.demo === 'herd?') {
    process.send({ demo: 'herd', calls: await askHerd(message) });
    return;
  }
  if (message?.demo !== 'report?') return;
  const { near, transport } = await cache.stats();
  process.send({
    demo: 'report',
    requests,
    calls: source.stats.calls,
    pending: source.stats.pending,
    copy: copy.report(),
    share: share.report(),
    nearHits: near.hits,
    transport: transport.kind,
    rss: process.memoryUsage.rss(),
  });
});
