'use strict';

/**
 * The herd: many callers want a popular product in the moment in which its entry has run out. Each
 * worker makes its part of the calls, by `get` and `set` or by `fetch`, and counts how often it
 * asks the source.
 */

const LRUCache = require('../..');
const { findProduct, stats } = require('../source');

/** Callers in each worker. */
const CALLERS = 100;

const cache = new LRUCache({ namespace: 'herd', timeout: 5000 });

/** How a program reads through a cache without `fetch`. */
async function byHand(id) {
  const cached = await cache.get(id);
  if (cached !== undefined) return cached;
  const product = await findProduct(id);
  await cache.set(id, product);
  return product;
}

const byFetch = (id) => cache.fetch(id, findProduct);

/** Makes the calls; gives how many of them asked the source. */
async function askHerd({ id, by }) {
  const before = stats.calls;
  const ask = by === 'fetch' ? byFetch : byHand;
  await Promise.all(Array.from({ length: CALLERS }, () => ask(id)));
  return stats.calls - before;
}

module.exports = { CALLERS, askHerd };
