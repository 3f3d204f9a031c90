// The names of 2.x, as code under `strict` sees them.
import Cache, { LRUCacheClustered, wrap } from 'lru-cache-for-clusters-as-promised';
import type {
  Codec,
  DumpPair,
  L1Stats,
  LRUCache,
  WrappedCache,
} from 'lru-cache-for-clusters-as-promised';
import { exact } from './assert.js';

interface User {
  name: string;
}
declare const user: User;

const cache = new LRUCacheClustered<string, User>({
  namespace: 'users',
  ttl: 1000,
  localL1: { enabled: true, experimental: true, ttl: 5, methods: { get: true } },
});
exact<Promise<User | undefined>>()(cache.get('ann', { bypassL1: true }));
exact<Promise<boolean>>()(cache.set('ann', user, { ttl: 5, size: 1, updateL1: true }));
exact<Promise<Map<string, User | undefined>>>()(cache.mGet(['ann']));
exact<Promise<void>>()(cache.mSet(new Map([['ann', user]]), { ttl: 5 }));
exact<Promise<void>>()(cache.mSet([['ann', user, { ttl: 1 }]]));
exact<Promise<DumpPair<string, User>[]>>()(cache.dump());
exact<Promise<void>>()(cache.load([['ann', { value: user, ttl: 5 }]]));
exact<Promise<boolean>>()(cache.destroy());
exact<Promise<void>>()(cache.healthCheck());
exact<L1Stats | undefined>()(cache.localStats());
exact<LRUCacheClustered<string, User>>()(cache.withoutLocal());
exact<Map<string, LRUCache>>()(LRUCacheClustered.getAllCaches());
exact<Promise<LRUCacheClustered<string, User>>>()(LRUCacheClustered.getInstance<string, User>());
cache.on('l1:hit', ({ namespace, key }) => [namespace, key]).off('l1:hit', () => {});
exact<AsyncIterableIterator<[string, User]>>()(cache[Symbol.asyncIterator]());
// @ts-expect-error A value is never null.
cache.set('ann', null);
// @ts-expect-error Nor is a key.
cache.get(undefined);

declare const codec: Codec<User, string>;
exact<WrappedCache<string, User>>()(wrap(new LRUCacheClustered<string, string>(), codec));
exact<Promise<User | undefined>>()(wrap(new Cache<string>(), codec).get('ann'));

const old = new Cache<User>();
exact<Promise<boolean>>()(old.delete('ann'));
exact<Promise<void>>()(old.mDelete(['ann']));
exact<Promise<void>>()(old.clear());
exact<Promise<boolean>>()(old.purgeStale());
exact<Promise<number>>()(old.size());
exact<Promise<number>>()(old.ttl(5));
exact<Promise<boolean>>()(old.destroy());
exact<Promise<void>>()(old.load([{ k: 'ann', v: user, e: 0 }]));
exact<Promise<void>>()(old.load([['ann', { value: user }]]));
exact<Promise<User | undefined>>()(old.get('ann', { bypassL1: true }));
exact<void>()(Cache.bootstrap());

// The calls of the class are there, too.
exact<Promise<number>>()(cache.deletePrefix('user:'));
exact<Promise<void>>()(cache.invalidateTags('users'));
exact<Promise<User>>()(cache.fetch('ann', () => user));
