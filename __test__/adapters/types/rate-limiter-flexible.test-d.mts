import { RateLimiterLRUCache } from 'lru-cache-for-clusters-as-promised/rate-limiter-flexible';
import {
  BurstyRateLimiter,
  RateLimiterMemory,
  RateLimiterUnion,
  type RateLimiterRes,
} from 'rate-limiter-flexible';

const limiter = new RateLimiterLRUCache({
  points: 5,
  duration: 1,
  blockDuration: 10,
  insuranceLimiter: new RateLimiterMemory({ points: 1, duration: 1 }),
  cache: { namespace: 'login', timeout: 100 },
});
const consumed: RateLimiterRes = await limiter.consume('a', 2);
const got: RateLimiterRes | null = await limiter.get('a');
void [consumed.consumedPoints, got?.msBeforeNext];
new RateLimiterUnion(limiter, limiter);
new BurstyRateLimiter(limiter, limiter);
await limiter.close();
// @ts-expect-error: always 'reject'
new RateLimiterLRUCache({ points: 5, duration: 1, cache: { failsafe: 'resolve' } });
// @ts-expect-error: no option
new RateLimiterLRUCache({ points: 5, duration: 1, namespace: 'a' });
