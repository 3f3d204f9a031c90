'use strict';

// Microseconds per call of Keyv 5 in a worker, over a `Map` of its own and over the store that all workers share:
// `node __test__/adapters/bench/keyv.js`, after `npm run test:adapters -- install`. The stores take turns; a figure is the median of five rounds.

const cluster = require('node:cluster');
const { Keyv } = require('keyv');
const { KeyvStore } = require('lru-cache-for-clusters-as-promised/keyv');

const ROUNDS = 5;
const CALLS = 20_000;
const KEYS = 1000;

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

async function time(call) {
  const begin = process.hrtime.bigint();
  for (let n = 0; n < CALLS; n += 1) await call(`key-${n % KEYS}`);
  return Number(process.hrtime.bigint() - begin) / 1000 / CALLS;
}

async function main() {
  const value = { name: 'Ada', roles: ['admin', 'editor'], visits: 12 };
  const stores = {
    'a Map, not shared': new Keyv(),
    'this package': new Keyv({ store: new KeyvStore({ max: 10_000 }) }),
  };
  const figures = {};
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, keyv] of Object.entries(stores)) {
      const of = (figures[name] ??= { set: [], get: [] });
      of.set.push(await time((key) => keyv.set(key, value, 600_000)));
      of.get.push(await time((key) => keyv.get(key)));
    }
  }
  console.log('| store | `set` | `get` |\n| --- | --- | --- |');
  for (const [name, { set, get }] of Object.entries(figures)) {
    console.log(`| ${name} | ${median(set).toFixed(1)} µs | ${median(get).toFixed(1)} µs |`);
  }
  cluster.worker.disconnect();
}

if (cluster.isPrimary) cluster.fork();
else main();
