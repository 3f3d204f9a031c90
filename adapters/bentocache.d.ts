import LRUCache = require('../index.js');

/** Options of the cache, and the prefix of keys. */
export interface LRUCacheDriverOptions extends Omit<LRUCache.Options, 'failsafe'> {
  /** What is put before each key, with a colon. The default is that of bentocache: `'bentocache'`. */
  prefix?: string | undefined;
}

/** The driver, as bentocache uses it. Ages are in milliseconds. */
export interface LRUCacheDriver {
  type: 'l2';
  namespace(namespace: string): LRUCacheDriver;
  get(key: string): Promise<string | undefined>;
  pull(key: string): Promise<string | undefined>;
  set(key: string, value: string, ttl?: number): Promise<boolean>;
  delete(key: string): Promise<boolean>;
  deleteMany(keys: string[]): Promise<boolean>;
  clear(): Promise<void>;
  prune(): Promise<void>;
  disconnect(): Promise<void>;
}

/**
 * A second tier of bentocache that all processes share, for `useL2Layer`. The default of `namespace` is `'bentocache'`.
 *
 * Leave the first tier out: without a bus it does not learn what other processes change, and near reads are as fast.
 */
export function lruCacheDriver(options?: LRUCacheDriverOptions): {
  options: LRUCacheDriverOptions;
  factory: (config: { prefix?: string }) => LRUCacheDriver;
};
