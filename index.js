'use strict';

/** @type {import('cluster').Cluster} */
const cluster = /** @type {any} */ (require('cluster'));
const { clusteredOf, dumpOf } = require('./lib/clustered');
const {
  COUNT_FETCHES,
  DELETE,
  DELETE_MANY,
  GET_TO_UPDATE,
  PURGE_STALE,
  SCAN_ENTRIES,
  SET_TO_UPDATE,
  commands,
  entriesOf,
  varied,
} = require('./lib/commands');
const { define } = require('./lib/define');
const { CODES, REJECTS, makeError } = require('./lib/errors');
const { Fetcher } = require('./lib/fetch/fetcher');
const { memoize, memoizeOn } = require('./lib/fetch/memoize');
const { channels, runObserved } = require('./lib/observe/channels');
const { LRUCache } = require('./lib/store/lru-cache');
const { FORMS, MISS } = require('./lib/store/views');
const { entryList, listOf, readOptions, tagList } = require('./lib/options');
const { stopSharing } = require('./lib/transport/shared-memory');
const { wrap } = require('./lib/wrap');

// A process is a primary or a worker until it ends. It loads the code of its own side only.
const primary = cluster.isWorker ? undefined : require('./lib/transport/caches');
const Client = primary
  ? require('./lib/transport/local-client').LocalClient
  : require('./lib/transport/worker-client').WorkerClient;

/** An instance of each namespace that this process uses: for `stats`. */
const instances = new Map();

const { DECODED, FROZEN, OWN } = FORMS;

/** The `parse` of instances that are given none. */
const parseJson = JSON.parse;

/** A round trip to the store. */
const HEALTH_CHECK = varied(commands.length, {
  name: 'healthCheck',
  wire: 'length',
  unanswered: REJECTS,
});

/** How often `update` begins anew. */
const MOST_UPDATES = 1000;

const nothing = () => undefined;

/** The remote tier of every namespace that is given none, as `init` said. */
let remoteForAll;

/**
 * The client of an instance. The code of the remote tier is loaded where an instance has one.
 *
 * @param {any} read options, as `readOptions` gave them
 * @param {any} remote the option `remote`
 */
function clientOf(read, remote, instance) {
  const chosen = remote ?? remoteForAll ?? process.env.LRU_CACHE_REMOTE;
  if (!chosen) return new Client(read, instance);
  return require('./lib/remote').clientOf(Client, MISS, read, chosen, instance);
}

/** The property of an instance that has its client. */
const CLIENT = Symbol('client');

/** The property of an instance that has its `fetch`. */
const FETCHER = Symbol('fetcher');

/** `fetch` of an instance. */
function fetcherOf(client, options) {
  return new Fetcher(client, options, {
    miss: MISS,
    // What is not counted is no matter of a caller.
    count: (loads, followers, errors, loadTime) =>
      client
        .call(COUNT_FETCHES, loads, followers, errors, Math.round(loadTime * 1000))
        .catch(nothing),
  });
}

/** Makes a call of an instance. */
const run = (instance, command, a, b, c, d) => runObserved(instance[CLIENT], command, a, b, c, d);

/** What near reads know of a list of keys, if they know all of it. Objects are given as `form` says. */
function nearPairs(client, keys, form) {
  try {
    const near = Array.isArray(keys) ? client.near : undefined;
    return near === undefined ? MISS : near.getAll(keys, form);
  } catch {
    // Code of the user threw, such as a trap of a Proxy, or a text is no JSON. The call fails as it does without near reads.
    return MISS;
  }
}

/**
 * Whether an instance parses strings by `JSON.parse`, of what the class's own `method` reads: a subclass may read in another way,
 * a test suite too, and somebody may observe the reads.
 */
function parsesPlainly(instance, method) {
  return (
    instance.parse === parseJson &&
    instance[method] === LRUCacheForClustersAsPromised.prototype[method] &&
    !channels.get.hasSubscribers
  );
}

/** What only the primary has. The message of the error is that of 1.x. */
function requirePrimary() {
  if (primary) return primary;
  throw makeError([
    'Error',
    'LRUCacheForClustersAsPromised.getAllCaches() should only be called from the master thread.',
    CODES.NOT_PRIMARY,
  ]);
}

/**
 * One LRU cache per namespace, which all processes of an application use through Promises. The cache lies in shared
 * memory, in the primary of a cluster, or in this process.
 * `index.d.ts` documents every member.
 */
class LRUCacheForClustersAsPromised {
  constructor(options) {
    const read = readOptions(options);
    this.namespace = read.namespace;
    this.timeout = read.timeout;
    this.failsafe = read.failsafe;
    this.parse = read.parse;
    this.stringify = read.stringify;
    Object.defineProperty(this, CLIENT, { value: clientOf(read, options?.remote, this) });
    Object.defineProperty(this, FETCHER, { value: fetcherOf(this[CLIENT], read.ofFetch) });
    if (!read.error && !instances.has(this.namespace)) instances.set(this.namespace, this);
  }

  static init(options) {
    if (options?.shared === false) stopSharing();
    if (options?.remote !== undefined) remoteForAll = options.remote;
    return true;
  }

