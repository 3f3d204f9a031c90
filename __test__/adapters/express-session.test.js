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
    assert.equal(response.statusCode, 200, text);
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

  describe('with four workers', () => {
    let workers = [];
    let pids;

    async function start(env = {}) {
      cluster.setupPrimary({ exec: APP });
      workers = Array.from({ length: 4 }, () => cluster.fork({ SOCKETS: sockets, ...env }));
      // The package has messages of its own.
      const listening = (worker) =>
        new Promise((resolve) => {
          worker.on('message', (message) => message === 'listening' && resolve());
        });
      await Promise.all(workers.map(listening));
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

    it('of two requests at a time the later write stands, whole', async () => {
      await browser.request(pids[0], 'POST', '/data', { first: true });
      await Promise.all(
        pids.map((pid) => browser.request(pid, 'POST', '/slow', { by: pid, also: pid })),
      );
      const { first, by, also } = await browser.data(pids[0]);
      assert.ok(first && pids.includes(by));
      assert.equal(by, also);
      for (const pid of pids) assert.equal((await browser.data(pid)).by, by);
    });

    it('clear ends all sessions', async () => {
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      await browser.request(pids[1], 'GET', '/store/clear');
      for (const pid of pids) assert.equal(await browser.data(pid), null);
      assert.equal((await browser.request(pids[2], 'GET', '/store/length')).value, 0);
    });

    it('a session ends with its cookie, and a request renews both', async () => {
      await stop();
      await start({ MAX_AGE: '1500' });
      await browser.request(pids[0], 'POST', '/data', { a: 1 });
      // Longer than the age altogether.
      for (let n = 0; n < 4; n += 1) {
        await sleep(600);
        assert.deepEqual(await browser.data(pids[n]), { a: 1 });
      }
      await sleep(1600);
      for (const pid of pids) assert.equal(await browser.data(pid), null);
    });
  });

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

    it('gives its errors to the callback', async () => {
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
