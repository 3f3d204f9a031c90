// Every call, option and static, as code under `strict` sees them.
import Cache, { LRUCache, memoize } from 'lru-cache-for-clusters-as-promised';
import type {
  Commands,
  Done,
  DumpEntry,
  Entry,
  Hit,
  HitOptions,
  PrefixOptions,
  ScanOptions,
  Scanned,
  InitOptions,
  RemoteClient,
  RemoteOptions,
  SetOptions,
  AgeOptions,
  Key,
  EntryInfo,
  EntryToSet,
  FetchDefaults,
  FetchOptions,
  FetchStatus,
  LRUCacheOptions,
  LoaderContext,
  Memoized,
  Options,
  Pairs as PairsOf,
  ReadOptions,
  SharedStats,
  Stats,
  TimeoutError,
  Transport,
} from 'lru-cache-for-clusters-as-promised';
import { metrics, register } from 'lru-cache-for-clusters-as-promised/prometheus';
import { instrument } from 'lru-cache-for-clusters-as-promised/opentelemetry';
import { exact } from './assert.js';

interface User {
  name: string;
}
declare const user: User;
declare const text: string;
/** All members of a type, written out. */
type Members<T> = { [K in keyof T]: T[K] };

// --- options -------------------------------------------------------------------------------------------------------
exact<{
  namespace?: string | undefined;
  timeout?: number | undefined;
  failsafe?: 'resolve' | 'reject' | undefined;
  max?: number | undefined;
  maxSize?: number | undefined;
  maxEntrySize?: number | undefined;
  maxAge?: number | undefined;
  ttl?: number | undefined;
  stale?: boolean | undefined;
  allowStale?: boolean | undefined;
  prune?: false | string | undefined;
  parse?: ((stored: any) => any) | undefined;
  stringify?: ((value: any) => any) | undefined;
  serialization?: 'json' | 'advanced' | undefined;
  near?: number | boolean | undefined;
  freeze?: boolean | undefined;
  remote?: RemoteOptions | RemoteClient | string | false | undefined;
  fetchMethod?: ((key: any, staleValue: any, context: LoaderContext) => any) | undefined;
  staleWhileRevalidate?: number | undefined;
  staleIfError?: number | undefined;
  refreshAfter?: number | undefined;
  refreshBackoff?: number | undefined;
  negativeTtl?: number | undefined;
  errorTtl?: number | undefined;
  onError?: 'throw' | 'retry' | undefined;
  softTimeout?: number | undefined;
  hardTimeout?: number | undefined;
  leaseTimeout?: number | undefined;
}>()({} as Members<Options>);
// undefined leaves an option as it is, also under exactOptionalPropertyTypes
new Cache<User>({} as Record<keyof Options, undefined>);
new Cache<User>();
new Cache<User>({});
new Cache<User>({ parse: JSON.parse, stringify: JSON.stringify });
new Cache<User>({ near: 64 * 1024 * 1024, freeze: true });
new Cache<User>({ near: false });
new Cache<User>({ remote: 'redis://127.0.0.1:6379' });
new Cache<User>({
  remote: { client: { url: 'redis://127.0.0.1' }, prefix: 'a:', ttl: 5, onError: 'reject' },
});
new Cache<User>({ remote: { client: { sentinelRootNodes: [], name: 'a' } } });
new Cache<User>({ remote: { client: { host: '127.0.0.1', tls: {} } } });
declare const client: { duplicate(): void; sendCommand(): void };
new Cache<User>({ remote: { client } });
new Cache<User>({ remote: client });
declare const cluster: { duplicate(): void; sendCommand(): void; slots: unknown[] };
declare const pool: { sendCommand(): void };
declare const sentinel: { duplicate(): void; sendCommand(): void; getSentinelNode(): void };
// @ts-expect-error a cluster
new Cache<User>({ remote: { client: cluster } });
// @ts-expect-error options of a cluster
new Cache<User>({ remote: { client: { rootNodes: [] } } });
// @ts-expect-error a pool
new Cache<User>({ remote: { client: pool } });
// @ts-expect-error a client of sentinels
new Cache<User>({ remote: { client: sentinel } });
new Cache<User>({ remote: false });
// @ts-expect-error
new Cache<User>({ remote: { client: 'redis://127.0.0.1', onError: 'never' } });
Cache.init({ remote: { client: 'redis://127.0.0.1' } });
const clearedHere: Promise<void> = new Cache<User>().clear({ local: true });
void clearedHere;
// @ts-expect-error
new Cache<User>({ near: '8' });
// @ts-expect-error
new Cache<User>({ freeze: 1 });
// @ts-expect-error
new Cache<User>({ maxage: 50 });
// @ts-expect-error
new Cache<User>('users');

