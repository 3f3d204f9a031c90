import CacheHandler from 'lru-cache-for-clusters-as-promised/next/cache-handler';
import handler from 'lru-cache-for-clusters-as-promised/next/cache-handlers';
import type { NextConfig } from 'next';
import type { CacheHandler as HandlerOfUseCache } from 'next/dist/server/lib/cache-handlers/types.js';
import type { IncrementalCache } from 'next/dist/server/lib/incremental-cache/index.js';

const of: ConstructorParameters<typeof IncrementalCache>[0]['CurCacheHandler'] = CacheHandler;
const other: typeof CacheHandler = CacheHandler.withOptions({ namespace: 'a', maxSize: 1 });
await new other({ revalidatedTags: [], _requestHeaders: {} }).revalidateTag(['a'], { expire: 1 });
const useCache: HandlerOfUseCache = handler.withOptions({ max: 5 });
const expiration: number = await handler.getExpiration(['a']);
void [of, useCache, expiration];
// @ts-expect-error: always 'reject'
CacheHandler.withOptions({ failsafe: 'resolve' });
// @ts-expect-error: always 'reject'
handler.withOptions({ failsafe: 'resolve' });

const config: NextConfig = {
  cacheHandler: import.meta.resolve('lru-cache-for-clusters-as-promised/next/cache-handler'),
};
void config;
