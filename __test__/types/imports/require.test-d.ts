// import = require(), CommonJS
import Cache = require('lru-cache-for-clusters-as-promised');
import { exact } from '../assert.js';

const cache: Cache<string> = new Cache<string>({ max: 1 });
exact<Promise<string | undefined>>()(cache.get('k'));
exact<typeof Cache>()(Cache.default);
exact<typeof Cache>()(Cache.LRUCacheForClustersAsPromised);
exact<Cache<string>>()(new Cache.default<string>());
exact<Cache<string>>()(new Cache.LRUCacheForClustersAsPromised<string>());
const lru: Cache.LRUCache<string, number> = new Cache.LRUCache<string, number>();
exact<number | undefined>()(lru.get('k'));
const options: Cache.Options = { max: 1 };
const named: Cache.LRUCacheForClustersAsPromised<string> = cache;
export { options, named };
// @ts-expect-error
Cache.Options;
// @ts-expect-error
Cache.Self;
