'use strict';

// Limiters of many processes at once: never one request over the limit, and none refused before it. The proof is the counts that the
// limiters answer. In a window each count is given once, without a gap; the requests with the counts up to the limit are those that pass.

const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const { resultOf } = require('../helpers/program');

const { LIMITERS } = require('./fixtures/limiters.js');

/** Calls that a worker has under way and has not reported: two batches. */
const UNREPORTED = 200;

const KILLS = 3;

const MANY = process.env.STRESS
  ? { workers: 16, requests: 100_000 }
  : { workers: 4, requests: 10_000 };

async function run(options) {
  const program = path.join(__dirname, 'fixtures', 'rate-limits.js');
  const result = await resultOf(program, JSON.stringify(options));
  if (process.env.SHOW) {
    console.log(options.name, 'shared' in options ? options.shared : '', {
      answered: result.answered,
      elapsed: result.elapsed,
      windows: result.given.map((counts) => counts[1]),
      allowed: result.given.map((counts) => allowed(counts, options.limit)),
      missing: result.given.map((counts) => missing(counts)),
    });
  }
  return result;
}

/** The answers that let a request pass. */
function allowed(counts, limit) {
  let sum = 0;
  for (const [count, times] of Object.entries(counts)) if (Number(count) <= limit) sum += times;
  return sum;
}

/** The counts of one window that nobody was given, below the greatest. */
function missing(counts) {
  return Math.max(...Object.keys(counts).map(Number)) - Object.keys(counts).length;
}

for (const name of Object.keys(LIMITERS)) {
  describe(`${name}: exactness`, () => {
    for (const shared of [true, false]) {
      it(`lets the limit pass and no more, ${shared ? 'in shared memory' : 'by IPC'}`, async () => {
        const limit = 1000;
        const options = { name, shared, ...MANY, keys: 5, limit, window: 600_000 };
        const { given, refused, answered } = await run(options);
        assert.ok(answered >= MANY.requests);
        for (const [key, counts] of given.entries()) {
          assert.equal(allowed(counts, limit), limit);
          assert.equal(missing(counts), 0);
          assert.deepEqual([...new Set(Object.values(counts))], [1], 'a count was given twice');
          const early = Object.keys(refused[key]).filter((count) => Number(count) <= limit);
          assert.deepEqual(early, []);
        }
      }).timeout(300_000);
    }

    it('begins a window for all processes at once', async () => {
      const [limit, window] = [500, 700];
      const options = { name, ...MANY, shared: true, keys: 3, limit, window, windows: 3 };
      const { given, refused, elapsed } = await run(options);
      for (const [key, counts] of given.entries()) {
        // The windows: each begins with the count 1, and two of them are not there at a time.
        const windows = counts[1];
        assert.ok(windows >= 3 && windows <= elapsed / window + 1, `${windows} windows`);
        // No window has a gap: what has the count n + 1 has the count n. So up to the limit each count lets one request pass a window.
        const greatest = Math.max(...Object.keys(counts).map(Number));
        for (let count = 1; count < greatest; count += 1) {
          assert.ok(counts[count] >= counts[count + 1], `a gap at the count ${count}`);
        }
        assert.ok(allowed(counts, limit) <= windows * limit);
        const early = Object.keys(refused[key]).filter((count) => Number(count) <= limit);
        assert.deepEqual(early, []);
      }
    }).timeout(300_000);

    it('stays exact when workers are killed', async () => {
      const limit = 1000;
      const options = { name, shared: true, ...MANY, keys: 2, limit, window: 600_000, kill: KILLS };
      const { given, refused, dead } = await run(options);
      assert.equal(dead, KILLS);
      let unreported = 0;
      for (const [key, counts] of given.entries()) {
        assert.ok(allowed(counts, limit) <= limit);
        assert.deepEqual([...new Set(Object.values(counts))], [1], 'a count was given twice');
        const early = Object.keys(refused[key]).filter((count) => Number(count) <= limit);
        assert.deepEqual(early, []);
        unreported += missing(counts);
      }
      // What is missing are calls of the workers that were killed.
      assert.ok(unreported <= KILLS * UNREPORTED, `${unreported} counts are missing`);
    }).timeout(300_000);

    it('lets the limit pass over HTTP', async () => {
      const [limit, clients, requests] = [100, 3, 900];
      const program = path.join(__dirname, 'fixtures', 'limited-cluster.js');
      const child = fork(program, [JSON.stringify({ name, limit, window: 600_000 })]);
      const [{ port }] = await once(child, 'message');
      // Many connections, which the primary hands to all workers.
      const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });
      const statuses = await Promise.all(
        Array.from({ length: requests }, async (_, n) => {
          const headers = { 'x-client': `client-${n % clients}` };
          const request = http.get({ port, host: '127.0.0.1', agent, headers });
          const [response] = await once(request, 'response');
          response.resume();
          await once(response, 'end');
          return [n % clients, response.statusCode];
        }),
      );
      agent.destroy();
      child.disconnect();
      await once(child, 'exit');
      for (let client = 0; client < clients; client += 1) {
        const own = statuses.filter(([of]) => of === client).map(([, status]) => status);
        assert.equal(own.filter((status) => status === 200).length, limit);
        assert.equal(own.filter((status) => status === 429).length, requests / clients - limit);
      }
    }).timeout(120_000);
  });
}
