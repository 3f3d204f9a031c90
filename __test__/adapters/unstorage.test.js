'use strict';

// The driver of unstorage: its documented behaviour, by the driver alone and below `createStorage`, over a driver of this process
// and over one whose calls three workers make in turn.

const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { createStorage } = require('unstorage');
const { lruCacheDriver } = require('lru-cache-for-clusters-as-promised/unstorage');
const { Spread } = require('./helpers/spread');

const METHODS =
  'hasItem getItem getItemRaw getItems setItem setItemRaw setItems removeItem getMeta getKeys clear dispose';

function suite(driverOf) {
  let storage;
  let driver;

  beforeEach(async () => {
    driver = driverOf();
    storage = createStorage({ driver });
    await storage.clear();
  });

  it('gives null for what is not there', async () => {
    assert.equal(await storage.getItem('s1:a'), null);
    assert.equal(await storage.hasItem('s1:a'), false);
    assert.equal(await driver.getItem('a'), null);
    assert.equal(await driver.getMeta('a'), null);
    assert.deepEqual(await storage.getKeys(), []);
  });

  it('sets and gets strings, numbers, objects', async () => {
    const items = {
      's1:a': 'test_data',
      's2:a': 42,
      's3:a:b': { json: [1, { two: null }] },
      b: true,
    };
    for (const [key, value] of Object.entries(items)) await storage.setItem(key, value);
    for (const [key, value] of Object.entries(items)) {
      assert.equal(await storage.hasItem(key), true);
      assert.deepEqual(await storage.getItem(key), value);
    }
    assert.deepEqual((await storage.getKeys()).sort(), Object.keys(items).sort());
  });

  it('normalizes keys as unstorage does', async () => {
    await storage.setItem('s1/a', 'value');
    assert.equal(await storage.getItem('s1:a'), 'value');
    assert.equal(await storage.getItem('/s1\\a?x=1'), 'value');
  });

  it('gets and sets many items', async () => {
    await storage.setItems([
      { key: 'many:a', value: 'A' },
      { key: 'many:b', value: { b: 1 } },
    ]);
    assert.deepEqual(await storage.getItems(['many:a', 'many:b', 'many:none']), [
      { key: 'many:a', value: 'A' },
      { key: 'many:b', value: { b: 1 } },
      { key: 'many:none', value: null },
    ]);
  });

  it('keeps raw values as they are', async () => {
    const bytes = new Uint8Array([1, 0, 255]);
    await storage.setItemRaw('raw', bytes);
    const found = await storage.getItemRaw('raw');
    assert.ok(found instanceof Uint8Array);
    assert.deepEqual([...found], [1, 0, 255]);
    const map = new Map([['date', new Date(5)]]);
    await storage.setItemRaw('map', map);
    assert.deepEqual(await storage.getItemRaw('map'), map);
  });

  it('lists and clears the keys below a base, and no others', async () => {
    const keys = ['ns:a', 'ns:b:c', 'nsx:a', 'other'];
    for (const key of keys) await storage.setItem(key, key);
    assert.deepEqual((await storage.getKeys('ns')).sort(), ['ns:a', 'ns:b:c']);
    assert.deepEqual((await driver.getKeys('ns')).sort(), ['ns:a', 'ns:b:c']);
    // unstorage asks a driver for a base only where the driver is mounted below it.
    await driver.clear('ns');
    assert.deepEqual((await storage.getKeys()).sort(), ['nsx:a', 'other']);
    await storage.clear();
    assert.deepEqual(await storage.getKeys(), []);
  });

  it('removes items', async () => {
    await storage.setItem('a', 1);
    await storage.removeItem('a');
    assert.equal(await storage.hasItem('a'), false);
    assert.equal(await storage.getItem('a'), null);
    await storage.removeItem('a');
  });

  it('gives more than a thousand keys, each once', async () => {
    const items = Array.from({ length: 2500 }, (_, n) => ({ key: `k${n}`, value: n }));
    await storage.setItems(items);
    const keys = await storage.getKeys();
    assert.deepEqual(keys.sort(), items.map(({ key }) => key).sort());
  });

  it('takes ages in seconds, and tells of them', async () => {
    await storage.setItem('aged', 'x', { ttl: 0.05 });
    await storage.setItem('long', 'x', { ttl: 100 });
    await storage.setItem('ever', 'x');
    const { ttl, mtime } = await storage.getMeta('long');
    assert.ok(ttl > 95 && ttl <= 100, String(ttl));
    assert.ok(Math.abs(mtime - Date.now()) < 5000);
    assert.equal((await storage.getMeta('ever')).ttl, undefined);
    // The age is the test: it has to pass.
    await sleep(80);
    assert.equal(await storage.getItem('aged'), null);
    await assert.rejects(async () => storage.setItem('a', 1, { ttl: -1 }), /ttl must be seconds/);
  });

  it('mounts below a base of another storage', async () => {
    const root = createStorage();
    root.mount('shared', driver);
    await root.setItem('shared:a', 1);
    assert.equal(await storage.getItem('a'), 1);
    assert.deepEqual(await root.getKeys('shared'), ['shared:a']);
    await root.clear('shared');
    assert.equal(await storage.getItem('a'), null);
  });
}

describe('unstorage, in one process', () => {
  suite(() => lruCacheDriver({ namespace: 'unstorage-alone' }));

  it('gives an age to all items where none is given', async () => {
    const storage = createStorage({ driver: lruCacheDriver({ namespace: 'aged', ttl: 50 }) });
    await storage.setItem('a', 1);
    const { ttl } = await storage.getMeta('a');
    assert.ok(ttl > 45 && ttl <= 50, String(ttl));
  });

  it('lets the cache go with the storage', async () => {
    const driver = lruCacheDriver({ namespace: 'disposed' });
    const storage = createStorage({ driver });
    await storage.setItem('a', 1);
    await storage.dispose();
    await assert.rejects(async () => driver.getItem('a'), { code: 'ERR_CLOSED' });
  });
});

describe('unstorage, over three workers', () => {
  const spread = new Spread();
  before(() => void spread.start());
  after(() => spread.stop());
  suite(() => {
    const options = { namespace: 'unstorage-spread' };
    return spread.adapter('unstorage', options, METHODS.split(' '), { name: 'spread' });
  });
});