  static bootstrap() {}

  static async getInstance(options) {
    const instance = new LRUCacheForClustersAsPromised(options);
    await instance[CLIENT].ready;
    return instance;
  }

  static getAllCaches() {
    return requirePrimary().allCaches();
  }

  static async stats() {
    // The primary has the namespaces of its workers, too.
    const names = new Set([...instances.keys(), ...(primary?.namespaces() ?? [])]);
    const of = (namespace) =>
      instances.get(namespace) ?? new LRUCacheForClustersAsPromised({ namespace, near: false });
    const each = Array.from(names, async (namespace) => [namespace, await of(namespace).stats()]);
    // One that cannot be reached hides no other.
    const settled = await Promise.allSettled(each);
    const found = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    return Object.fromEntries(found);
  }

  async stats() {
    const client = this[CLIENT];
    const shared = await client.call(commands.stats);
    const { namespace } = this;
    const { remoteStats } = client;
    return {
      namespace,
      ...shared,
      near: client.nearStats,
      transport: client.transport(),
      ...(remoteStats && { remote: remoteStats }),
    };
  }

  transport() {
    return this[CLIENT].transport();
  }

  getCache() {
    const { cacheOf } = requirePrimary();
    this[CLIENT].open();
    return cacheOf(this.namespace);
  }

  execute(name, ...args) {
    return this[CLIENT].execute(name, args);
  }

  set(key, value, maxAge) {
    return run(this, commands.set, key, value, maxAge);
  }

  get(key) {
    if (channels.get.hasSubscribers) return run(this, commands.get, key);
    const client = this[CLIENT];
    const { near } = client;
    const value = near === undefined ? MISS : near.get(key, client.freezes);
    return value === MISS ? client.call(commands.get, key) : Promise.resolve(value);
  }

  async setObject(key, value, maxAge) {
    return this.set(key, this.stringify(value), maxAge);
  }

  async getObject(key) {
    const near = parsesPlainly(this, 'get') ? this[CLIENT].near : undefined;
    const object = near === undefined ? MISS : near.getParsed(key);
    if (object !== MISS) return object;
    const value = await this.get(key);
    return value ? this.parse(value) : undefined;
  }

  del(key) {
    return run(this, commands.del, key);
  }

  delete(key) {
    return run(this, DELETE, [key]);
  }

  mGet(keys) {
    if (channels.get.hasSubscribers) return run(this, commands.mGet, keys);
    const client = this[CLIENT];
    const pairs = nearPairs(client, keys, client.freezes ? FROZEN : OWN);
    return pairs === MISS ? client.call(commands.mGet, keys) : Promise.resolve(pairs);
  }

  mSet(pairs, maxAge) {
    return run(this, commands.mSet, pairs, maxAge);
  }

  async mGetObjects(keys) {
    const near = parsesPlainly(this, 'mGet') ? nearPairs(this[CLIENT], keys, DECODED) : MISS;
    if (near !== MISS) return near;
    const pairs = await this.mGet(keys);
    const objects = {};
    for (const [key, text] of entriesOf(pairs)) {
      if (text !== undefined) define(objects, key, this.parse(text));
    }
    return objects;
  }

  async mSetObjects(pairs, maxAge) {
    const entries = entriesOf(pairs);
    return this.mSet(
      entries.map(([key, value, ...own]) => [key, this.stringify(value), ...own]),
      maxAge,
    );
  }

  mDel(keys) {
    return run(this, commands.mDel, keys);
  }

  async mDelete(keys) {
    await run(this, DELETE_MANY, listOf('mDelete', keys));
  }

  peek(key) {
    const client = this[CLIENT];
    const { near } = client;
    const value = near === undefined ? MISS : near.peek(key, client.freezes);
    return value === MISS ? client.call(commands.peek, key) : Promise.resolve(value);
  }

  has(key) {
    const client = this[CLIENT];
    return client.near?.has(key) ? Promise.resolve(true) : client.call(commands.has, key);
  }

  incr(key, amount, maxAge) {
    return run(this, commands.incr, key, amount, maxAge);
  }

  decr(key, amount, maxAge) {
    return run(this, commands.decr, key, amount, maxAge);
  }

  get ready() {
    return this[CLIENT].ready.then(nothing, nothing);
  }

  async healthCheck() {
    await this[CLIENT].call(HEALTH_CHECK);
    return true;
  }

  setIfAbsent(key, value, options) {
    return run(this, commands.setIfAbsent, key, value, options);
  }

  getEntry(key) {
    return run(this, commands.getEntry, key);
  }

  compareAndSet(key, version, value, options) {
    return run(this, commands.compareAndSet, key, version, value, options);
  }

  compareAndDelete(key, version) {
    return run(this, commands.compareAndDelete, key, version);
  }

