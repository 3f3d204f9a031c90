import express from 'express';
import { rateLimit, type Store } from 'express-rate-limit';
import { LRUCacheStore } from 'lru-cache-for-clusters-as-promised/express-rate-limit';

const store: Store = new LRUCacheStore({ namespace: 'limits', prefix: 'a:', timeout: 100 });
express().use(rateLimit({ windowMs: 1000, limit: 5, store }));
const own = new LRUCacheStore();
own.init({ windowMs: 5 });
const hits: number = (await own.increment('a')).totalHits;
const reset: Date | undefined = (await own.get('a'))?.resetTime;
void [hits, reset];
await own.shutdown();
// @ts-expect-error: always 'reject'
new LRUCacheStore({ failsafe: 'resolve' });
// @ts-expect-error: no option
new LRUCacheStore({ client: 'a' });
