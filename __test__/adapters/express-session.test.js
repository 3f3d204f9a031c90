'use strict';

// express-session over HTTP, its sessions in one store for several processes: workers of a cluster, and instances of PM2.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const cluster = require('node:cluster');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { promisify } = require('node:util');

require('lru-cache-for-clusters-as-promised');
const { LRUCacheStore } = require('lru-cache-for-clusters-as-promised/express-session');

const APP = path.join(__dirname, 'fixtures', 'sessions.js');
const PM2 = require.resolve('../../node_modules/pm2/bin/pm2');

/** A browser: its cookie goes with each request, to the process that is named. */
class Browser {
  #cookie;

  constructor(sockets) {
    this.sockets = sockets;
  }

  async request(pid, method, url, body) {
    const request = http.request({
      socketPath: path.join(this.sockets, String(pid)),
      method,
      path: url,
      agent: false,
      headers: {
        ...(this.#cookie && { cookie: this.#cookie }),
        'content-type': 'application/json',
        'x-forwarded-proto': 'https',
      },
    });
    request.end(body && JSON.stringify(body));
    const [response] = await once(request, 'response');
    let text = '';
    for await (const part of response) text += part;
    const [cookie] = response.headers['set-cookie'] ?? [];
    if (cookie !== undefined) this.#cookie = cookie.split(';')[0];
    if (response.statusCode !== 200) throw Object.assign(new Error(text), JSON.parse(text));
    return JSON.parse(text);
  }

  get cookie() {
    return this.#cookie;
  }

  async data(pid) {
    const { data, pid: by } = await this.request(pid, 'GET', '/');
    assert.equal(by, pid);
    return data;
  }
}

describe('express-session', function () {
  this.timeout(120_000);
  let directory;
  let sockets;
  before(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sessions-'));
    sockets = path.join(directory, 'sockets');
    fs.mkdirSync(sockets);
  });
  after(() => fs.rmSync(directory, { recursive: true, force: true }));

  for (const [transport, env] of [
    ['in shared memory', { LRU_CACHE_SHARED: '' }],
    ['by IPC', { LRU_CACHE_SHARED: '0' }],
  ]) {
    describe(`with four workers, ${transport}`, () => withWorkers(env));
  }

  function withWorkers(env) {
    let workers = [];
    let pids;

    /** Waits for a message of a worker. The package has messages of its own. */
    const told = (worker, name) =>
      new Promise((resolve) => {
        worker.on('message', function listener(message) {
          if (message?.[name] !== true) return;
          worker.off('message', listener);
          resolve();
        });
      });
    const held = (n) => told(workers[n], 'held');

    async function start(more = {}) {
      cluster.setupPrimary({ exec: APP });
      // express writes errors to the console, but in tests.
      const all = { ...env, NODE_ENV: 'test', SOCKETS: sockets, ...more };
      workers = Array.from({ length: 4 }, () => cluster.fork(all));
      await Promise.all(workers.map((worker) => told(worker, 'listening')));
      pids = workers.map((worker) => worker.process.pid);
    }
    async function stop() {
      const ends = workers.map((worker) => once(worker, 'exit'));
      for (const worker of workers) worker.process.kill('SIGKILL');
      await Promise.all(ends);
    }
    let browser;
    before(() => start());
    after(() => stop());
    beforeEach(() => (browser = new Browser(sockets)));

    it('a session that one has written is read by all', async () => {
      for (const [n, writer] of pids.entries()) {
        await browser.request(writer, 'POST', '/data', { [n]: 'Zoë' });
        for (const reader of pids) assert.equal((await browser.data(reader))[n], 'Zoë');
      }
    });

    it('sessions are apart', async () => {
      const other = new Browser(sockets);
      await browser.request(pids[0], 'POST', '/data', { of: 'one' });
      await other.request(pids[1], 'POST', '/data', { of: 'other' });
      assert.deepEqual(
        [await browser.data(pids[2]), await other.data(pids[2])],
        [{ of: 'one' }, { of: 'other' }],
      );
      const { value } = await browser.request(pids[3], 'GET', '/store/all');
      assert.ok(value.some(({ id, data }) => data.of === 'one' && browser.cookie.includes(id)));
      assert.ok((await browser.request(pids[3], 'GET', '/store/length')).value >= 2);
    });

    it('a session that one has destroyed is there for none', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      await browser.request(pids[1], 'POST', '/logout');
      for (const pid of pids) assert.equal(await browser.data(pid), null);
    });

    it('a session that is regenerated leaves nothing behind', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      const { cookie } = browser;
      await browser.request(pids[1], 'POST', '/regenerate');
      assert.notEqual(browser.cookie, cookie);
      for (const pid of pids) assert.equal(await browser.data(pid), null);
    });