  async update(key, fn, options) {
    if (typeof fn !== 'function') {
      throw makeError(['TypeError', 'update needs a function', CODES.INVALID_ARG_TYPE]);
    }
    for (let times = 0; times < MOST_UPDATES; times += 1) {
      const entry = await run(this, GET_TO_UPDATE, key);
      const value = await fn(entry?.value);
      if (value === undefined) return entry?.value;
      const version = entry?.version ?? 0;
      const stored = await run(this, SET_TO_UPDATE, key, version, value, options);
      if (stored !== false) return stored ? value : undefined;
    }
    throw makeError([
      'Error',
      `update was overtaken by other changes ${MOST_UPDATES} times`,
      CODES.CONFLICT,
    ]);
  }

  getAndDelete(key) {
    return run(this, commands.getAndDelete, key);
  }

  touch(key, maxAge) {
    return this[CLIENT].call(commands.touch, key, maxAge);
  }

  getRemainingTTL(key) {
    return this[CLIENT].call(commands.getRemainingTTL, key);
  }

  hit(key, window, options) {
    return run(this, commands.hit, key, window, options);
  }

  async getMany(keys) {
    return run(this, commands.getMany, listOf('getMany', keys));
  }

  async hasMany(keys) {
    return this[CLIENT].call(commands.hasMany, listOf('hasMany', keys));
  }

  async deleteMany(keys) {
    return run(this, commands.deleteMany, listOf('deleteMany', keys));
  }

  deletePrefix(prefix) {
    return run(this, commands.deletePrefix, prefix);
  }

  scan(options) {
    return this[CLIENT].call(commands.scan, options);
  }

  entries(options) {
    return this[CLIENT].call(commands.entries, options);
  }

  async *[Symbol.asyncIterator]() {
    let cursor;
    do {
      const part = await this[CLIENT].call(SCAN_ENTRIES, { cursor });
      yield* part.entries;
      ({ cursor } = part);
    } while (cursor !== undefined);
  }

  async setMany(entries, options) {
    return run(this, commands.setMany, entryList('setMany', entries), options);
  }

  fetch(key, loader, options) {
    return this[FETCHER].fetch(key, loader, options);
  }

  memoize(fn, options) {
    return memoizeOn(this, fn, options);
  }

  async close() {
    const client = this[CLIENT];
    const error = makeError(['Error', 'the cache was closed', CODES.CLOSED]);
    this[FETCHER].close(error);
    const released = client.leases.close();
    client.refuse(error);
    await released;
  }

  async invalidateTags(tags) {
    return run(this, commands.invalidateTags, tagList('invalidateTags', tags));
  }

  destroy() {
    return this[CLIENT].destroy();
  }

  reset() {
    return run(this, commands.reset);
  }

  clear(options) {
    const client = this[CLIENT];
    return options?.local === true && client.clearLocal ? client.clearLocal() : this.reset();
  }

  keys(options) {
    return this[CLIENT].call(commands.keys, options);
  }

  values() {
    return this[CLIENT].call(commands.values);
  }

  dump() {
    return this[CLIENT].call(commands.dump);
  }

  async load(entries) {
    return this[CLIENT].call(commands.load, dumpOf(entries));
  }

  prune() {
    return this[CLIENT].call(commands.prune);
  }

  purgeStale() {
    return this[CLIENT].call(PURGE_STALE);
  }

  size() {
    return this[CLIENT].call(commands.length);
  }

  length() {
    return this[CLIENT].call(commands.length);
  }

  itemCount() {
    return this[CLIENT].call(commands.itemCount);
  }

  stale(stale) {
    return this.allowStale(stale);
  }

  allowStale(stale) {
    return this[CLIENT].call(commands.allowStale, stale);
  }

  max(max) {
    return run(this, commands.max, max);
  }

  maxSize(maxSize) {
    return run(this, commands.maxSize, maxSize);
  }

  maxAge(maxAge) {
    return this[CLIENT].call(commands.maxAge, maxAge);
  }

  ttl(ttl) {
    return this.maxAge(ttl);
  }
}

// Node.js 20 has the symbol from 20.5 on.
if (Symbol.asyncDispose) {
  Object.defineProperty(LRUCacheForClustersAsPromised.prototype, Symbol.asyncDispose, {
    value: function dispose() {
      return this.close();
    },
    configurable: true,
    writable: true,
  });
}

if (primary) require('./lib/transport/server').listen();

// Without a type: the checker takes the statics below for a second declaration.
module.exports = /** @type {any} */ (LRUCacheForClustersAsPromised);
module.exports.default = LRUCacheForClustersAsPromised;
module.exports.LRUCacheForClustersAsPromised = LRUCacheForClustersAsPromised;
module.exports.LRUCacheClustered = clusteredOf(
  LRUCacheForClustersAsPromised,
  (instance) => instance[CLIENT],
);
module.exports.LRUCache = LRUCache;
module.exports.memoize = memoize;
module.exports.wrap = wrap;
// The statics are there as the class's own; said again, they are found by `import { init } from …` as well.
module.exports.init = LRUCacheForClustersAsPromised.init;
module.exports.bootstrap = LRUCacheForClustersAsPromised.bootstrap;
module.exports.getInstance = LRUCacheForClustersAsPromised.getInstance;
module.exports.getAllCaches = LRUCacheForClustersAsPromised.getAllCaches;
module.exports.stats = LRUCacheForClustersAsPromised.stats;
