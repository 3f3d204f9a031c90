// a CommonJS module under node16 and nodenext
import Cache, { LRUCache, LRUCacheForClustersAsPromised } from 'lru-cache-for-clusters-as-promised';
import * as all from 'lru-cache-for-clusters-as-promised';
import Required = require('lru-cache-for-clusters-as-promised');
import type { Options } from 'lru-cache-for-clusters-as-promised';
import { exact } from '../assert.js';

const options: Options = { max: 1 };
const cache: Cache<string> = new Required<string>(options);
exact<Promise<string | undefined>>()(cache.get('k'));
exact<typeof Cache>()(LRUCacheForClustersAsPromised);
exact<typeof Cache>()(all.default);
exact<typeof Cache>()(Required);
exact<typeof LRUCache>()(all.LRUCache);
export { cache };
