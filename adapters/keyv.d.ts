import { EventEmitter } from 'events';
import LRUCache = require('../index.js');

/** Options of the cache. `namespace` is that of the cache, and not that of Keyv; its default is `'keyv'`. */
export interface KeyvStoreOptions extends Omit<LRUCache.Options, 'failsafe'> {}

/**
 * A store of Keyv 5 whose entries all processes share.
 *
 * Ages are spans in milliseconds, more than 0; without one an entry stays. A span of more than 10^12 ms is a `TypeError`:
 * it is a time.
 */
export class KeyvStore extends EventEmitter {
  constructor(options?: KeyvStoreOptions);
  /** The options, for Keyv. */
  opts: KeyvStoreOptions & { dialect: 'redis' };
  /** The namespace of the Keyv that has this store. Keyv sets it; `clear` and `iterator` keep to it. */
  namespace?: string | undefined;
  get<Value>(key: string): Promise<Value | undefined>;
  getMany<Value>(keys: string[]): Promise<(Value | undefined)[]>;
  /** `ttl` is in milliseconds. Resolves with whether the value was stored. */
  set(key: string, value: unknown, ttl?: number): Promise<boolean>;
  setMany(entries: { key: string; value: unknown; ttl?: number | undefined }[]): Promise<void>;
  /** Whether there was an entry. */
  delete(key: string): Promise<boolean>;
  /** Whether there was any of the entries. */
  deleteMany(keys: string[]): Promise<boolean>;
  has(key: string): Promise<boolean>;
  hasMany(keys: string[]): Promise<boolean[]>;
  /** Removes the entries of the Keyv's namespace; without one, all of the cache. */
  clear(): Promise<void>;
  /** The entries of a namespace, in slices; what is set meanwhile may be there or not, and an entry may come twice. */
  iterator<Value>(
    namespace?: string,
  ): AsyncGenerator<(string | Awaited<Value> | undefined)[], void>;
  /** Lets this store go: later calls reject. The entries stay. */
  disconnect(): Promise<void>;
}

/**
 * A store of Keyv 6 whose entries all processes share.
 *
 * Ages are the times at which entries end, in milliseconds since 1970. A number below 10^11 is a `TypeError`: it is a span.
 */
export class Keyv6Store extends EventEmitter {
  constructor(options?: KeyvStoreOptions);
  /** The namespace of the Keyv that has this store. Keyv sets it, and leaves it to the store to keep namespaces apart. */
  namespace: string | undefined;
  /** That ages are given as times. */
  get capabilities(): any;
  get<Value>(key: string): Promise<Value | undefined>;
  getMany<Value>(keys: string[]): Promise<(Value | undefined)[]>;
  /** `expires` is a time. Resolves with whether the value was stored. */
  set(key: string, value: unknown, expires?: number): Promise<boolean>;
  setMany<Value>(
    entries: { key: string; value: Value; expires?: number | undefined }[],
  ): Promise<boolean[]>;
  /** Whether there was an entry. */
  delete(key: string): Promise<boolean>;
  /** For each key whether there was an entry. */
  deleteMany(keys: string[]): Promise<boolean[]>;
  has(key: string): Promise<boolean>;
  hasMany(keys: string[]): Promise<boolean[]>;
  /** Removes the entries of the namespace; without one, all of the cache. */
  clear(): Promise<void>;
  /** The entries of the namespace, in slices; what is set meanwhile may be there or not, and an entry may come twice. */
  iterator<Value>(): AsyncGenerator<(string | Awaited<Value> | undefined)[], void>;
  /** Lets this store go: later calls reject. The entries stay. */
  disconnect(): Promise<void>;
}
