'use strict';

// Real applications of Next.js, served by four workers. Each request chooses its worker. `run.js` beside this file builds them first.

const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const ROUNDS = 20;
const APPS = {
  // Pages and route handlers that are made at their first request, and functions with 'use cache'.
  isr: ['page', 'route', 'use-cache'],
  // Pages that are cached whole, and in part.
  components: ['whole', 'part'],
};

describe('Next.js with four workers', () => {
  /** The source of the application's data: the versions of items, and how often each was asked for. */
  const versions = {};
  const loads = {};
  let source;
  let ports;
  let child;
  let last = 0;

  before(async () => {
    source = http.createServer((request, response) => {
      const id = request.url.slice(1);
      loads[id] = (loads[id] ?? 0) + 1;
      response.end(String((versions[id] ??= 1)));
    });
    // A connection that ends while a request comes would fail a test.
    source.keepAliveTimeout = 0;
    source.listen(0, '127.0.0.1');
    await once(source, 'listening');
  });
  after(() => {
    source.close();
    source.closeAllConnections();
  });

  /** Serves with our handlers, or with those of Next.js, from a copy of what was built: the latter write into it. */
  async function serve(app, cache) {
    const directory = path.join(__dirname, app);
    const distDir = `.next-${cache}`;
    fs.rmSync(path.join(directory, distDir), { recursive: true, force: true });
    fs.cpSync(path.join(directory, '.next'), path.join(directory, distDir), { recursive: true });
    child = fork(path.join(__dirname, 'server.js'), {
      env: {
        ...process.env,
        APP: app,
        CACHE: cache,
        DIST_DIR: distDir,
        NEXT_TELEMETRY_DISABLED: '1',
        NODE_ENV: 'production',
        SOURCE: `http://127.0.0.1:${source.address().port}`,
      },
    });
    [{ ports }] = await once(child, 'message');
  }

  async function stop() {
    child.disconnect();
    await once(child, 'exit');
  }

  function newItem() {
    last += 1;
    return `i${last}`;
  }

  async function get(worker, at) {
    const response = await fetch(`http://127.0.0.1:${ports[worker]}${at}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.equal(response.status, 200, bytes.toString().slice(0, 500));
    return bytes;
  }

  /** The version that a worker gives. */
  async function version(worker, kind, id) {
    const text = (await get(worker, `/${kind}/${id}`)).toString('latin1');
    const found = text.match(new RegExp(`${kind} ${id} version (\\d+)\\.`));
    assert.ok(found, text.slice(0, 500));
    return Number(found[1]);
  }

  async function invalidate(worker, query) {
    const url = `http://127.0.0.1:${ports[worker]}/revalidate?${query}`;
    const response = await fetch(url, { method: 'POST' });
    assert.equal(await response.text(), 'done');
  }

  const WORKERS = [0, 1, 2, 3];
  const all = (fn) => Promise.all(WORKERS.map(fn));

  /** Changes an item some times, each time by another worker; gives how many of the next answers of all workers are old. */
  async function staleAnswers(kind, read = version) {
    const id = newItem();
    await all((worker) => read(worker, kind, id));
    let stale = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      versions[id] += 1;
      await invalidate(round % 4, `tag=item-${id}`);
      for (const given of await all((worker) => read(worker, kind, id))) {
        if (given !== versions[id]) stale += 1;
      }
    }
    return stale;
  }

  async function until(isSo) {
    while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  for (const [app, kinds] of Object.entries(APPS)) {
    describe(`${app}: our handlers`, () => {
      before(() => serve(app, 'ours')).timeout(120_000);
      after(stop);

      for (const kind of kinds) {
        it(`gives in each worker what one has made: ${kind}`, async () => {
          const ids = Array.from({ length: 10 }, newItem);
          for (const id of ids) {
            const first = await get(0, `/${kind}/${id}`);
            for (const bytes of await all((worker) => get(worker, `/${kind}/${id}`))) {
              if (!['use-cache', 'part'].includes(kind)) assert.ok(bytes.equals(first));
              assert.ok(bytes.toString('latin1').includes(`${kind} ${id} version 1.`));
            }
            assert.equal(loads[id], 1);
          }
          // Again, from all workers at once: no page of another.
          await Promise.all(
            ids.flatMap((id) => WORKERS.map((worker) => version(worker, kind, id))),
          );
          for (const id of ids) assert.equal(loads[id], 1);
        });

        it(`gives nothing old after revalidateTag in any worker: ${kind}`, async () => {
          assert.equal(await staleAnswers(kind), 0);
        });

        it(`gives nothing old after revalidateTag while requests run: ${kind}`, async () => {
          const id = newItem();
          // What requests that begin now must give at least.
          let least = 1;
          let goesOn = true;
          let answers = 0;
          const readers = all(async (worker) => {
            while (goesOn) {
              const expected = least;
              assert.ok((await version(worker, kind, id)) >= expected);
              answers += 1;
            }
          });
          for (let round = 0; round < ROUNDS; round += 1) {
            const before = answers;
            await Promise.race([readers, until(() => answers >= before + 4)]);
            versions[id] += 1;
            await invalidate(round % 4, `tag=item-${id}`);
            least = versions[id];
          }
          goesOn = false;
          await readers;
        });

        it(`gives an old entry meanwhile where there is time to expire: ${kind}`, async () => {
          const id = newItem();
          await all((worker) => version(worker, kind, id));
          versions[id] += 1;
          await invalidate(0, `tag=item-${id}&expire=3600`);
          assert.equal(await version(1, kind, id), 1);
          for (const worker of WORKERS) {
            await until(async () => (await version(worker, kind, id)) === 2);
          }
        });

        it(`gives nothing old when the time to expire is over: ${kind}`, async () => {
          const id = newItem();
          await all((worker) => version(worker, kind, id));
          versions[id] += 1;
          await invalidate(0, `tag=item-${id}&expire=1`);
          await new Promise((resolve) => setTimeout(resolve, 1050));
          assert.deepEqual(await all((worker) => version(worker, kind, id)), [2, 2, 2, 2]);
        });

        it(`gives nothing old after revalidatePath in any worker: ${kind}`, async () => {
          const id = newItem();
          await all((worker) => version(worker, kind, id));
          for (const worker of WORKERS) {
            versions[id] += 1;
            await invalidate(worker, `path=/${kind}/${id}`);
            const given = await all((other) => version(other, kind, id));
            assert.deepEqual(
              given,
              WORKERS.map(() => versions[id]),
            );
          }
        });
      }

      if (app === 'isr')
        it('gives bytes as they are', async () => {
          const id = newItem();
          for (const worker of WORKERS) {
            const bytes = await get(worker, `/route/${id}`);
            assert.deepEqual([...bytes.subarray(-4)], [0, 255, 254, 128]);
          }
        });
    });

    // Not a promise of ours: what the handlers are for.
    describe(`${app}: the handlers of Next.js`, () => {
      before(() => serve(app, 'default')).timeout(120_000);
      after(stop);

      for (const kind of kinds) {
        it(`gives old answers after revalidateTag: ${kind}`, async () => {
          // They read files that others write: an answer may be empty, too.
          const read = (...of) => version(...of).catch(() => undefined);
          const stale = await staleAnswers(kind, read);
          console.log(`      ${stale} of ${ROUNDS * 4} answers were old`);
          assert.ok(stale > 0);
        });
      }
    });
  }
}).timeout(120_000);
