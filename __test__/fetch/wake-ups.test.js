'use strict';

// How often a process is woken: once for a lease, however many of its callers wait.

const assert = require('node:assert/strict');
const Cache = require('../..');
const { bulk } = require('../../lib/store/lru-cache');
const { TRANSPORTS, processes, unique, until } = require('../helpers');

const CALLERS = 1000;

const isClient = (symbol) => symbol.description === 'client';

for (const transport of TRANSPORTS) {
  describe(`wake-ups, transport: ${transport}`, () => {
    const { worker: start } = processes();

    it(`${CALLERS} callers of a worker wait as one, and are told by one`, async () => {
      const namespace = unique('woken');
      const cache = new Cache({ namespace });
      const worker = await start({ transport });
      await worker.run(async ({ Cache: Class, state }, given) => {
        state.cache = await Class.getInstance({ namespace: given, timeout: 30_000 });
      }, namespace);
      const client = cache[Object.getOwnPropertySymbols(cache).find(isClient)];
      const { token } = await client.leases.claim('k', {});
      const waiters = () => bulk.leases.waiters(client.views.get('json', 0), 'k', token);
      assert.equal(waiters(), 0);
      const fetched = worker.run(async ({ state }, callers) => {
        const load = () => 'loaded here';
        const calls = Array.from({ length: callers }, () => state.cache.fetch('k', load));
        return (await Promise.all(calls)).filter((value) => value.a === 1).length;
      }, CALLERS);
      await until(() => waiters() > 0);
      // By a call behind those of the callers, all of them have claimed.
      await worker.run(({ state }) => state.cache.healthCheck());
      assert.equal(waiters(), 1);
      await client.leases.settle('k', token, { kind: 'value', value: { a: 1 } });
      assert.equal(await fetched, CALLERS);
    });
  });
}
