/**
 * One LRU cache per namespace, which all processes of an application use through Promises. The cache lies in shared
 * memory, in the primary of a cluster, or in this process; see {@link LRUCacheForClustersAsPromised.transport}.
 *
 * @remarks
 * Every result type is that of a call that was answered. With `failsafe: 'resolve'`, the default, a worker's call that
 * is not answered within `timeout` resolves with `undefined` instead, whatever its type says. Where that matters use
 * `failsafe: 'reject'`, or write the type yourself: `const hits: number | undefined = await cache.incr('hits')`.
 *
 * The value type is the union of the type arguments, `any` when there is none. It is a statement of yours and is not
 * checked at run time: a value that a worker sets is what JSON makes of it (a `Date` arrives as a string, see
 * {@link LRUCacheForClustersAsPromised.Options.serialization}).
 *
 * @example
 * ```ts
 * const users = new LRUCacheForClustersAsPromised<User>({ namespace: 'users', max: 1000, maxAge: 60_000 });
 * await users.set('ann', { name: 'Ann' });
 * const ann = await users.get('ann'); // User | undefined
 *
 * const mixed = new LRUCacheForClustersAsPromised<User, string, number>(); // User | string | number
 * ```
 */
declare class LRUCacheForClustersAsPromised<A = any, B = never, C = never, D = never> {
  /**
   * Opens the cache of `options.namespace`, creating it when there is none. The options `max`, `maxSize`,
   * `maxEntrySize`, `maxAge`, `stale` and `prune` that are given also change a cache that exists; those left out leave it
   * as it is.
   *
   * In a worker the cache is created by a message that nobody waits for; {@link getInstance} waits.
   *
   * @throws TypeError or Error naming the option and the value, when an option is invalid and this is the primary. In a
   * worker each later call rejects with that error.
   */
  constructor(options?: LRUCacheForClustersAsPromised.Options);

  /** The namespace: instances that name the same one, in any process of the cluster, share one cache. */
  readonly namespace: string;

  /** Milliseconds that a worker's call waits for its answer. */
  timeout: number;

  /** What a worker's call does that is not answered within `timeout`. */
  failsafe: 'resolve' | 'reject';

  /** Makes an object of what {@link stringify} returned, for the calls named `…Object` and `…Objects`. */
  parse: (stored: any) => any;

  /** Makes what is stored of an object, for the calls named `…Object` and `…Objects`. */
  stringify: (value: any) => any;

  /**
   * Returns `true`, and without options does nothing else. Loading the package in the primary is what makes it answer
   * workers; calling `init()` there says so.
   *
   * @param options - What holds for this process.
   */
  static init(options?: LRUCacheForClustersAsPromised.InitOptions): true;

  /**
   * Opens a cache as the constructor does and waits until it exists in the primary.
   *
   * @returns A Promise of the instance. It rejects when an option is invalid, with an error that names it.
   */
  static getInstance<A = any, B = never, C = never, D = never>(
    options?: LRUCacheForClustersAsPromised.Options,
  ): Promise<LRUCacheForClustersAsPromised<A, B, C, D>>;

  /** Does nothing: loading the package in the primary is what makes it answer workers. */
  static bootstrap(): void;

  /**
   * All caches of this process by namespace. Primary only.
   *
   * @throws Error in a worker.
   */
  static getAllCaches(): Record<string, LRUCacheForClustersAsPromised.LRUCache>;

  /**
   * The statistics of each namespace that this process uses; in the primary, of each that its workers use, too. See
   * {@link LRUCacheForClustersAsPromised.Stats}. One that cannot be reached is left out.
   */
  static stats(): Promise<Record<string, LRUCacheForClustersAsPromised.Stats>>;

  /** The statistics of this namespace. Rejects with `ETIMEDOUT` where it cannot be reached, whatever `failsafe` says. */
  stats(): Promise<LRUCacheForClustersAsPromised.Stats>;

  /**
   * The synchronous cache behind this instance. Primary only. Where a worker is stopped inside a call on the same
   * store in shared memory, its calls wait for 100 ms and then throw an Error whose `code` is `ERR_STORE_BUSY`.
   *
   * The object is the same at each call. Functions that the application puts on it are called by {@link execute}, from
   * every process.
   *
   * @throws Error in a worker.
   */
  getCache(): LRUCacheForClustersAsPromised.LRUCache<
    LRUCacheForClustersAsPromised.Key,
    A | B | C | D
  >;

  /** How the calls of this instance reach the cache now, and why not by shared memory. It may change between calls. */
  transport(): LRUCacheForClustersAsPromised.Transport;

  /**
   * Calls a function of the cache by its name and resolves with what it returns. That is a function that the application
   * put on the object of {@link getCache} in the primary, or else a call of the cache, also one that has no method here,
   * such as `pop` and `load`.
   *
   * A function of the application runs in the primary, with the synchronous cache as `this`. It is one step for all
   * processes: no other call comes between its own calls on the cache, up to its first `await`. A Promise that it returns is
   * awaited. Its arguments and its result travel as values do.
   *
   * @returns A Promise that rejects with what the function throws, or with an Error, `LRUCache.NAME() is not a valid
   * function`, when there is no such function.
   */
  execute<N extends keyof LRUCacheForClustersAsPromised.Commands>(
    command: N,
    ...args: Parameters<LRUCacheForClustersAsPromised.Commands<A | B | C | D>[N]>
  ): Promise<ReturnType<LRUCacheForClustersAsPromised.Commands<A | B | C | D>[N]>>;
  /** Calls a method whose name is known only when the program runs, or that these types do not list. */
  execute<N extends string>(
    command: N extends keyof LRUCacheForClustersAsPromised.Commands ? never : N,
    ...args: any[]
  ): Promise<any>;

