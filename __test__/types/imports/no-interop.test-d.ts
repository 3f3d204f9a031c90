// import, compiled to CommonJS without esModuleInterop: the namespace is the class
import Cache, { LRUCache, LRUCacheForClustersAsPromised } from 'lru-cache-for-clusters-as-promised';
import * as Whole from 'lru-cache-for-clusters-as-promised';
import type { Options } from 'lru-cache-for-clusters-as-promised';
import { exact } from '../assert.js';

const options: Options = { max: 1 };
const cache: Cache<string> = new Whole<string>(options);
exact<Promise<string | undefined>>()(cache.get('k'));
exact<typeof Cache>()(LRUCacheForClustersAsPromised);
exact<typeof Cache>()(Whole);
exact<typeof LRUCache>()(Whole.LRUCache);