// --- statics -------------------------------------------------------------------------------------------------------
exact<(options?: InitOptions) => true>()(Cache.init);
exact<{
  remote?: RemoteOptions | RemoteClient | string | false | undefined;
  shared?: boolean | undefined;
}>()({} as Members<InitOptions>);
Cache.init({ shared: false });
// @ts-expect-error
Cache.init({ share: false });
exact<() => Record<string, LRUCache>>()(Cache.getAllCaches);
exact<() => Promise<Record<string, Stats>>>()(Cache.stats);
exact<() => Promise<Stats>>()(new Cache().stats);
exact<() => SharedStats>()(new LRUCache().stats);
exact<number>()(({} as Stats).hits);
exact<Transport>()(({} as Stats).transport);
exact<Promise<Cache<User>>>()(Cache.getInstance<User>({ max: 50 }));
exact<Promise<Cache<User, string, number, boolean>>>()(
  Cache.getInstance<User, string, number, boolean>(),
);
exact<Promise<Cache>>()(Cache.getInstance());
// @ts-expect-error
Cache.getInstance({ max: '50' });

// --- the value type ------------------------------------------------------------------------------------------------
declare const users: Cache<User>;
declare const untyped: Cache;
declare const four: Members<Cache<User, string, number, Date>>;
exact<Members<Cache<User | string | number | Date>>>()(four);

async function values() {
  exact<any>()(await untyped.get('k'));
  await untyped.set('k', user);
  const name: string = (await untyped.get('k')).name;
  const typed: Cache<User> = new Cache();
  const opened: Cache<User> = await Cache.getInstance();
  const anyCache: Cache = users;
  // @ts-expect-error
  const others: Cache<Date> = users;
  // @ts-expect-error
  (await users.get('k')).name;
  // @ts-expect-error
  (await users.mGet(['k'])).k.name;
  // @ts-expect-error
  await users.set('k', 'not a user');
  // @ts-expect-error
  await users.set('k', { name: 'n', age: 1 });
  // @ts-expect-error
  await users.set(new Date(), user);
  return [name, typed, opened, anyCache, others];
}

// --- calls ---------------------------------------------------------------------------------------------------------
type Users = { [key: string]: User | undefined };
type Pairs = PairsOf<User>;

exact<string | number | bigint | boolean | null | undefined>()({} as Key);
exact<(key: Key, value: User, maxAge?: number | SetOptions) => Promise<boolean>>()(users.set);
exact<(key: Key, options?: ReadOptions) => Promise<User | undefined>>()(users.get);
exact<(key: Key, value: User, maxAge?: number | SetOptions) => Promise<boolean>>()(users.setObject);
exact<(key: Key) => Promise<User | undefined>>()(users.getObject);
exact<(key: Key) => Promise<void>>()(users.del);
exact<(keys: readonly Key[]) => Promise<Users>>()(users.mGet);
exact<(pairs: Pairs, maxAge?: number | SetOptions) => Promise<Done>>()(users.mSet);
exact<(keys: readonly Key[]) => Promise<Users>>()(users.mGetObjects);
exact<(pairs: Pairs, maxAge?: number | SetOptions) => Promise<Done>>()(users.mSetObjects);
exact<(keys: readonly Key[]) => Promise<Done>>()(users.mDel);
exact<(key: Key, value: User, options?: number | SetOptions) => Promise<boolean>>()(
  users.setIfAbsent,
);
exact<(key: Key) => Promise<User | undefined>>()(users.getAndDelete);
exact<(key: Key) => Promise<EntryInfo<User> | undefined>>()(users.getEntry);
exact<
  (key: Key, version: number, value: User, options?: number | SetOptions) => Promise<boolean>
