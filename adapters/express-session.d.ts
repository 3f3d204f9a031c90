import { SessionData, Store } from 'express-session';
import LRUCache = require('../index.js');

/** Options of the cache, and the prefix of keys. */
export interface LRUCacheStoreOptions extends Omit<
  LRUCache.Options,
  'failsafe' | 'stale' | 'allowStale'
> {
  /**
   * What is put before the id of a session.
   *
   * @defaultValue `'sess:'`
   */
  prefix?: string | undefined;
}

/**
 * A store of express-session whose sessions all processes share. The default of `namespace` is `'express-session'`.
 *
 * A session stays up to the end of its cookie; where the cookie has none, for `maxAge` (or `ttl`) milliseconds, a day by
 * default. Sessions are kept as JSON.
 */
export class LRUCacheStore extends Store {
  constructor(options?: LRUCacheStoreOptions);
  get(sid: string, callback: (error: any, session?: SessionData | null) => void): void;
  /** An error where the session does not fit `maxSize` or `maxEntrySize`: it is not stored. */
  set(sid: string, session: SessionData, callback?: (error?: any) => void): void;
  destroy(sid: string, callback?: (error?: any) => void): void;
  /** Renews the age of a session, and changes nothing else of it. */
  touch(sid: string, session: SessionData, callback?: (error?: any) => void): void;
  /** The sessions, with their ids, and with the cookies that were written last: `touch` does not change those. */
  all(callback: (error: any, sessions?: (SessionData & { id: string })[] | null) => void): void;
  length(callback: (error: any, length?: number) => void): void;
  clear(callback?: (error?: any) => void): void;
  /** Lets this store go: later calls fail. The sessions stay. */
  close(): Promise<void>;
}
