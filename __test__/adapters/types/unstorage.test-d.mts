import { createStorage } from 'unstorage';
import { lruCacheDriver } from 'lru-cache-for-clusters-as-promised/unstorage';

const storage = createStorage<{ a: number }>({ driver: lruCacheDriver({ max: 10, ttl: 60 }) });
await storage.setItem('a', { a: 1 }, { ttl: 5 });
const size: number = await lruCacheDriver().getInstance!().size();
void size;
// @ts-expect-error: no option
lruCacheDriver({ base: 'a' });