>()(users.compareAndSet);
exact<(key: Key, version: number) => Promise<boolean>>()(users.compareAndDelete);
exact<
  (
    key: Key,
    fn: (current: User | undefined) => User | undefined | Promise<User | undefined>,
    options?: number | SetOptions,
  ) => Promise<User | undefined>
>()(users.update);
exact<(entries: Iterable<EntryToSet<User>>, options?: number | SetOptions) => Promise<boolean[]>>()(
  users.setMany,
);
exact<() => Promise<void>>()(users.close);
void users.setMany(new Map([['k', user]]), { ttl: 5, noUpdateTTL: true });
void users.hit('k', 5, { limit: 1, whenOver: 'double' });
// @ts-expect-error
void users.hit('k', 5, { limit: 1, whenOver: 'treble' });
exact<(key: Key, maxAge?: number | AgeOptions) => Promise<boolean>>()(users.touch);
// @ts-expect-error
void users.touch('k', { tags: 'a' });
exact<(tags: string | Iterable<string>) => Promise<void>>()(users.invalidateTags);
// @ts-expect-error
void users.invalidateTags([1]);
void users.set('k', user, { tags: ['a', 'b'], ttl: 1 });
exact<(key: Key) => Promise<number>>()(users.getRemainingTTL);
exact<(key: Key, window: number, options?: HitOptions) => Promise<Hit>>()(users.hit);
exact<(keys: Iterable<Key>) => Promise<Array<User | undefined>>>()(users.getMany);
exact<(keys: Iterable<Key>) => Promise<boolean[]>>()(users.hasMany);
exact<(keys: Iterable<Key>) => Promise<boolean[]>>()(users.deleteMany);
exact<Promise<void>>()(users.ready);
exact<() => Promise<true>>()(users.healthCheck);
// @ts-expect-error
void users.hit('k');
// @ts-expect-error
void users.setIfAbsent('k', user, { tll: 1 });
exact<(key: Key, options?: ReadOptions) => Promise<User | undefined>>()(users.peek);
exact<(key: Key, options?: ReadOptions) => Promise<boolean>>()(users.has);
exact<(key: Key, amount?: number, maxAge?: number | SetOptions) => Promise<number>>()(users.incr);
exact<(key: Key, amount?: number, maxAge?: number | SetOptions) => Promise<number>>()(users.decr);
exact<() => Promise<void>>()(users.reset);
exact<<K extends Key = string>(options?: PrefixOptions) => Promise<K[]>>()(users.keys);
exact<(prefix: string) => Promise<number>>()(users.deletePrefix);
exact<<K extends Key = string>(options?: ScanOptions) => Promise<Scanned<K>>>()(users.scan);
exact<<K extends Key = string>(options?: PrefixOptions) => Promise<Array<[key: K, value: User]>>>()(
  users.entries,
);
exact<() => AsyncIterableIterator<[key: Key, value: User]>>()(users[Symbol.asyncIterator]);
exact<Promise<Array<[string, User]>>>()(users.entries({ prefix: 'u' }));
void users.scan({ cursor: 'c', count: 5 });
// @ts-expect-error
void users.scan({ cursr: 'c' });
exact<Promise<string[]>>()(users.keys());
exact<Promise<Array<string | number>>>()(users.keys<string | number>());
exact<() => Promise<User[]>>()(users.values);
exact<() => Promise<Array<DumpEntry<User>>>>()(users.dump);
exact<() => Promise<void>>()(users.prune);
exact<() => Promise<number>>()(users.length);
exact<() => Promise<number>>()(users.itemCount);
exact<(stale?: boolean) => Promise<boolean>>()(users.stale);
exact<(stale?: boolean) => Promise<boolean>>()(users.allowStale);
exact<(max?: number) => Promise<number>>()(users.max);
exact<(maxSize?: number) => Promise<number>>()(users.maxSize);
exact<(maxAge?: number) => Promise<number>>()(users.maxAge);
// literal arrays, tuples and frozen arrays are all lists of keys
users.mGet(['k', 1]);
users.mGet(['k', 1] as const);
// @ts-expect-error
users.mGet('k');
// @ts-expect-error
users.mSet(null);

