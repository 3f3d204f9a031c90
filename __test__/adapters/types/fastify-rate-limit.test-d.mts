import rateLimit from '@fastify/rate-limit';
import fastify from 'fastify';
import { createStore } from 'lru-cache-for-clusters-as-promised/fastify-rate-limit';

const store = createStore({ namespace: 'limits', timeout: 100 });
await fastify().register(rateLimit, { max: 5, timeWindow: 1000, store });
const own = new store({ continueExceeding: true });
own.incr('a', (error, result) => void [error, result?.current], 1000, 5);
own.read('a', (error, result) => void [error, result?.ttl]);
// @ts-expect-error: always 'reject'
createStore({ failsafe: 'resolve' });
