// import, compiled to CommonJS with esModuleInterop or bundled
import Cache, { LRUCache, LRUCacheForClustersAsPromised } from 'lru-cache-for-clusters-as-promised';
import { default as AlsoCache } from 'lru-cache-for-clusters-as-promised';
import * as all from 'lru-cache-for-clusters-as-promised';
import type * as types from 'lru-cache-for-clusters-as-promised';
import type { Entry, Options } from 'lru-cache-for-clusters-as-promised';
import type TypeOfCache from 'lru-cache-for-clusters-as-promised';
export { LRUCache as Again, default as CacheAgain } from 'lru-cache-for-clusters-as-promised';
import { exact } from '../assert.js';

const options: Options = { max: 1 };
const cache: Cache<string> = new Cache<string>(options);
exact<Promise<string | undefined>>()(cache.get('k'));
exact<typeof Cache>()(LRUCacheForClustersAsPromised);
exact<typeof Cache>()(AlsoCache);
exact<typeof Cache>()(all.default);
exact<typeof Cache>()(all.LRUCacheForClustersAsPromised);
exact<typeof LRUCache>()(all.LRUCache);
exact<Cache<string>>()(new LRUCacheForClustersAsPromised<string>());
exact<Cache<string>>()(new all.default<string>());
exact<number | undefined>()(new LRUCache<string, number>().get('k'));
const named: LRUCacheForClustersAsPromised<string> = cache;
const typed: TypeOfCache<string> = cache;
declare const entry: Entry<string>;
exact<string>()(entry.value);
declare const other: types.Entry<string>;
exact<Entry<string>>()(other);
export { named, typed };
// @ts-expect-error
import { Missing } from 'lru-cache-for-clusters-as-promised';