// --- execute -------------------------------------------------------------------------------------------------------
exact<{
  set: (key: Key, value: User, maxAge?: number | SetOptions) => boolean;
  get: (key: Key) => User | undefined;
  peek: (key: Key) => User | undefined;
  has: (key: Key) => boolean;
  del: (key: Key) => void;
  invalidateTags: (tags: string | Iterable<string>) => void;
  reset: () => void;
  keys: (options?: PrefixOptions) => Key[];
  deletePrefix: (prefix: string) => number;
  scan: (options?: ScanOptions) => Scanned;
  entries: (options?: PrefixOptions) => Array<[key: Key, value: User]>;
  values: () => User[];
  dump: () => Array<DumpEntry<User>>;
  load: (entries: ReadonlyArray<DumpEntry<User>>) => void;
  pop: () => Entry<User> | null;
  prune: () => void;
  mSet: (pairs: Pairs, maxAge?: number | SetOptions) => true;
  mGet: (keys: readonly Key[]) => Users;
  mDel: (keys: readonly Key[]) => true;
  setIfAbsent: (key: Key, value: User, options?: number | SetOptions) => boolean;
  getEntry: (key: Key) => EntryInfo<User> | undefined;
  compareAndSet: (key: Key, version: number, value: User, options?: number | SetOptions) => boolean;
  compareAndDelete: (key: Key, version: number) => boolean;
  setMany: (entries: Iterable<EntryToSet<User>>, options?: number | SetOptions) => boolean[];
  getAndDelete: (key: Key) => User | undefined;
  touch: (key: Key, maxAge?: number | AgeOptions) => boolean;
  getRemainingTTL: (key: Key) => number;
  hit: (key: Key, window: number, options?: HitOptions) => Hit;
  getMany: (keys: Iterable<Key>) => Array<User | undefined>;
  hasMany: (keys: Iterable<Key>) => boolean[];
  deleteMany: (keys: Iterable<Key>) => boolean[];
  incr: (key: Key, amount?: number, maxAge?: number | SetOptions) => number;
  decr: (key: Key, amount?: number, maxAge?: number | SetOptions) => number;
  length: () => number;
  itemCount: () => number;
  max: (max?: number) => number;
  maxSize: (maxSize?: number) => number;
  maxAge: (maxAge?: number) => number;
  allowStale: (stale?: boolean) => boolean;
  stale: (stale?: boolean) => boolean;
  stats: () => SharedStats;
}>()({} as Members<Commands<User>>);
exact<Members<Commands<any>>>()({} as Members<Commands>);
exact<Promise<boolean>>()(users.execute('set', 'k', user, 1000));
exact<Promise<User | undefined>>()(users.execute('get', 'k'));
exact<Promise<Entry<User> | null>>()(users.execute('pop'));
exact<Promise<void>>()(users.execute('load', [{ k: 'k', v: user, e: 0 }]));
exact<Promise<any>>()(users.execute('another', 1, text));
exact<Promise<any>>()(users.execute('forEach', () => {}));
exact<Promise<any>>()(users.execute(text, 1, text));
exact<Promise<any>>()(untyped.execute('get', 'k'));
declare const two: Cache<User, Date>;
exact<Promise<boolean>>()(two.execute('set', 'k', new Date()));
exact<Promise<User | Date | undefined>>()(two.execute('get', 'k'));
// @ts-expect-error
users.execute('get');
// @ts-expect-error
users.execute('get', {});
// @ts-expect-error
users.execute('set', 'k', 'not a user');
// @ts-expect-error
users.execute();

// --- the road ------------------------------------------------------------------------------------------------------
exact<() => Transport>()(users.transport);
exact<{ kind: 'local' | 'shared-memory' | 'ipc'; reason?: string }>()({} as Members<Transport>);

// --- properties ----------------------------------------------------------------------------------------------------
exact<string>()(users.namespace);
exact<number>()(users.timeout);
exact<'resolve' | 'reject'>()(users.failsafe);
exact<(stored: any) => any>()(users.parse);
exact<(value: any) => any>()(users.stringify);
users.timeout = 500;
users.failsafe = 'reject';
// @ts-expect-error
users.namespace = 'others';

