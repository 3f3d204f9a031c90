// an ES module under node16 and nodenext
import Cache, { LRUCache, LRUCacheForClustersAsPromised } from 'lru-cache-for-clusters-as-promised';
import { getAllCaches, getInstance, init } from 'lru-cache-for-clusters-as-promised';
import * as all from 'lru-cache-for-clusters-as-promised';
import type { Entry, Options } from 'lru-cache-for-clusters-as-promised';
import Required = require('lru-cache-for-clusters-as-promised');
import manifest = require('lru-cache-for-clusters-as-promised/package.json');
import { exact } from '../assert.js';

const options: Options = { max: 1 };
const cache: Cache<string> = new Cache<string>(options);
exact<Promise<string | undefined>>()(cache.get('k'));
exact<typeof Cache>()(LRUCacheForClustersAsPromised);
exact<typeof Cache>()(Cache.default);
exact<typeof Cache>()(all.default);
exact<typeof LRUCache>()(all.LRUCache);
exact<typeof Cache>()(Required);
exact<true>()(init());
exact<typeof Cache.getInstance>()(getInstance);
exact<typeof Cache.getAllCaches>()(getAllCaches);
exact<number | undefined>()(new LRUCache<string, number>().get('k'));
declare const entry: Entry<string>;
exact<string>()(entry.value);
exact<string>()(manifest.name);
async function dynamic() {
  const module = await import('lru-cache-for-clusters-as-promised');
  exact<typeof Cache>()(module.default);
  exact<typeof LRUCache>()(module.LRUCache);
}
export { dynamic };
// @ts-expect-error
import { Missing } from 'lru-cache-for-clusters-as-promised';
