// Code that compiles against the types of 1.7.4, and here. What does not, because those types were wrong:
// - a result that may be a miss is `undefined` too: `get`, `peek`, `getObject`, and each value of `mGet` and `mGetObjects`;
// - a cache holds the types that are named, where 1.x added string and number to them: `new Cache<User, string, number>()`;
// - `setObject` takes the types that are named, where 1.x took any object;
// - `set`, `setObject`, `incr`, `decr`, `max(n)`, … resolve with their result: a function that is declared `Promise<void>`
//   awaits them instead of returning their Promise;
// - `dump` resolves with entries, not strings; `getLruCaches` never existed, `getAllCaches` does.
import Cache from 'lru-cache-for-clusters-as-promised';

interface User {
  name: string;
}
declare const user: User;

Cache.init();
new Cache();
new Cache({ namespace: 'users', max: 50, stale: false, timeout: 100, failsafe: 'resolve' });
new Cache<User, Date, string, number>({ maxAge: 1000, prune: '*/30 * * * * *' });
new Cache<User>({ prune: false, failsafe: 'reject' });

const cache = new Cache<User>();
const mixed = new Cache<User, string, number>();
const untyped = new Cache();

export async function typed(): Promise<void> {
  await cache.set('k', user, 1000);
  await cache.setObject('k', user, 1000);
  await cache.mSetObjects({ k: user }, 1000);
  await mixed.mSet({ a: 1, b: 'two' }, 1000);
  const some: User | string | number | undefined = await mixed.get('k');
  if (typeof some === 'object') some.name;
  const cast = (await cache.get('k')) as User;
  const object = (await cache.getObject('k')) as User;
  const all: Array<User | string | number> = await cache.values();
  const had: boolean = await cache.has('k');
  const keys: string[] = await cache.keys();
  const sizes: number[] = [await cache.length(), await cache.itemCount(), await cache.max()];
  const age: number = await cache.maxAge();
  const stale: boolean = (await cache.stale()) || (await cache.allowStale());
  await cache.incr('n');
  await cache.decr('n', 2);
  await cache.max(10);
  await cache.maxAge(10);
  await cache.stale(true);
  await cache.allowStale(true);
  const popped: number = await cache.execute('another');
  const opened: Cache = await Cache.getInstance();
  const lru = cache.getCache();
  const removed: Promise<void> = cache.del('k');
  const several: Promise<void> = cache.mDel(['a', 'b']);
  const written: Promise<void> = mixed.mSet({ a: 1, b: 'two' });
  const said: Promise<boolean> = cache.mDel(['a']);
  const truth: boolean =
    (await mixed.mSet(new Map([['a', 1]]))) &&
    (await mixed.mSet([
      ['a', 1, 50],
      ['b', 'two'],
    ]));
  const emptied: Promise<void> = cache.reset();
  void [cast, object, all, had, keys, sizes, age, stale, popped, opened, lru];
  void [removed, several, written, said, truth, emptied];
  return cache.prune();
}

export async function withoutTypeArguments(): Promise<void> {
  await untyped.mSet({ a: 1, b: 'two' });
  await untyped.setObject('k', new Date());
  const value: string | number = await untyped.get('k');
  const object: Object = await untyped.getObject('k');
  const pairs: { [key: string]: string | number } = await untyped.mGet(['a', 'b']);
  const objects: { [key: string]: string | number } = await untyped.mGetObjects(['a', 'b']);
  const peeked: string | number = await untyped.peek('k');
  void [value, object, pairs, objects, peeked];
}
