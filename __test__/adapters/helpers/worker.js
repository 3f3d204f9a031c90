'use strict';

// A worker that makes calls on adapters, as helpers/spread.js sends them.

const name = 'lru-cache-for-clusters-as-promised';

const make = {
  keyv: (options) => new (require(`${name}/keyv`).KeyvStore)(options),
  keyv6: (options) => new (require(`${name}/keyv`).Keyv6Store)(options),
  unstorage: (options) => require(`${name}/unstorage`).lruCacheDriver(options),
  bentocache: ({ path: [prefix, ...names], ...options }) => {
    const driver = require(`${name}/bentocache`).lruCacheDriver(options).factory({ prefix });
    return names.reduce((parent, one) => parent.namespace(one), driver);
  },
};

const known = new Map();

function adapterOf(kind, options) {
  const id = JSON.stringify([kind, options]);
  if (!known.has(id)) known.set(id, make[kind](options));
  return known.get(id);
}

async function collect(iterable) {
  const all = [];
  for await (const one of iterable) all.push(one);
  return all;
}

process.on('message', async ({ spread, kind, options, namespace, method, args }) => {
  if (spread === undefined) return;
  try {
    const adapter = adapterOf(kind, options);
    // A store of Keyv: its namespace is that of the caller's Keyv.
    if (kind.startsWith('keyv')) adapter.namespace = namespace;
    let value = adapter[method](...args);
    value = value?.[Symbol.asyncIterator] ? await collect(value) : await value;
    process.send({ spread, value });
  } catch (error) {
    process.send({ spread, error });
  }
});
