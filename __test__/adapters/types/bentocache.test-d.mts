import { BentoCache, bentostore } from 'bentocache';
import type { CreateDriverResult, L2CacheDriver } from 'bentocache/types';
import { lruCacheDriver } from 'lru-cache-for-clusters-as-promised/bentocache';

const driver: CreateDriverResult<L2CacheDriver> = lruCacheDriver({ max: 10, prefix: 'app' });
const bento = new BentoCache({
  default: 'shared',
  stores: { shared: bentostore().useL2Layer(driver) },
});
await bento.get({ key: 'a' });
// @ts-expect-error: no option
lruCacheDriver({ connection: 'a' });