// --- an error, an interface, a subclass, a stand-in ----------------------------------------------------------------
users.get('k').catch((error: TimeoutError) => {
  exact<'ETIMEDOUT'>()(error.code);
  exact<string>()(error.namespace);
  exact<string>()(error.command);
  exact<string>()(error.message);
});

interface Store {
  get(key: string): Promise<User | undefined>;
  set(key: string, value: User): Promise<unknown>;
  del(key: string): Promise<void>;
  keys(): Promise<string[]>;
}
const store: Store = users;

class Prefixed extends Cache<User> {
  constructor() {
    super({ namespace: 'users' });
  }
  async get(key: string) {
    return super.get(`user:${key}`);
  }
  set(key: string, value: User) {
    return super.set(`user:${key}`, value);
  }
}
exact<Promise<User | undefined>>()(new Prefixed().get('k'));

const standIn: Pick<Cache<User>, 'get' | 'set'> = {
  get: async () => undefined,
  set: async () => true,
};

// --- the synchronous cache -----------------------------------------------------------------------------------------
exact<() => LRUCache<Key, User>>()(users.getCache);
exact<LRUCache<Key, any>>()(untyped.getCache());

exact<{
  max?: number | undefined;
  maxSize?: number | undefined;
  maxEntrySize?: number | undefined;
  maxAge?: number | undefined;
  ttl?: number | undefined;
  stale?: boolean | undefined;
  allowStale?: boolean | undefined;
}>()({} as Members<LRUCacheOptions>);
new LRUCache(10);
new LRUCache({ max: 10 });
new LRUCache({} as Record<keyof LRUCacheOptions, undefined>);
// @ts-expect-error
new LRUCache('10');
exact<LRUCache<any, any>>()(new LRUCache());
// @ts-expect-error
new LRUCache({ namespace: 'users' });
// @ts-expect-error
new LRUCache<Date, User>();

declare const lru: LRUCache<string, User>;
exact<(key: string, value: User, maxAge?: number | SetOptions) => boolean>()(lru.set);
exact<(key: string) => User | undefined>()(lru.get);
exact<(key: string) => User | undefined>()(lru.peek);
exact<(key: string) => boolean>()(lru.has);
exact<(key: string) => void>()(lru.del);
exact<(tags: string | Iterable<string>) => void>()(lru.invalidateTags);
exact<() => void>()(lru.reset);
exact<(options?: PrefixOptions) => string[]>()(lru.keys);
exact<(prefix: string) => number>()(lru.deletePrefix);
exact<(options?: ScanOptions) => Scanned<string>>()(lru.scan);
exact<(options?: PrefixOptions) => Array<[key: string, value: User]>>()(lru.entries);
exact<() => User[]>()(lru.values);
exact<() => Array<DumpEntry<User, string>>>()(lru.dump);
exact<(entries: ReadonlyArray<DumpEntry<User, string>>) => void>()(lru.load);
exact<() => Entry<User, string> | null>()(lru.pop);
exact<() => void>()(lru.prune);
lru.forEach(function (value, key, cache) {
  exact<User>()(value);
  exact<string>()(key);
  exact<LRUCache<string, User>>()(cache);
  exact<LRUCache<string, User>>()(this);
});
lru.forEach(function () {
  exact<Date>()(this);
}, new Date());
lru.rforEach(function (value, key, cache) {
  exact<User>()(value);
  exact<string>()(key);
  exact<LRUCache<string, User>>()(cache);
  exact<LRUCache<string, User>>()(this);
});
lru.rforEach(function () {
  exact<Date>()(this);
}, new Date());
exact<void>()(lru.forEach(() => {}));
exact<void>()(lru.rforEach(() => {}));
// @ts-expect-error
lru.forEach();
// @ts-expect-error
lru.rforEach();

exact<number>()(lru.max);
exact<number>()(lru.maxSize);
exact<number>()(lru.calculatedSize);
exact<number>()(lru.maxAge);
exact<boolean>()(lru.allowStale);
exact<number>()(lru.length);
exact<number>()(lru.itemCount);
lru.max = 10;
lru.maxSize = 10;
lru.maxAge = 10;
lru.allowStale = true;
// @ts-expect-error
lru.length = 0;
// @ts-expect-error
lru.itemCount = 0;
// @ts-expect-error
lru.max = '10';
// @ts-expect-error
lru.maxSize = '10';
// @ts-expect-error
lru.calculatedSize = 5;
// @ts-expect-error
lru.maxAge = '10';
// @ts-expect-error
lru.allowStale = 1;
// @ts-expect-error
for (const entry of lru) entry;