    it('a session that is set to null is destroyed', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      await browser.request(pids[1], 'POST', '/unset');
      for (const pid of pids) assert.equal(await browser.data(pid), null);
    });

    it('of two requests at a time the later write stands, whole', async () => {
      await browser.request(pids[0], 'POST', '/data', { first: true });
      // Both have read the same session.
      const [one, other] = [held(1), held(2)];
      const slow = browser.request(pids[1], 'POST', '/hold', { slow: true });
      const slower = browser.request(pids[2], 'POST', '/hold', { slower: true });
      await Promise.all([one, other]);
      await browser.request(pids[1], 'POST', '/release');
      await slow;
      for (const pid of pids) {
        assert.deepEqual(await browser.data(pid), { first: true, slow: true });
      }
      await browser.request(pids[2], 'POST', '/release');
      await slower;
      for (const pid of pids) {
        assert.deepEqual(await browser.data(pid), { first: true, slower: true });
      }
    });

    it('writes of all at a time leave one of them, whole, and the same for all', async () => {
      await browser.request(pids[0], 'POST', '/data', { first: true });
      for (let round = 0; round < 20; round += 1) {
        const writes = pids.map((pid) =>
          browser.request(pid, 'POST', '/data', { by: pid, also: pid, round }),
        );
        await Promise.all(writes);
        const found = await Promise.all(pids.map((pid) => browser.data(pid)));
        const { by } = found[0];
        assert.ok(pids.includes(by));
        for (const data of found) assert.deepEqual(data, { first: true, by, also: by, round });
      }
    });

    it('a request that only reads takes back nothing that another one has written', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      const reads = held(1);
      const slow = browser.request(pids[1], 'GET', '/hold');
      await reads;
      await browser.request(pids[2], 'POST', '/data', { b: 2 });
      await browser.request(pids[1], 'POST', '/release');
      assert.deepEqual((await slow).data, { a: 1 });
      for (const pid of pids) assert.deepEqual(await browser.data(pid), { a: 1, b: 2 });
    });

    it('a request that only reads does not bring a session back', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      const reads = held(1);
      const slow = browser.request(pids[1], 'GET', '/hold');
      await reads;
      await browser.request(pids[2], 'POST', '/logout');
      await browser.request(pids[1], 'POST', '/release');
      await slow;
      for (const pid of pids) assert.equal(await browser.data(pid), null);
    });

    it('a store that fails is an error of the request, and logs nobody out', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      const { cookie } = browser;
      assert.deepEqual((await browser.request(pids[1], 'GET', '/fragile')).data, { a: 1 });
      await browser.request(pids[1], 'POST', '/close');
      await assert.rejects(browser.request(pids[1], 'GET', '/fragile'), { code: 'ERR_CLOSED' });
      assert.equal(browser.cookie, cookie);
      for (const pid of pids) assert.deepEqual(await browser.data(pid), { a: 1 });
    });

    it('an age that the application gives to one session is kept', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      await browser.request(pids[1], 'POST', '/remember', { maxAge: 1e9 });
      for (const pid of pids) {
        const maxAge = await browser.request(pid, 'GET', '/maxAge');
        assert.ok(maxAge > 0.99e9 && maxAge <= 1e9, String(maxAge));
      }
    });

    it('clear ends all sessions', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      await browser.request(pids[1], 'GET', '/store/clear');
      for (const pid of pids) assert.equal(await browser.data(pid), null);
      assert.equal((await browser.request(pids[2], 'GET', '/store/length')).value, 0);
    });

    it('a session ends with its cookie, and a request renews both', async () => {
      const age = 3000;
      await stop();
      await start({ MAX_AGE: String(age) });
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      // Up to a time when it would be gone.
      const end = Date.now() + 1.3 * age;
      for (let n = 0; Date.now() < end; n += 1) {
        assert.deepEqual(await browser.data(pids[n % 4]), { a: 1 });
        await sleep(50);
      }
      // Requests that only read have renewed the cookie, too: what is saved before the end of a request has its age.
      const left = await browser.request(pids[0], 'GET', '/maxAge');
      assert.ok(left > 0 && left <= age, String(left));
      await browser.request(pids[1], 'POST', '/save', { b: 2 });
      for (const pid of pids) assert.deepEqual(await browser.data(pid), { a: 1, b: 2 });
      await sleep(age + 100);
      for (const pid of pids) assert.equal(await browser.data(pid), null);
    });
  }

  describe('the store', () => {
    const call = (store, method, ...args) => promisify(store[method].bind(store))(...args);

    it('keeps a session without an end for a day, or for the age of the cache', async () => {
      for (const [options, age] of [
        [{}, 86_400_000],
        [{ maxAge: 5000 }, 5000],
        [{ ttl: 6000 }, 6000],
      ]) {
        const namespace = `age-${age}`;
        const store = new LRUCacheStore({ namespace, ...options });
        await call(store, 'set', 'id', { cookie: { originalMaxAge: null }, a: 1 });
        const LRUCache = require('lru-cache-for-clusters-as-promised');
        const left = await new LRUCache({ namespace }).getRemainingTTL('sess:id');
        assert.ok(left > age - 1000 && left <= age, String(left));
      }
    });

    it('removes a session whose cookie has ended', async () => {
      const store = new LRUCacheStore({ namespace: 'ended' });
      const cookie = (ms) => ({ cookie: { expires: new Date(Date.now() + ms).toISOString() } });
      await call(store, 'set', 'id', cookie(60_000));
      assert.equal(await call(store, 'length'), 1);
      await call(store, 'set', 'id', cookie(-1));
      assert.equal(await call(store, 'get', 'id'), null);
      await call(store, 'set', 'id', cookie(60_000));
      await call(store, 'touch', 'id', cookie(-1));
      assert.equal(await call(store, 'get', 'id'), null);
    });

    it('touch changes the age alone', async () => {
      const store = new LRUCacheStore({ namespace: 'touched' });
      const cookie = { expires: new Date(Date.now() + 1000).toISOString() };
      await call(store, 'set', 'id', { cookie, a: 'written' });
      const later = { expires: new Date(Date.now() + 60_000).toISOString() };
      await call(store, 'touch', 'id', { cookie: later, a: 'read before the write' });
      assert.equal((await call(store, 'get', 'id')).a, 'written');
    });

    it('gives a session the end that touch has set', async () => {
      const store = new LRUCacheStore({ namespace: 'renewed' });
      const end = (ms) => new Date(Date.now() + ms).toISOString();
      await call(store, 'set', 'id', { cookie: { originalMaxAge: 50, expires: end(50) } });
      await call(store, 'touch', 'id', { cookie: { expires: end(60_000) } });
      const { cookie } = await call(store, 'get', 'id');
      const left = new Date(cookie.expires) - Date.now();
      assert.ok(left > 50_000 && left <= 60_000, String(left));
      assert.equal(cookie.originalMaxAge, 50);
      await call(store, 'set', 'ever', { cookie: { originalMaxAge: null, expires: null } });
      assert.equal((await call(store, 'get', 'ever')).cookie.expires, null);
    });

    it('never gives a session that has expired', async () => {
      const store = new LRUCacheStore({ namespace: 'stale', stale: true });
      const cookie = { expires: new Date(Date.now() + 20).toISOString() };
      await call(store, 'set', 'id', { cookie });
      await sleep(40);
      assert.equal(await call(store, 'get', 'id'), null);
    });

    it('says that a session is too large to be stored', async () => {
      const store = new LRUCacheStore({ namespace: 'large', maxSize: 1000 });
      const set = call(store, 'set', 'id', { cookie: {}, data: 'x'.repeat(1000) });
      await assert.rejects(set, /not stored.*maxSize/);
    });

    it('lists, counts and clears the sessions with its prefix, and no others', async () => {
      for (const prefix of ['', 'mine:']) {
        const namespace = `prefix-${prefix}`;
        const store = new LRUCacheStore({ namespace, prefix });
        const other = new LRUCacheStore({ namespace, prefix: 'other:' });
        if (prefix !== '') await call(other, 'set', 'id', { cookie: {} });
        for (const id of ['a', 'b']) await call(store, 'set', id, { cookie: {}, of: id });
        const all = await call(store, 'all');
        assert.deepEqual(all.map(({ id, of }) => id + of).sort(), ['aa', 'bb']);
        assert.equal(await call(store, 'length'), 2);
        await call(store, 'clear');
        assert.equal(await call(store, 'length'), 0);
        assert.equal(await call(other, 'length'), prefix === '' ? 0 : 1);
      }
    });

    it('needs no callbacks', async () => {
      const store = new LRUCacheStore({ namespace: 'silent' });
      store.set('id', { cookie: {}, a: 1 });
      store.touch('id', { cookie: {} });
      assert.equal((await call(store, 'get', 'id')).a, 1);
      store.destroy('id');
      assert.equal(await call(store, 'get', 'id'), null);
      store.clear();
    });

    it('gives its errors to the callback', async () => {
      const circular = { cookie: {} };
      circular.itself = circular;
      const fine = new LRUCacheStore({ namespace: 'circular' });
      await assert.rejects(call(fine, 'set', 'id', circular), /circular/);
      const store = new LRUCacheStore({ namespace: 'closed' });
      await store.close();
      await assert.rejects(call(store, 'get', 'id'), { code: 'ERR_CLOSED' });
      await assert.rejects(call(store, 'set', 'id', { cookie: {} }), { code: 'ERR_CLOSED' });
    });
  });

  if (process.platform === 'linux') {
    it('sessions survive a reload of PM2', async () => {
      const home = path.join(directory, 'pm2');
      const env = { ...process.env, PM2_HOME: home };
      const pm2 = async (...args) =>
        (await promisify(execFile)(process.execPath, [PM2, ...args], { env, timeout: 60_000 }))
          .stdout;
      const config = path.join(directory, 'app.config.json');
      const app = { name: 'app', script: APP, instances: 3, exec_mode: 'cluster' };
      const apps = [{ ...app, wait_ready: false, env: { SOCKETS: sockets } }];
      fs.writeFileSync(config, JSON.stringify({ apps }));
      /** The instances, when all are online and answer. */
      const instances = async () => {
        for (const end = Date.now() + 60_000; Date.now() < end; await sleep(100)) {
          const all = JSON.parse(await pm2('jlist'));
          const online = all.filter(({ pm2_env: { status } }) => status === 'online');
          const found = online.map(({ pid }) => pid);
          const ready = found.every((pid) => fs.existsSync(path.join(sockets, String(pid))));
          if (ready && found.length === 3) return found;
        }
        throw new Error('the instances did not start');
      };
      try {
        await pm2('start', config);
        const before = await instances();
        const browser = new Browser(sockets);
        await browser.request(before[0], 'POST', '/data', { kept: true });
        assert.deepEqual(await browser.data(before[1]), { kept: true });
        await pm2('reload', 'app');
        const reloaded = await instances();
        assert.equal(
          reloaded.some((pid) => before.includes(pid)),
          false,
        );
        for (const pid of reloaded) assert.deepEqual(await browser.data(pid), { kept: true });
      } finally {
        await pm2('kill').catch(() => {});
      }
    });
  }
});
