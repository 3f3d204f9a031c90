import express from 'express';
import session, { type Store } from 'express-session';
import { LRUCacheStore } from 'lru-cache-for-clusters-as-promised/express-session';

const store: Store = new LRUCacheStore({ max: 10, prefix: 'sess:', maxAge: 60_000 });
express().use(session({ secret: 'test', store, resave: false, saveUninitialized: false }));
const own = new LRUCacheStore();
own.length((error, length?: number) => void [error, length]);
own.all((error, sessions) => void [error, sessions?.map(({ id, cookie }) => [id, cookie.maxAge])]);
await own.close();
// @ts-expect-error: no option
new LRUCacheStore({ client: 'a' });