// --- entries -------------------------------------------------------------------------------------------------------
exact<{ k: Key; v: User; e: number }>()({} as Members<DumpEntry<User>>);
exact<{ k: Key; v: any; e: number }>()({} as Members<DumpEntry>);
exact<{ key: string; value: User; length: number; now: number; maxAge: number }>()(
  {} as Members<Entry<User, string>>,
);
exact<{ key: Key; value: any; length: number; now: number; maxAge: number }>()(
  {} as Members<Entry>,
);
// @ts-expect-error
exact<Entry<User, Date>>();
// @ts-expect-error
exact<DumpEntry<User, Date>>();

export { values, store, standIn };

// --- fetch ---------------------------------------------------------------------------------------------------------
declare const people: Cache<User>;
declare const aborts: AbortSignal;
declare const load: (id: string) => Promise<User>;
exact<Promise<User>>()(people.fetch('k', load));
exact<Promise<User>>()(people.fetch('k', () => user));
exact<Promise<User | undefined>>()(people.fetch('k', async () => (text ? user : undefined)));
exact<Promise<number>>()(people.fetch('k', () => Promise.resolve(5)));
exact<Promise<User>>()(people.fetch('k'));
exact<Promise<string>>()(people.fetch<string>('k', { forceRefresh: true }));
exact<Promise<User>>()(
  people.fetch('k', load, {
    ttl: (value, key) => value.name.length + key.length,
    tags: (value) => [value.name],
    maxAge: undefined,
    signal: aborts,
    status: {},
    context: text,
  }),
);
exact<Promise<number>>()(
  people.fetch('k', (key, { signal, stale, options, setTtl, setTags, skip }) => {
    exact<Key>()(key);
    exact<AbortSignal>()(signal);
    exact<User | undefined>()(stale);
    exact<FetchOptions>()(options);
    setTtl(5);
    setTags(['a', 'b']);
    setTags('a');
    return skip(5);
  }),
);
exact<'hit' | 'miss' | 'inflight' | 'stale' | 'refresh' | undefined>()({} as FetchStatus['fetch']);
exact<'throw' | 'retry' | undefined>()({} as FetchDefaults['onError']);
new Cache<User>({ fetchMethod: (id: string, stale: User | undefined, { signal }) => load(id) });
// @ts-expect-error
people.fetch('k', load, { onError: 'again' });
// @ts-expect-error
people.fetch('k', load, { tll: 5 });
// @ts-expect-error
people.fetch({}, load);
// @ts-expect-error
people.fetch('k', 'loader');

declare const find: (name: string, age?: number) => Promise<User>;
exact<Promise<User>>()(people.memoize(find)('Ada', 36));
exact<Promise<User>>()(people.memoize(find, { name: 'find', ttl: 5 })('Ada', 36));
exact<Promise<User>>()(people.memoize(find, { key: (name, age) => `${name}${age}` })('Ada', 36));
exact<Promise<User>>()(memoize(find, { cache: people, negativeTtl: 5 })('Ada', 36));
exact<Promise<User>>()(memoize(people, find, (name) => name, { ttl: 5 })('Ada', 36));
const found: Memoized<typeof find> = people.memoize(find);
exact<Promise<User>>()(found('Ada', 36));
exact<Promise<boolean>>()(found.delete('Ada'));
exact<Promise<User>>()(found.refresh('Ada'));
exact<Promise<number>>()(people.memoize((n: number) => n)(5));
// @ts-expect-error
found(5);
// @ts-expect-error
found.delete();
// @ts-expect-error
memoize(find);

// --- statistics, exported ------------------------------------------------------------------------------------------
exact<Promise<string>>()(metrics({ prefix: 'mine_' }));
exact<() => void>()(instrument({ shared: false }));
declare const prom: { register: object; Counter: typeof Error; Gauge: typeof Error };
register(prom, { registers: [prom.register] });
// @ts-expect-error
register({});
// @ts-expect-error
instrument({ meterProvider: 1 });