  /**
   * Stores a value and makes its entry the most recent. A value stored before under the key goes, with its age.
   *
   * @param maxAge - The entry's own age limit in milliseconds; 0 or none: the cache's.
   * @returns `true`; `false` when the entry can never fit: nothing is evicted for it, and the key's old value is gone.
   */
  set(
    key: LRUCacheForClustersAsPromised.Key,
    value: A | B | C | D,
    maxAge?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<boolean>;

  /**
   * The value of a key, whose entry becomes the most recent.
   *
   * An entry that has expired is removed; when the cache allows stale values, its value is returned that once.
   *
   * @returns The value, or `undefined` on a miss.
   */
  get(
    key: LRUCacheForClustersAsPromised.Key,
    options?: LRUCacheForClustersAsPromised.ReadOptions,
  ): Promise<A | B | C | D | undefined>;

  /** As {@link set}, storing what this instance's {@link stringify} makes of the value. */
  setObject(
    key: LRUCacheForClustersAsPromised.Key,
    value: A | B | C | D,
    maxAge?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<boolean>;

  /**
   * As {@link get}, passing what is stored through this instance's {@link parse}.
   *
   * @returns The value, or `undefined` on a miss and when what is stored is falsy (`''`, 0, …). It rejects with the error
   * that `parse` throws.
   */
  getObject(key: LRUCacheForClustersAsPromised.Key): Promise<A | B | C | D | undefined>;

  /**
   * Stores a value where there is no entry, or an expired one. It is one step for all processes.
   *
   * @returns Whether it was stored.
   */
  setIfAbsent(
    key: LRUCacheForClustersAsPromised.Key,
    value: A | B | C | D,
    options?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<boolean>;

  /** As {@link get}, with the version of the entry, its times and its tags; `undefined` where there is none. */
  getEntry(
    key: LRUCacheForClustersAsPromised.Key,
  ): Promise<LRUCacheForClustersAsPromised.EntryInfo<A | B | C | D> | undefined>;

  /**
   * Stores a value where the entry of the key still has the version that `getEntry` gave.
   *
   * @param version - The version; 0: where there is no entry.
   * @returns Whether it was stored.
   */
  compareAndSet(
    key: LRUCacheForClustersAsPromised.Key,
    version: number,
    value: A | B | C | D,
    options?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<boolean>;

  /**
   * Removes the entry of a key where it still has the version that `getEntry` gave.
   *
   * @returns Whether it had that version; with the version 0, whether there is no entry.
   */
  compareAndDelete(key: LRUCacheForClustersAsPromised.Key, version: number): Promise<boolean>;

  /**
   * Changes a value by a function of the one that is there. Where another change comes between, the function is called again,
   * at most 1000 times; then the call rejects with `ERR_CONFLICT`.
   *
   * @param fn - Gives the new value, or a Promise of it; `undefined` leaves the entry as it is.
   * @returns The value that is then there.
   */
  update(
    key: LRUCacheForClustersAsPromised.Key,
    fn: (
      current: A | B | C | D | undefined,
    ) => A | B | C | D | undefined | Promise<A | B | C | D | undefined>,
    options?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<A | B | C | D | undefined>;

  /** Removes the entry of a key and gives its value, in one step; `undefined` where there is none. */
  getAndDelete(key: LRUCacheForClustersAsPromised.Key): Promise<A | B | C | D | undefined>;

  /**
   * Begins the age of an entry anew and makes the entry the most recent. Its tags stay.
   *
   * @param maxAge - Its new age limit in milliseconds; none: the one it has.
   * @returns Whether there is an entry that has not expired.
   */
  touch(
    key: LRUCacheForClustersAsPromised.Key,
    maxAge?: number | LRUCacheForClustersAsPromised.AgeOptions,
  ): Promise<boolean>;

  /** The milliseconds until an entry expires: `Infinity` without an age, 0 where there is none or it has expired. */
  getRemainingTTL(key: LRUCacheForClustersAsPromised.Key): Promise<number>;

  /**
   * Counts in a fixed window of time, which begins with its first hit. It is one step for all processes.
   *
   * @param window - The length of the window in milliseconds, or `Infinity`.
   */
  hit(
    key: LRUCacheForClustersAsPromised.Key,
    window: number,
    options?: LRUCacheForClustersAsPromised.HitOptions,
  ): Promise<LRUCacheForClustersAsPromised.Hit>;

  /** The value of each key, in order; `undefined` for a miss. Each is read as `get` does. */
  getMany(
    keys: Iterable<LRUCacheForClustersAsPromised.Key>,
  ): Promise<Array<A | B | C | D | undefined>>;

  /** Whether each key has an entry that has not expired, in order. */
  hasMany(keys: Iterable<LRUCacheForClustersAsPromised.Key>): Promise<boolean[]>;

  /** Removes entries; says of each key, in order, whether it had an entry that had not expired. */
  deleteMany(keys: Iterable<LRUCacheForClustersAsPromised.Key>): Promise<boolean[]>;

  /**
   * Removes the entries whose keys are strings that begin with `prefix`, of those that are there when the call begins. An entry is removed
   * in one step each; calls of others go on meanwhile.
   *
   * @param prefix - A string that is not empty.
   * @returns How many there were that had not expired.
   */
  deletePrefix(prefix: string): Promise<number>;

  /**
   * Some of the keys, without those of expired entries, and a cursor to go on with. Who goes on until there is no cursor gets each key
   * that is there from the beginning to the end; one may come twice. A part may have fewer keys than `count`, and none.
   *
   * @typeParam K - The types of key that you use, which is not checked.
   */
  scan<K extends LRUCacheForClustersAsPromised.Key = string>(
    options?: LRUCacheForClustersAsPromised.ScanOptions,
  ): Promise<LRUCacheForClustersAsPromised.Scanned<K>>;

  /** All entries that have not expired, most recent first; with a `prefix`, those whose keys are strings that begin with it. */
  entries<K extends LRUCacheForClustersAsPromised.Key = string>(
    options?: LRUCacheForClustersAsPromised.PrefixOptions,
  ): Promise<Array<[key: K, value: A | B | C | D]>>;

  /**
   * Reads all entries that have not expired, in parts, as {@link scan} does: `for await (const [key, value] of cache)`. The values
   * of a part are read in one step.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<
    [key: LRUCacheForClustersAsPromised.Key, value: A | B | C | D]
  >;

  /**
   * Stores entries `[key, value, options?]`. The options of an entry go before those of the call.
   *
   * @returns For each entry, in order, whether it was stored.
   */
  setMany(
    entries: Iterable<LRUCacheForClustersAsPromised.EntryToSet<A | B | C | D>>,
    options?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<boolean[]>;

  /**
   * The value of a key, as {@link get} gives it; where there is none, what `loader` gives, which is stored. One loader runs
   * per key for all processes; all other callers wait for its value. An error of the loader rejects all of them.
   *
   * Where the cache cannot be reached the loader runs, whatever `failsafe` says.
   *
   * @param loader - Makes the value. Left out: the `fetchMethod` of this instance.
   * @param options - Those left out are those of this instance.
   */
  fetch<T = A | B | C | D>(
    key: LRUCacheForClustersAsPromised.Key,
    loader: LRUCacheForClustersAsPromised.Loader<T, A | B | C | D>,
    options?: LRUCacheForClustersAsPromised.FetchOptions<T>,
  ): Promise<T>;
  fetch<T = A | B | C | D>(
    key: LRUCacheForClustersAsPromised.Key,
    options?: LRUCacheForClustersAsPromised.FetchOptions<T>,
  ): Promise<T>;

  /**
   * A function that gives what `fn` gives, by {@link fetch}: it is called once for the same arguments, until the entry goes.
   *
   * @throws TypeError where `fn` has no name and neither `name` nor `key` is given.
   */
  memoize<F extends (...args: any[]) => any>(
    fn: F,
    options?: LRUCacheForClustersAsPromised.MemoizeOptions<F>,
  ): LRUCacheForClustersAsPromised.Memoized<F>;

  /** Lets this instance go: later calls reject with `ERR_CLOSED`. The namespace stays as it is. */
  close(): Promise<void>;

  /** As {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;

  /** Resolves when the cache of this instance exists, or cannot be made. It never rejects. */
  get ready(): Promise<void>;

  /** Makes a round trip to the store, and to the server of a remote tier with `onError: 'reject'`. It resolves with `true`, or rejects whatever {@link failsafe} says. */
  healthCheck(): Promise<true>;

  /**
   * Destroys the namespace for all processes: its entries, its settings, its statistics and its schedule go, and in the primary
   * the object of {@link getCache} with the functions on it. No read that begins after the Promise has resolved gives an old
   * value. Every instance can be used again: its first call makes the namespace anew, with the options that the instances
   * of its process were given. Rejects with `ETIMEDOUT` without an answer, whatever {@link failsafe} says.
   *
   * @returns Whether there was a namespace.
   */
  destroy(): Promise<boolean>;

  /** Removes the entry of a key, if there is one. */
  del(key: LRUCacheForClustersAsPromised.Key): Promise<void>;

  /**
   * Removes the entry of a key.
   *
   * @returns Whether there was one that had not expired.
   */
  delete(key: LRUCacheForClustersAsPromised.Key): Promise<boolean>;

  /** Removes the entries of some keys. */
  mDelete(keys: Iterable<LRUCacheForClustersAsPromised.Key>): Promise<void>;

  /**
   * As {@link reset}.
   *
   * @param options - With `local: true`, and a remote tier, only this machine is emptied.
   */
  clear(options?: { local?: boolean | undefined }): Promise<void>;

  /**
   * Removes every entry that has expired, as {@link prune}.
   *
   * @returns Whether there was one.
   */
  purgeStale(): Promise<boolean>;

  /** As {@link length}. */
  size(): Promise<number>;

  /** As {@link maxAge}. */
  ttl(ttl?: number): Promise<number>;

  /**
   * Removes all entries and stores those that {@link dump} gave, with their order and what is left of their ages. It takes
   * the entries of 1.x, and the pairs of 2.x (see {@link LRUCacheForClustersAsPromised.LRUCacheClustered.dump}).
   */
  load(
    entries:
      | ReadonlyArray<LRUCacheForClustersAsPromised.DumpEntry<A | B | C | D>>
      | ReadonlyArray<
          LRUCacheForClustersAsPromised.DumpPair<LRUCacheForClustersAsPromised.Key, A | B | C | D>
        >,
  ): Promise<void>;

  /**
   * Gets several values, each as {@link get} does.
   *
   * @returns An object by key; a miss has no property. A key that is not a string is answered under its string form.
   */
  mGet(
    keys: readonly LRUCacheForClustersAsPromised.Key[],
  ): Promise<{ [key: string]: A | B | C | D | undefined }>;

  /**
   * Stores several values, in order.
   *
   * @param pairs - An object, whose own enumerable string keys count; a `Map`; or an array of which every element is an
   * array of 2 or 3: a key, a value, and in milliseconds an age limit of this entry's own.
   * @param maxAge - The age limit in milliseconds of the entries that have none of their own; 0 or none: the cache's.
   * @returns `true`.
   */
  mSet(
    pairs: LRUCacheForClustersAsPromised.Pairs<A | B | C | D>,
    maxAge?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<LRUCacheForClustersAsPromised.Done>;

  /** As {@link mGet}, passing what is stored through this instance's {@link parse}. */
  mGetObjects(
    keys: readonly LRUCacheForClustersAsPromised.Key[],
  ): Promise<{ [key: string]: A | B | C | D | undefined }>;

  /** As {@link mSet}, storing what this instance's {@link stringify} makes of each value. */
  mSetObjects(
    pairs: LRUCacheForClustersAsPromised.Pairs<A | B | C | D>,
    maxAge?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<LRUCacheForClustersAsPromised.Done>;

  /**
   * Removes the entries of several keys.
   *
   * @returns `true`.
   */
  mDel(
    keys: readonly LRUCacheForClustersAsPromised.Key[],
  ): Promise<LRUCacheForClustersAsPromised.Done>;

  /** As {@link get}, but leaves the entry where it is in the order of recency. */
  peek(
    key: LRUCacheForClustersAsPromised.Key,
    options?: LRUCacheForClustersAsPromised.ReadOptions,
  ): Promise<A | B | C | D | undefined>;

  /** Whether a key has an entry that has not expired. Removes nothing and leaves the order of recency. */
  has(
    key: LRUCacheForClustersAsPromised.Key,
    options?: LRUCacheForClustersAsPromised.ReadOptions,
  ): Promise<boolean>;

  /**
   * Adds to a number in one step: no other process's call comes between reading and writing it. A missing value and one
   * that is not a number count as 0.
   *
   * @param amount - What to add; 1 when left out.
   * @param maxAge - Milliseconds, counted from the call that creates the counter: later calls leave that window running.
   * Without it the entry takes the cache's `maxAge` and its age starts anew with each call.
   * @returns The new number.
   */
  incr(
    key: LRUCacheForClustersAsPromised.Key,
    amount?: number,
    maxAge?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<number>;

  /** As {@link incr}, taking `amount` away. */
  decr(
    key: LRUCacheForClustersAsPromised.Key,
    amount?: number,
    maxAge?: number | LRUCacheForClustersAsPromised.SetOptions,
  ): Promise<number>;

  /**
   * Removes every entry that has one of these tags, for all processes at once and in a time that does not depend on the number
   * of entries. An entry that is stored later is not concerned. It rejects without an answer in time, whatever
   * {@link failsafe} says.
   *
   * @param tags - A tag, or up to 128; each has at most 1024 characters.
   */
  invalidateTags(tags: string | Iterable<string>): Promise<void>;

  /** Removes all entries. */
  reset(): Promise<void>;

  /**
   * All keys, most recent first, those of expired entries included that have not been removed yet. With options, expired ones are left
   * out, and with a `prefix` all but strings that begin with it.
   *
   * @typeParam K - The types of key that you use, which is not checked: `keys<number>()`; `string` when left out.
   */
  keys<K extends LRUCacheForClustersAsPromised.Key = string>(
    options?: LRUCacheForClustersAsPromised.PrefixOptions,
  ): Promise<K[]>;

  /** All values, most recent first, those of expired entries included that have not been removed yet. */
  values(): Promise<Array<A | B | C | D>>;

  /** All entries that have not expired, most recent first, in the form that `load` takes (`execute('load', entries)`). */
  dump(): Promise<Array<LRUCacheForClustersAsPromised.DumpEntry<A | B | C | D>>>;

  /** Removes every expired entry. */
  prune(): Promise<void>;

  /** The number of entries, those included that have expired and have not been removed yet. */
  length(): Promise<number>;

  /** As {@link length}. */
  itemCount(): Promise<number>;

  /**
   * The cache's `allowStale`, set first when an argument is given.
   *
   * @deprecated Use {@link allowStale}.
   */
  stale(stale?: boolean): Promise<boolean>;

  /** Whether an expired value is returned once, when it is removed; set first when an argument is given. */
  allowStale(stale?: boolean): Promise<boolean>;

  /**
   * The greatest number of entries, set first when an argument is given; `Infinity` is no limit, and so is 0 as an argument.
   * Lowering it removes the least recent entries at once.
   */
  max(max?: number): Promise<number>;

  /**
   * The greatest number of bytes that all entries may take, set first when an argument is given; `Infinity` is no limit,
   * and so is 0 as an argument. Lowering it removes the least recent entries at once. What counts is said in
   * {@link LRUCacheForClustersAsPromised.LRUCacheOptions.maxSize}.
   */
  maxSize(maxSize?: number): Promise<number>;

  /** The cache's age limit in milliseconds, 0 for none; set first when an argument is given. */
  maxAge(maxAge?: number): Promise<number>;
}

// Inside the namespace the class's own name would mean the export of that name.
import Self = LRUCacheForClustersAsPromised;

declare namespace LRUCacheForClustersAsPromised {
  export { Self as LRUCacheForClustersAsPromised, Self as default };

  /**
   * What names an entry. Keys are told apart by type, as a `Map` does (`1` is not `'1'`), and `keys()` gives them back as
   * they came; from a worker `undefined` and `null` are one key. Any other type is a TypeError.
   */
  export type Key = string | number | bigint | boolean | null | undefined;

  /** What `mSet` and `mSetObjects` take: an object, a `Map`, or pairs, which may have an age limit of their own. */
  export type Pairs<V = any> =
    | { readonly [key: string]: V }
    | ReadonlyMap<Key, V>
    | ReadonlyArray<readonly [key: Key, value: V, maxAge?: number | SetOptions]>;

  /** Options of reads in 2.x. {@link LRUCacheClustered} uses them; for the class they have no effect. */
  export interface ReadOptions {
    /** The read goes past near reads. It gives the same: near reads are coherent. */
    bypassL1?: boolean | undefined;
  }

  /** Options of calls that store, in {@link LRUCacheClustered}. */
  export interface WriteOptions {
    /** The entry's own age limit in milliseconds; 0: never. Without: the cache's. */
    ttl?: number | undefined;
    /** Has no effect: an entry is counted by its bytes. */
    size?: number | undefined;
    /** Has no effect: near reads know of it anyway. */
    updateL1?: boolean | undefined;
    /** Whether the age of an entry that is there runs on. */
    noUpdateTTL?: boolean | undefined;
  }

  /** An entry as `dump` of {@link LRUCacheClustered} gives it. */
  export type DumpPair<K, V> = [
    key: K,
    entry: { value: V; ttl?: number; start?: number; size?: number },
  ];

  /** The option `localL1` of 2.x. What is left out here is taken, and has no meaning for coherent near reads. */
  export interface LocalL1Options {
    /** `false`: no near reads. */
    enabled?: boolean | undefined;
    /** Which reads may be near ones; with this, those left out are not. `get` also stands for `peek` and `mGet`. */
    methods?: { get?: boolean; has?: boolean; fetch?: boolean } | undefined;
    /** Taken; has no meaning. */
    experimental?: boolean | undefined;
    /** Taken; has no meaning. The option `near` bounds the bytes of near reads. */
    max?: number | undefined;
    /** Taken; has no meaning. */
    maxSize?: number | undefined;
    /** Taken; has no meaning: no near read is stale. */
    ttl?: number | undefined;
    /** Taken; has no meaning. */
    updateAgeOnGet?: boolean | undefined;
    /** Taken; has no meaning. */
    allowStale?: boolean | undefined;
    /** Taken; has no meaning. */
    cacheUndefined?: boolean | undefined;
    /** Taken; has no meaning: near reads are always coherent. */
    invalidation?: 'broadcast' | 'ttl-only' | undefined;
  }

  /** The options of {@link LRUCacheClustered}. */
  export interface ClusteredOptions extends Options {
    /** Near reads as 2.x says it: an object that is not disabled counts them, `false` switches them off. */
    localL1?: false | LocalL1Options | undefined;
    /** Only `false`, which is how it is. */
    updateAgeOnGet?: false | undefined;
    /** Only `false`, which is how it is. */
    updateAgeOnHas?: false | undefined;
    /** Only `false`, which is how it is. */
    noDeleteOnStaleGet?: false | undefined;
    /** Only `false`, which is how it is. `prune` removes expired entries on a schedule. */
    ttlAutopurge?: false | undefined;
  }

  /** What {@link LRUCacheClustered.localStats} gives. */
  export interface L1Stats {
    enabled: true;
    /** Near reads of this instance. */
    hits: number;
    /** Its other reads that could have been near ones. */
    misses: number;
    /** Values that those gave. */
    sets: number;
    /** Calls of this instance that changed entries, or cleared near reads. */
    invalidations: number;
    /** 0: not counted. */
    evictions: number;
    /** 0: there are none. */
    staleHits: number;
    /** Entries that near reads of this process keep of the namespace. */
    size: number;
    /** As `hits`. */
    ipcAvoided: number;
  }

  /** What is told of a near read to listeners. */
  export interface L1Event {
    namespace: string;
    /** The key; `'*'`: any. */
    key: unknown;
  }

  /** The calls of {@link LRUCacheForClustersAsPromised} that 2.x does not have, or that are the same there. */
  export interface LRUCacheClustered<K extends {} = string, V extends {} = {}> extends Pick<
    Self<V>,
    | 'transport'
    | 'execute'
    | 'fetch'
    | 'memoize'
    | 'setObject'
    | 'getObject'
    | 'mGetObjects'
    | 'mSetObjects'
    | 'del'
    | 'mDel'
    | 'getEntry'
    | 'compareAndSet'
    | 'compareAndDelete'
    | 'update'
    | 'getAndDelete'
    | 'touch'
    | 'getMany'
    | 'hasMany'
    | 'deleteMany'
    | 'deletePrefix'
    | 'scan'
    | 'setMany'
    | 'invalidateTags'
    | 'reset'
    | 'prune'
    | 'length'
    | 'itemCount'
    | 'stale'
    | 'maxAge'
  > {}

  /**
   * The class with the results of `lru-cache-clustered` 2.x where they differ from those of 1.x. It is a subclass of
   * {@link LRUCacheForClustersAsPromised} when the program runs; both share one cache per namespace.
   */
  export class LRUCacheClustered<K extends {} = string, V extends {} = {}> {
    /** As the constructor of the class. Without a bound (`max`, `maxSize`, `ttl`) a cache that has none gets a `max` of 1000. */
    constructor(options?: ClusteredOptions);

    /** The namespace. */
    readonly namespace: string;
    /** Milliseconds that a worker's call waits for its answer. */
    timeout: number;
    /** What a worker's call does that is not answered within `timeout`. */
    failsafe: 'resolve' | 'reject';
    /** Resolves when the cache of this instance exists, or cannot be made. */
    get ready(): Promise<void>;

    /** Opens a cache and waits until it exists in the primary. */
    static getInstance<K extends {} = string, V extends {} = {}>(
      options?: ClusteredOptions,
    ): Promise<LRUCacheClustered<K, V>>;
    /** Does nothing. */
    static bootstrap(): void;
    /** All caches of this process by namespace. Primary only. */
    static getAllCaches(): Map<string, LRUCache>;
    /** The synchronous cache. Primary only. */
    getCache(): LRUCache<any, V>;

    /** The value of a key. */
    get(key: K, options?: ReadOptions): Promise<V | undefined>;
    /** The value of a key, whose recency stays. */
    peek(key: K, options?: ReadOptions): Promise<V | undefined>;
    /** Whether there is an entry that has not expired. */
    has(key: K, options?: ReadOptions): Promise<boolean>;
    /** Stores a value. */
    set(key: K, value: V, options?: WriteOptions): Promise<boolean>;
    /** Stores a value where there is none; whether it did. */
    setIfAbsent(key: K, value: V, options?: WriteOptions): Promise<boolean>;
    /** Removes an entry; whether there was one. */
    delete(key: K): Promise<boolean>;
    /** Removes all entries. */
    clear(): Promise<void>;
    /** The values of keys, in their order; `undefined` for a miss. */
    mGet(keys: Iterable<K>, options?: ReadOptions): Promise<Map<K, V | undefined>>;
    /** Stores entries as one step. The options of an entry go before those of the call. */
    mSet(
      entries: Iterable<readonly [K, V] | readonly [K, V, WriteOptions?]>,
      options?: WriteOptions,
    ): Promise<void>;
    /** Removes entries. */
    mDelete(keys: Iterable<K>): Promise<void>;
    /** Adds to a number. `ttl` counts for a new one; the age of one that is there runs on. */
    incr(key: K, amount?: number, options?: WriteOptions): Promise<number>;
    /** Subtracts, as {@link incr}. */
    decr(key: K, amount?: number, options?: WriteOptions): Promise<number>;
    /** The keys without those of expired entries, most recent first. */
    keys(options?: PrefixOptions): Promise<K[]>;
    /** The values, most recent first. */
    values(): Promise<V[]>;
    /** The entries without expired ones, most recent first. */
    entries(options?: PrefixOptions): Promise<Array<[K, V]>>;
    /** The entries, read in parts. */
    [Symbol.asyncIterator](): AsyncIterableIterator<[K, V]>;
    /** The entries, the least recent first. Of an age what is left is given: `start` is now. */
    dump(): Promise<Array<DumpPair<K, V>>>;
    /** Removes all entries and stores those that {@link dump} gave. */
    load(entries: ReadonlyArray<DumpPair<K, V>>): Promise<void>;
    /** The number of entries, those included that have expired and were not removed. */
    size(): Promise<number>;
    /** Milliseconds that are left of the age of an entry. */
    getRemainingTTL(key: K): Promise<number>;
    /** Removes expired entries; whether there was one. */
    purgeStale(): Promise<boolean>;
    /** Makes a round trip to the store, or rejects. */
    healthCheck(): Promise<void>;
    /** The statistics of the namespace. `size` is the number of entries, as in 2.x; their bytes are `calculatedSize`. */
    stats(): Promise<Stats & { calculatedSize: number }>;
    /** Destroys the namespace; whether there was one. */
    destroy(): Promise<boolean>;
    /** Lets this instance go. */
    close(): Promise<void>;
    /** The greatest number of entries; 0: no bound. */
    max(max?: number): Promise<number>;
    /** The age limit of entries; 0: none. */
    ttl(ttl?: number): Promise<number>;
    /** Whether an expired value is returned once. */
    allowStale(allowStale?: boolean): Promise<boolean>;

    /** Near reads of this instance; `undefined` without the option `localL1`. */
    localStats(): L1Stats | undefined;
    /** Forgets what near reads of this process keep of the namespace. */
    clearLocal(): void;
    /** Forgets what they keep of a key. */
    invalidateLocal(key: K): void;
    /** An instance of the namespace that makes no near reads. */
    withoutLocal(): LRUCacheClustered<K, V>;
    /** Calls a function for each event: `l1:hit`, `l1:miss`, `l1:set`, `l1:invalidate`. */
    on(event: string, listener: (event: L1Event) => void): this;
    /** Ends that. */
    off(event: string, listener: (event: L1Event) => void): this;
    /** As {@link on}, once. */
    once(event: string, listener: (event: L1Event) => void): this;
  }

  /** What {@link wrap} takes. */
  export interface Codec<V, U> {
    /** Makes what is stored of a value. */
    encode(value: V): U | Promise<U>;
    /** Makes a value of what was stored. */
    decode(raw: U): V | Promise<V>;
  }

  /** What {@link wrap} gives: the calls of the cache, with values that are encoded and decoded. */
  export interface WrappedCache<K extends {}, V extends {}> {
    readonly cache: any;
    readonly namespace: string;
    readonly ready: Promise<void>;
    get(key: K, options?: ReadOptions): Promise<V | undefined>;
    peek(key: K, options?: ReadOptions): Promise<V | undefined>;
    has(key: K, options?: ReadOptions): Promise<boolean>;
    set(key: K, value: V, options?: WriteOptions): Promise<boolean>;
    setIfAbsent(key: K, value: V, options?: WriteOptions): Promise<boolean>;
    delete(key: K): Promise<boolean>;
    getRemainingTTL(key: K): Promise<number>;
    mGet(keys: Iterable<K>, options?: ReadOptions): Promise<Map<K, V | undefined>>;
    mSet(
      entries: Iterable<readonly [K, V] | readonly [K, V, WriteOptions?]>,
      options?: WriteOptions,
    ): Promise<unknown>;
    mDelete(keys: Iterable<K>): Promise<void>;
    keys(): Promise<K[]>;
    values(): Promise<V[]>;
    /** Of an {@link LRUCacheClustered}. */
    entries(): Promise<Array<[K, V]>>;
    [Symbol.asyncIterator](): AsyncIterableIterator<[K, V]>;
    size(): Promise<number>;
    clear(): Promise<void>;
    destroy(): Promise<boolean>;
    healthCheck(): Promise<unknown>;
    purgeStale(): Promise<boolean>;
    stats(): Promise<Stats>;
  }

  /** A view of a cache whose values are encoded on their way in, and decoded on their way out. */
  export function wrap<K extends {}, V extends {}, U extends {}>(
    cache: LRUCacheClustered<K, U>,
    codec: Codec<V, U>,
  ): WrappedCache<K, V>;
  export function wrap<V extends {}, U extends {}>(
    cache: LRUCacheForClustersAsPromised<U>,
    codec: Codec<V, U>,
  ): WrappedCache<NonNullable<Key>, V>;

  /** `true`. Code that was written for the types of 1.x, which said `void`, goes on to compile. */
  export type Done = boolean & void;

  /** The limits of a cache. */
  export interface LRUCacheOptions {
    /**
     * The greatest number of entries; beyond it the least recent one goes. 0 or none: no limit.
     *
     * @defaultValue `0`
     */
    max?: number | undefined;

    /**
     * The greatest number of bytes that all entries may take: beyond it the least recent ones go until the rest fits. An
     * entry takes the bytes of its key and of its value as it is stored, and an overhead of 70 to 150 bytes. 0 or none: no
     * limit.
     *
     * An object that the primary itself sets is kept by reference. Nobody knows its size: its entry counts as key and
     * overhead alone. A string that the primary sets counts in full when it is set under a `maxSize` or `maxEntrySize`.
     *
     * @defaultValue `0`
     */
    maxSize?: number | undefined;

    /**
     * The greatest number of bytes that one entry may take, counted as for `maxSize`, which limits it too. A larger one is
     * not stored: `set` gives `false`, the key's old value is gone, and no other entry is evicted. Entries that are there
     * already stay. 0 or none: no limit.
     *
     * @defaultValue `0`
     */
    maxEntrySize?: number | undefined;

    /**
     * Milliseconds after which an entry that has no `maxAge` of its own expires. 0: never.
     *
     * @defaultValue `0`
     */
    maxAge?: number | undefined;

    /** Another name of `maxAge`. */
    ttl?: number | undefined;

    /**
     * Whether an expired value is returned once, when it is removed, instead of `undefined`.
     *
     * @defaultValue `false`
     */
    stale?: boolean | undefined;

    /** Another name of `stale`. */
    allowStale?: boolean | undefined;
  }

  /** The options of the constructor and of `getInstance`. */
  export interface Options extends LRUCacheOptions, FetchDefaults {
    /**
     * The name of the cache: instances with the same name share one cache.
     *
     * @defaultValue `'default'`
     */
    namespace?: string | undefined;

    /**
     * Milliseconds that a worker's call waits for its answer.
     *
     * @defaultValue `100`
     */
    timeout?: number | undefined;

    /**
     * What a worker's call does that is not answered within `timeout`: resolve with `undefined`, whatever its type
     * says, or reject with a {@link TimeoutError}.
     *
     * @defaultValue `'resolve'`
     */
    failsafe?: 'resolve' | 'reject' | undefined;

    /**
     * When the primary removes expired entries by itself: a cron pattern as the npm package `cron` takes it, in local
     * time, with six fields, seconds first, or five without; or `false` for never. `'0 * * * * *'` is once a minute.
     *
     * @defaultValue `false`
     */
    prune?: false | string | undefined;

    /**
     * Makes an object of what `stringify` returned.
     *
     * @defaultValue `JSON.parse`
     */
    parse?: ((stored: any) => any) | undefined;

    /**
     * Makes what is stored, usually a string, of an object.
     *
     * @defaultValue `JSON.stringify`
     */
    stringify?: ((value: any) => any) | undefined;

    /**
     * How a worker's values travel: as JSON, or as structured clone, which also carries `Date`, `Map`, `Set`, `bigint`,
     * `Buffer`, typed arrays and circular objects.
     *
     * @defaultValue What `cluster.setupPrimary` was given, or else `'json'`.
     */
    serialization?: 'json' | 'advanced' | undefined;

    /**
     * How many bytes of values, by estimate, this process keeps of this namespace for near reads: reads that are answered
     * from this process, after a check that the entry is still the same. `false` or 0: this instance makes no near reads.
     * Of several instances of a namespace the largest number counts. All namespaces of a process together keep 8 MiB, or
     * the largest number that any of them asks for.
     *
     * @defaultValue What is left of 8 MiB
     */
    near?: number | boolean | undefined;

    /**
     * `true`: the reads of this instance give JSON objects deeply frozen. With near reads it is the same object until the
     * entry changes, or near reads let it go; while they have no room for it, each read gives a new one. Values by reference and structured clones are not frozen. `false`: each read
     * gives an object of its own.
     *
     * @defaultValue `false`
     */
    freeze?: boolean | undefined;

    /**
     * A server that several machines share, as their second tier: `docs/machines.md`. A text is its URL. `false`: none, also where
     * `init` or the environment (`LRU_CACHE_REMOTE`) names one.
     */
    remote?: RemoteOptions | RemoteClient | string | false | undefined;

    /** The loader of `fetch` where a call has none, called as `lru-cache` calls it. */
    fetchMethod?:
      { load(key: any, staleValue: any, context: LoaderContext): any }['load'] | undefined;
  }

  /**
   * A client of `redis` (node-redis 5 or 6) or `ioredis` (5 or 6) for one server, whose options the connections to the server are made
   * with: TLS, user and password, database, Unix socket, `keyPrefix`, and `sentinels` of `ioredis`. Not one of a cluster, of a pool or
   * of `createSentinel`.
   */
  export interface RemoteClient {
    duplicate(...options: any[]): any;
    /** Of clusters of `redis`. */
    slots?: never;
    /** Of clusters of `ioredis`. */
    nodes?: never;
    /** Of clients that `createSentinel` gives. */
    getSentinelNode?: never;
  }

  /**
   * The options of such a client: those of `createClient` or of `createSentinel` of `redis`, or those of `new Redis()` of `ioredis`. They are
   * those of the library that has options with these names (`url`, `socket`, `database`, `RESP`, `sentinelRootNodes`; `host`, `port`, `path`, `db`, `tls`, `sentinels`);
   * where both may be meant, `redis` is taken if it is installed.
   */
  export interface RemoteClientOptions {
    sendCommand?: never;
    duplicate?: never;
    /** Of clusters. */
    rootNodes?: never;
    [option: string]: any;
  }

  /** The option `remote`. */
  export interface RemoteOptions {
    /** A client, its options, or the URL of the server: `redis:`, `rediss:`, or `unix:///path?db=0`. */
    client: RemoteClient | RemoteClientOptions | string;
    /**
     * What each key on the server begins with. Applications with different ones share nothing.
     *
     * @defaultValue `'lru:'`
     */
    prefix?: string | undefined;
    /**
     * How long the server keeps an entry that has no age, in milliseconds.
     *
     * @defaultValue A day
     */
    ttl?: number | undefined;
    /**
     * What calls do that the server does not answer: `'local'` go on with the first tier alone, `'reject'` reject with `ERR_REMOTE`.
     *
     * @defaultValue `'local'`
     */
    onError?: 'local' | 'reject' | undefined;
  }

  /** What this process knows of its remote tier. */
  export interface RemoteStats {
    /** Reads that the server had a value for. */
    hits: number;
    /** Reads that it had none for. */
    misses: number;
    /** Writes that were sent. */
    writes: number;
    /** Calls that it did not answer. */
    errors: number;
    /** `'on'`: it tells what changes, so the first tier keeps what comes from it. `'lost'`, `'off'`: it does not. `''`: not known yet. */
    state: 'on' | 'lost' | 'off' | '';
    /** Whether there is a connection for commands. */
    isReady: boolean;
    /** Whether this process has the connection of its machine that tells what changes. */
    isHolder: boolean;
    /** How many changes it was told of. */
    pushes: number;
    /** How often the connection for commands was made. */
    connects: number;
    /** Why there is no connection for commands, or none that tells what changes: the text of the last error. */
    reason?: string | undefined;
  }

  /** The options of `init`. */
  export interface InitOptions {
    /** The remote tier of every namespace that is given none. */
    remote?: RemoteOptions | RemoteClient | string | false | undefined;
    /**
     * `false`: this process keeps its caches out of memory that processes share, as `LRU_CACHE_SHARED=0` in its
     * environment does. A worker's calls travel as messages then; a primary that says so makes those of all its workers do.
     * It holds for instances made later, so it belongs before the first.
     *
     * @defaultValue `true`, where the system has such memory: on Linux
     */
    shared?: boolean | undefined;
  }

  /** How the calls of an instance reach the cache, as `transport` returns it. */
  export interface Transport {
    /**
     * - `'local'`: this is the primary, or a process with no cluster, and has the cache itself.
     * - `'shared-memory'`: a worker's calls act on the cache in memory that it shares with the primary or with its siblings.
     *   No message is sent, except for a value that the primary holds by reference.
     * - `'ipc'`: a worker's calls travel to the primary as messages.
     */
    kind: 'local' | 'shared-memory' | 'ipc';

    /** Why it is `'ipc'`, in words for people to read: that the primary has not answered yet, or what keeps it so. */
    reason?: string;
  }

  /** What is counted of a namespace over all processes, since its store was made. A move to shared memory keeps the counts. */
  export interface SharedStats {
    /** Keys that `get`, `mGet` and `getObject` gave a value for. `peek` and `has` count as neither hits nor misses. */
    hits: number;
    /** Keys that those calls gave none for. Hits and misses together are the reads. */
    misses: number;
    /** Those of the hits whose entry had expired, see `stale`. */
    staleHits: number;
    /** Entries stored, by any call. */
    sets: number;
    /** Entries that a call removed: `del`, `mDel`, `reset`, `load`, `pop`, or a `set` of what can never fit. */
    deletes: number;
    /** Entries that `max` or `maxSize` removed. */
    evictions: number;
    /** Entries that were removed because they had expired: by a read, `prune` or a schedule. */
    expirations: number;
    /** Entries that are there now, those included that have expired and were not removed yet. */
    entries: number;
    /** The bytes of all entries, as `maxSize` counts them. */
    size: number;
    /** The bytes of memory that the store has; on the heap an estimate, `size`. */
    bytes: number;
    /** The greatest `size`; `Infinity` without a bound. */
    maxSize: number;
    /** How often damage of the shared memory was repaired. */
    recoveries: number;
    /** Entries that this cost. */
    droppedEntries: number;
    /** Processes that have the store in their memory and have made a call, at most 128. Workers that use IPC are not among them. */
    processes: number;
    /** What `fetch` did. */
    fetches: {
      /** Loaders that ran. */
      loads: number;
      /** Calls that waited for the loader of another. */
      followers: number;
      /** Loaders that failed. */
      errors: number;
      /** The milliseconds that loaders took, all together. */
      loadTime: number;
    };
  }

  /** What `stats` gives: what all processes share, and what is of this process. */
  export interface Stats extends SharedStats {
    /** The name of the cache. */
    namespace: string;
    /** Near reads of this process. */
    near: {
      /** Keys that were answered without a native call, those of `peek` and `has` included. */
      hits: number;
      /** Entries that are remembered. */
      entries: number;
      /** Their bytes, by estimate. */
      bytes: number;
    };
    /** As `transport()` returns it. */
    transport: Transport;
    /** The remote tier, where there is one. */
    remote?: RemoteStats;
  }

  /** What a call rejects with that was not answered in time, with `failsafe: 'reject'`. */
  export interface TimeoutError extends Error {
    code: 'ETIMEDOUT';
    /** The namespace of the cache that was called. */
    namespace: string;
    /** The name of the call, such as `'get'`. */
    command: string;
  }

  /** Options of a call that changes the age of an entry. */
  export interface AgeOptions {
    /** The age limit in milliseconds; 0: the cache's, `Infinity`: never. */
    maxAge?: number | undefined;
    /** As `maxAge`. */
    ttl?: number | undefined;
    /** `true`: where there is an entry that has not expired, its age runs on. */
    noUpdateTTL?: boolean | undefined;
  }

  /** Options of a call that stores an entry. */
  export interface SetOptions extends AgeOptions {
    /**
     * The tags of the entry, see `invalidateTags`: up to 128, each of at most 1024 characters. Without them the entry has none,
     * whatever tags it had before.
     */
    tags?: string | Iterable<string> | undefined;
  }

  /** What `getEntry` gives. */
  export interface EntryInfo<V = any> {
    /** The value. */
    value: V;
    /** Tells the entry, as it is now, from every other that the namespace had or will have. */
    version: number;
    /** When the entry was set, in milliseconds since the epoch; 0 where no time is kept. */
    setAt: number;
    /** When the entry expires, in milliseconds since the epoch; `Infinity` without an age. */
    expires: number;
    /** Its tags. */
    tags: string[];
  }

  /** Options of `fetch` that an instance may have defaults of. Times are in milliseconds; 0 is none. */
  export interface FetchDefaults {
    /** So long after its age an entry is given at once, while one process renews it. */
    staleWhileRevalidate?: number | undefined;
    /** So long after its age an entry is given where the loader fails; with `forceRefresh` before that, too. */
    staleIfError?: number | undefined;
    /** An entry that is older is given, and renewed in the background. Entries without an age have no time to count from. */
    refreshAfter?: number | undefined;
    /**
     * So long no process tries a renewal after one that failed.
     *
     * @defaultValue `1000`
     */
    refreshBackoff?: number | undefined;
    /** So long `undefined`, and what was skipped, is stored. */
    negativeTtl?: number | undefined;
    /** So long an error is stored, for `fetch` alone. */
    errorTtl?: number | undefined;
    /**
     * What an error means for those who waited for another's loader: `'throw'`, they reject with it, too; `'retry'`, each
     * tries its own loader in turn.
     *
     * @defaultValue `'throw'`
     */
    onError?: 'throw' | 'retry' | undefined;
    /** After this time an entry past its age is given, where there is one; with `forceRefresh` any entry. The loader goes on. */
    softTimeout?: number | undefined;
    /** After this time the call rejects with `ETIMEDOUT`. The loader goes on. */
    hardTimeout?: number | undefined;
    /**
     * How long a loader has the key for itself. After that another may begin.
     *
     * @defaultValue `30000`
     */
    leaseTimeout?: number | undefined;
  }

  /** Options of `fetch`. */
  export interface FetchOptions<T = any> extends FetchDefaults {
    /** The age limit of the entry in milliseconds; 0: the cache's, `Infinity`: never. */
    maxAge?: number | ((value: T, key: any) => number | undefined) | undefined;
    /** As `maxAge`. */
    ttl?: number | ((value: T, key: any) => number | undefined) | undefined;
    /** Tags of the entry. */
    tags?:
      | string
      | readonly string[]
      | ((value: T, key: any) => string | readonly string[] | undefined)
      | undefined;
    /** `true`: the loader runs though there is an entry. */
    forceRefresh?: boolean | undefined;
    /** Ends the wait of this call, which then rejects with the signal's `reason`. */
    signal?: AbortSignal | undefined;
    /** An object that is told how the call went. */
    status?: FetchStatus | undefined;
    /** Anything: the loader finds it in its second argument. */
    context?: any;
  }

  /** What a call of `fetch` writes into the object that it is given as `status`. */
  export interface FetchStatus {
    /**
     * - `'hit'`: there was an entry.
     * - `'miss'`: the loader of this call ran.
     * - `'inflight'`: the call waited for another's loader.
     * - `'stale'`: an entry past its age was given.
     * - `'refresh'`: with `forceRefresh`, a loader ran.
     * - `undefined`: the call failed.
     */
    fetch?: 'hit' | 'miss' | 'inflight' | 'stale' | 'refresh' | undefined;
    /** When the call began, in milliseconds since the epoch. */
    start?: number;
    /** The milliseconds that it took. */
    duration?: number;
    /** The milliseconds that the loader took, where it ran in this process. */
    loadTime?: number;
  }

  /** What makes the value of a key for `fetch`. */
  export type Loader<T = any, V = any> = {
    load(key: Key, context: LoaderContext<V>): T | PromiseLike<T>;
  }['load'];

  /** The second argument of a loader, and the third of a `fetchMethod`. */
  export interface LoaderContext<V = any> {
    /** Fires when the key was written meanwhile, when nobody waits any more, and when the instance is closed. */
    readonly signal: AbortSignal;
    /** The value that is past its age, where it was kept. */
    readonly stale: V | undefined;
    /** The options of the call, as an object of the loader's own: `maxAge`, `ttl` and `tags` may be changed. */
    readonly options: FetchOptions;
    /** What the option `context` says. */
    readonly context: any;
    /** Sets the age limit of the entry. */
    setTtl(maxAge: number | undefined): void;
    /** Sets the tags of the entry. */
    setTags(tags: string | readonly string[] | undefined): void;
    /** `return skip(value)`: the value is given to all who wait, and not stored. */
    skip(): undefined;
    skip<T>(value: T): T;
  }

  /** Options of `memoize`. */
  export interface MemoizeOptions<F extends (...args: any[]) => any = any> extends FetchOptions<
    Awaited<ReturnType<F>>
  > {
    /**
     * What keys begin with.
     *
     * @defaultValue The name of the function
     */
    name?: string | undefined;
    /**
     * Makes the key of arguments.
     *
     * @defaultValue `(...args) => JSON.stringify([name, ...args])`
     */
    key?: ((...args: Parameters<F>) => Key) | undefined;
  }

  /** What `memoize` gives. */
  export interface Memoized<F extends (...args: any[]) => any = any> {
    (...args: Parameters<F>): Promise<Awaited<ReturnType<F>>>;
    /** Removes what is kept for these arguments; says whether there was something. */
    delete(...args: Parameters<F>): Promise<boolean>;
    /** Calls the function anew for these arguments. */
    refresh(...args: Parameters<F>): Promise<Awaited<ReturnType<F>>>;
  }

  /** What `memoize` needs of a cache. */
  export type FetchingCache = Pick<Self<any>, 'fetch' | 'deleteMany'>;

  /** As `memoize` of an instance. */
  export function memoize<F extends (...args: any[]) => any>(
    fn: F,
    options: MemoizeOptions<F> & { cache: FetchingCache },
  ): Memoized<F>;
  /** As `memoize` of an instance. */
  export function memoize<F extends (...args: any[]) => any>(
    cache: FetchingCache,
    fn: F,
    key?: (...args: Parameters<F>) => Key,
    options?: MemoizeOptions<F>,
  ): Memoized<F>;

  /** An entry as `setMany` takes it. */
  export type EntryToSet<V = any> =
    | readonly [key: Key, value: V]
    | readonly [key: Key, value: V, options: number | SetOptions | undefined];

  /** Options of `hit`. */
  export interface HitOptions {
    /** What is added: 1 where none is given. */
    amount?: number;
    /** `true`: no window is begun, and the count does not go below 0. */
    ifPresent?: boolean;
    /** The count above which `whenOver` changes the window. */
    limit?: number;
    /**
     * What a hit above the limit does to the window: `'restart'` begins it anew; `'double'` too, and from the second unit above
     * the limit on each doubles its length; with a number of milliseconds, the hit that goes above the limit makes the window
     * end after that time.
     */
    whenOver?: 'restart' | 'double' | number;
  }

  /** What `hit` gives. */
  export interface Hit {
    /** The count, this hit included. */
    count: number;
    /** The milliseconds until the window ends; 0 where there is none. */
    resetIn: number;
    /** Whether this hit began the window. */
    first: boolean;
  }

  /** Options of `entries` and `keys`. */
  export interface PrefixOptions {
    /** What the keys begin with. Keys of other types than `string` begin with nothing, not even `''`. */
    prefix?: string;
  }

  /** Options of `scan`. */
  export interface ScanOptions extends PrefixOptions {
    /** Where to go on, as `scan` gave it in any process; without, at the beginning. */
    cursor?: string;
    /** About how many keys to give, at most 500; 100 when left out. */
    count?: number;
  }

  /** What `scan` gives. */
  export interface Scanned<K extends Key = Key> {
    /** Some keys, in no order. */
    keys: K[];
    /** Where to go on; `undefined` at the end. */
    cursor: string | undefined;
  }

  /** An entry as `dump` gives and `load` takes it. */
  export interface DumpEntry<V = any, K extends Key = Key> {
    /** The key. */
    k: K;
    /** The value. */
    v: V;
    /** When the entry expires, in milliseconds since 1970; 0 when neither it nor the cache had a `maxAge` when it was set. */
    e: number;
  }

  /** An entry as `pop` gives it, with the fields of an entry of lru-cache 6. */
  export interface Entry<V = any, K extends Key = Key> {
    key: K;
    value: V;
    /** What the entry counts for towards `max`: 1. */
    length: number;
    /** When the value was set, in milliseconds since 1970; 0 when neither the entry nor the cache had a `maxAge` then. */
    now: number;
    /** The age limit in milliseconds that the entry was set with; 0: none. */
    maxAge: number;
  }

  /**
   * What `execute` calls by name, with arguments and results. `forEach` and `rforEach` are not among them: they work in
   * the primary alone, as a function cannot be sent.
   */
  export interface Commands<V = any> {
    set(key: Key, value: V, maxAge?: number | SetOptions): boolean;
    get(key: Key): V | undefined;
    peek(key: Key): V | undefined;
    has(key: Key): boolean;
    del(key: Key): void;
    setIfAbsent(key: Key, value: V, options?: number | SetOptions): boolean;
    getEntry(key: Key): EntryInfo<V> | undefined;
    compareAndSet(key: Key, version: number, value: V, options?: number | SetOptions): boolean;
    compareAndDelete(key: Key, version: number): boolean;
    getAndDelete(key: Key): V | undefined;
    touch(key: Key, maxAge?: number | AgeOptions): boolean;
    getRemainingTTL(key: Key): number;
    hit(key: Key, window: number, options?: HitOptions): Hit;
    getMany(keys: Iterable<Key>): Array<V | undefined>;
    hasMany(keys: Iterable<Key>): boolean[];
    deleteMany(keys: Iterable<Key>): boolean[];
    deletePrefix(prefix: string): number;
    scan(options?: ScanOptions): Scanned;
    entries(options?: PrefixOptions): Array<[key: Key, value: V]>;
    setMany(entries: Iterable<EntryToSet<V>>, options?: number | SetOptions): boolean[];
    mSet(pairs: Pairs<V>, maxAge?: number | SetOptions): true;
    mGet(keys: readonly Key[]): { [key: string]: V | undefined };
    mDel(keys: readonly Key[]): true;
    incr(key: Key, amount?: number, maxAge?: number | SetOptions): number;
    decr(key: Key, amount?: number, maxAge?: number | SetOptions): number;
    invalidateTags(tags: string | Iterable<string>): void;
    reset(): void;
    prune(): void;
    keys(options?: PrefixOptions): Key[];
    values(): V[];
    dump(): Array<DumpEntry<V>>;
    /** As {@link LRUCache.load}. */
    load(entries: ReadonlyArray<DumpEntry<V>>): void;
    /** As {@link LRUCache.pop}. */
    pop(): Entry<V> | null;
    length(): number;
    itemCount(): number;
    max(max?: number): number;
    maxSize(maxSize?: number): number;
    maxAge(maxAge?: number): number;
    allowStale(stale?: boolean): boolean;
    /** @deprecated Use `allowStale`. */
    stale(stale?: boolean): boolean;
    stats(): SharedStats;
  }

  /**
   * The synchronous cache, with the order and ages of lru-cache 6: what {@link LRUCacheForClustersAsPromised.getCache}
   * returns in the primary, and a cache of its own when made with `new`.
   */
  export class LRUCache<K extends Key = any, V = any> {
    /**
     * @param options - The limits, or `max` alone.
     * @throws TypeError naming the option and the value, when one is invalid.
     */
    constructor(options?: number | LRUCacheOptions);

    /**
     * The greatest number of entries, `Infinity` when there is no limit; setting 0 means none. Lowering it removes the
     * least recent entries at once.
     *
     * @throws TypeError when set to anything but a number of at least 0.
     */
    get max(): number;
    set max(max: number);

    /**
     * The greatest number of bytes that all entries may take, counted as {@link LRUCacheOptions.maxSize} says; `Infinity`
     * when there is no limit; setting 0 means none. Lowering it removes the least recent entries at once.
     *
     * @throws TypeError when set to anything but a number of at least 0.
     */
    get maxSize(): number;
    set maxSize(maxSize: number);

    /** The bytes that all entries take, counted as {@link LRUCacheOptions.maxSize} says. */
    get calculatedSize(): number;

    /**
     * The age limit in milliseconds of entries that have none of their own; 0: none.
     *
     * @throws TypeError when set to anything but a number.
     */
    get maxAge(): number;
    set maxAge(maxAge: number);

    /** Whether an expired value is returned once, when it is removed, instead of `undefined`. */
    get allowStale(): boolean;
    set allowStale(allowStale: boolean);

    /** The number of entries, those included that have expired and have not been removed yet. */
    get length(): number;

    /** As {@link length}. */
    get itemCount(): number;

    /**
     * Stores a value and makes its entry the most recent. A value stored before under the key goes, with its age.
     *
     * @param maxAge - The entry's own age limit in milliseconds; 0 or none: the cache's.
     * @returns `true`; `false` when the entry can never fit: nothing is evicted for it, and the key's old value is gone.
     * @throws TypeError naming the type of a key that cannot be one, or of a `maxAge` that is not a number.
     */
    set(key: K, value: V, maxAge?: number | SetOptions): boolean;

    /**
     * The value of a key, whose entry becomes the most recent; `undefined` on a miss.
     *
     * An entry that has expired is removed; with `allowStale` its value is returned that once.
     */
    get(key: K): V | undefined;

    /** As {@link get}, but leaves the entry where it is in the order of recency. */
    peek(key: K): V | undefined;

    /** Whether a key has an entry that has not expired. Removes nothing and leaves the order of recency. */
    has(key: K): boolean;

    /**
     * Stores a value where there is no entry, or an expired one. It is one step for all processes.
     *
     * @returns Whether it was stored.
     */
    setIfAbsent(key: K, value: V, options?: number | SetOptions): boolean;

    /** As `get`, with the version of the entry and its times; `undefined` where there is none. */
    getEntry(key: K): EntryInfo<V> | undefined;

    /** Stores a value where the entry of the key still has the version that `getEntry` gave; 0: where there is no entry. */
    compareAndSet(key: K, version: number, value: V, options?: number | SetOptions): boolean;

    /** Removes the entry of a key where it still has the version that `getEntry` gave. */
    compareAndDelete(key: K, version: number): boolean;

    /** Removes the entry of a key and gives its value, in one step; `undefined` where there is none. */
    getAndDelete(key: K): V | undefined;

    /**
     * Begins the age of an entry anew and makes the entry the most recent.
     *
     * @param maxAge - Its new age limit in milliseconds; none: the one it has.
     * @returns Whether there is an entry that has not expired.
     */
    touch(key: K, maxAge?: number | AgeOptions): boolean;

    /** The milliseconds until an entry expires: `Infinity` without an age, 0 where there is none or it has expired. */
    getRemainingTTL(key: K): number;

    /**
     * Counts in a fixed window of time, which begins with its first hit. It is one step for all processes.
     *
     * @param window - The length of the window in milliseconds, or `Infinity`.
     */
    hit(key: K, window: number, options?: HitOptions): Hit;

    /** The value of each key, in order; `undefined` for a miss. Each is read as `get` does. */
    getMany(keys: Iterable<K>): Array<V | undefined>;

    /** Whether each key has an entry that has not expired, in order. */
    hasMany(keys: Iterable<K>): boolean[];

    /** Removes entries; says of each key, in order, whether it had an entry that had not expired. */
    deleteMany(keys: Iterable<K>): boolean[];

    /**
     * Removes the entries whose keys are strings that begin with `prefix`, of those that are there when the call begins. An entry is removed
     * in one step each; calls of others go on meanwhile.
     *
     * @param prefix - A string that is not empty.
     * @returns How many there were that had not expired.
     */
    deletePrefix(prefix: string): number;

    /**
     * Some of the keys, without those of expired entries, and a cursor to go on with. Who goes on until there is no cursor gets each key
     * that is there from the beginning to the end; one may come twice. A part may have fewer keys than `count`, and none.
     */
    scan(options?: ScanOptions): Scanned<K>;

    /** All entries that have not expired, most recent first; with a `prefix`, those whose keys are strings that begin with it. */
    entries(options?: PrefixOptions): Array<[key: K, value: V]>;

    /** Stores entries `[key, value, options?]`; says of each, in order, whether it was stored. */
    setMany(entries: Iterable<EntryToSet<V>>, options?: number | SetOptions): boolean[];

    /** Removes the entry of a key, if there is one. */
    del(key: K): void;

    /** What was counted, and what there is now. */
    stats(): SharedStats;

    /** Removes every entry that has one of these tags: a tag, or up to 128, each of at most 1024 characters. */
    invalidateTags(tags: string | Iterable<string>): void;

    /** Removes all entries. */
    reset(): void;

    /**
     * All keys, most recent first, those of expired entries included that have not been removed yet. With options, expired ones are
     * left out, and with a `prefix` all but strings that begin with it.
     */
    keys(options?: PrefixOptions): K[];

    /** All values, most recent first, those of expired entries included that have not been removed yet. */
    values(): V[];

    /** All entries that have not expired, most recent first, in the form that {@link load} takes. */
    dump(): Array<DumpEntry<V, K>>;

    /** Removes all entries, then restores those of a {@link dump} with their order and remaining ages; expired ones stay away. */
    load(entries: ReadonlyArray<DumpEntry<V, K>>): void;

    /** Removes the least recent entry and returns it, expired or not; `null` when there is none. */
    pop(): Entry<V, K> | null;

    /** Removes every expired entry. */
    prune(): void;

    /**
     * Calls a function for each entry, most recent first. Expired entries are removed on the way, and passed once with
     * `allowStale`.
     *
     * @param thisArg - What `this` is in the function; the cache when left out.
     */
    forEach<T = this>(
      callback: (this: T, value: V, key: K, cache: this) => void,
      thisArg?: T,
    ): void;

    /** As {@link forEach}, least recent first. */
    rforEach<T = this>(
      callback: (this: T, value: V, key: K, cache: this) => void,
      thisArg?: T,
    ): void;
  }
}

declare global {
  /** As Node.js and libraries of TypeScript declare it. */
  interface AbortSignal {}

  interface SymbolConstructor {
    /** As Node.js and newer libraries of TypeScript declare it. */
    readonly asyncDispose: unique symbol;
  }
}

export = LRUCacheForClustersAsPromised;
