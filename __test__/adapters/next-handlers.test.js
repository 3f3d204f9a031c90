'use strict';

// The handlers of Next.js as Next.js calls them, without Next.js.

const assert = require('node:assert/strict');
const path = require('node:path');
const { resultOf } = require('../helpers/program');

const CacheHandler = require('lru-cache-for-clusters-as-promised/next/cache-handler');
const handlers = require('lru-cache-for-clusters-as-promised/next/cache-handlers');

let last = 0;

function namespace() {
  last += 1;
  return `next-${last}`;
}

/** Runs with another clock of the system, some milliseconds ahead. */
async function later(ms, fn) {
  const { now } = Date;
  Date.now = () => now() + ms;
  try {
    return await fn();
  } finally {
    Date.now = now;
  }
}

const page = (html, tags = '') => ({
  kind: 'APP_PAGE',
  html,
  rscData: Buffer.from([1, 2, 255]),
  headers: { 'x-next-cache-tags': tags },
  postponed: undefined,
  status: 200,
  segmentData: new Map([['/_tree', Buffer.from('tree')]]),
});
const PAGE = { kind: 'APP_PAGE', isFallback: false };
const FETCH = { kind: 'FETCH', tags: [], softTags: [] };

describe('next/cache-handler', () => {
  let Handler;
  const make = () => new Handler({ revalidatedTags: [] });

  beforeEach(() => {
    Handler = CacheHandler.withOptions({ namespace: namespace() });
  });

  it('gives what another object stored, with its types', async () => {
    const value = page('<p>', '');
    const cacheControl = { revalidate: 60, expire: 3600 };
    await make().set('/a', value, { cacheControl, isFallback: false });
    const got = await make().get('/a', PAGE);
    assert.deepEqual(got.value, value);
    assert.ok(Buffer.isBuffer(got.value.rscData));
    assert.ok(got.value.segmentData instanceof Map);
    assert.ok(Buffer.isBuffer(got.value.segmentData.get('/_tree')));
    assert.deepEqual(got.cacheControl, cacheControl);
    assert.ok(Math.abs(got.lastModified - Date.now()) < 60_000);
    assert.equal(await make().get('/b', PAGE), null);
  });

  it('gives a page that is not there as such', async () => {
    await make().set('/a', null, { cacheControl: { revalidate: 1, expire: undefined } });
    assert.equal((await make().get('/a', PAGE)).value, null);
  });

  for (const tags of ['one', ['zero', 'one']]) {
    it(`expires what has a tag: ${JSON.stringify(tags)}`, async () => {
      await make().set('/a', page('a', '_N_T_/a,one'), {});
      await make().set('/b', page('b', '_N_T_/b,two'), {});
      await make().revalidateTag(tags);
      assert.equal(await make().get('/a', PAGE), null);
      assert.equal((await make().get('/b', PAGE)).value.html, 'b');
    });
  }

  it('expires data of fetch by its tags, those of who asks, and soft tags', async () => {
    const value = { kind: 'FETCH', data: { body: 'x', headers: {}, url: '' }, revalidate: 60 };
    const set = () => make().set('f', value, { fetchCache: true, tags: ['own'] });
    let time = 0;
    for (const [tag, context] of [
      ['own', FETCH],
      ['asked', { ...FETCH, tags: ['asked'] }],
      ['soft', { ...FETCH, softTags: ['soft'] }],
    ]) {
      await later((time += 10), set);
      assert.deepEqual((await make().get('f', context)).value, value);
      await later((time += 10), () => make().revalidateTag(tag));
      assert.equal(await make().get('f', context), null);
    }
  });

  it('expires what was made of data from before the tag was revalidated', async () => {
    const slow = make();
    assert.equal(await slow.get('/a', PAGE), null);
    await later(50, () => make().revalidateTag('one'));
    await later(100, () => slow.set('/a', page('old', 'one'), {}));
    assert.equal(await make().get('/a', PAGE), null);
  });

  it('makes a page stale at once, and expired later', async () => {
    await make().set('/a', page('a', 'one'), {
      cacheControl: { revalidate: false, expire: undefined },
    });
    await later(10, () => make().revalidateTag('one', { expire: 60 }));
    const stale = await make().get('/a', PAGE);
    assert.equal(stale.value.html, 'a');
    // Next.js takes it for older than the time to revalidate.
    const { revalidate } = stale.cacheControl;
    assert.ok(stale.lastModified + revalidate * 1000 < Date.now());
    assert.equal(await later(61_000, () => make().get('/a', PAGE)), null);
    // What was made since then stays.
    await later(20, () => make().set('/a', page('b', 'one'), {}));
    assert.equal((await later(61_000, () => make().get('/a', PAGE))).value.html, 'b');
  });

  it('makes data of fetch stale, whatever its time to revalidate', async () => {
    for (const [revalidate, context] of [
      [60, FETCH],
      [0xfffffffe, { ...FETCH, revalidate: false }],
      [60, { ...FETCH, revalidate: 7200 }],
    ]) {
      const value = { kind: 'FETCH', data: { body: 'x', headers: {}, url: '' }, revalidate };
      await make().set('f', value, { fetchCache: true, tags: ['one'] });
      await later(10, () => make().revalidateTag('one', {}));
      const stale = await make().get('f', context);
      const age = (Date.now() - stale.lastModified) / 1000;
      assert.ok(age > (context.revalidate || revalidate));
    }
  });

  it('keeps a tag expired that is made stale afterwards', async () => {
    await make().set('/a', page('a', 'one'), {});
    await later(10, () => make().revalidateTag('one'));
    await later(20, () => make().revalidateTag('one', { expire: 60 }));
    assert.equal(await make().get('/a', PAGE), null);
  });

  it('gives a miss where the cache fails, and rejects where a tag cannot be revalidated', async () => {
    const { getMany, update } = require('lru-cache-for-clusters-as-promised').prototype;
    const { prototype } = require('lru-cache-for-clusters-as-promised');
    const { warn } = console;
    const warned = [];
    console.warn = (...args) => warned.push(args);
    prototype.getMany = prototype.update = () => Promise.reject(new Error('away'));
    try {
      await make().set('/a', page('a', 'one'), {});
      assert.equal(await make().get('/a', PAGE), null);
      assert.equal(warned.length, 1);
      await assert.rejects(make().revalidateTag('one'), /away/);
    } finally {
      Object.assign(prototype, { getMany, update });
      console.warn = warn;
    }
  });

  it('has a bound', async () => {
    const Small = CacheHandler.withOptions({ namespace: namespace(), maxSize: 100_000 });
    const handler = new Small({ revalidatedTags: [] });
    for (let n = 0; n < 20; n += 1) await handler.set(`/${n}`, page('x'.repeat(20_000)), {});
    assert.equal(await handler.get('/0', PAGE), null);
    assert.notEqual(await handler.get('/19', PAGE), null);
  });
});

/** An entry whose value comes in chunks. */
function entryOf(chunks, options) {
  const value = new ReadableStream({
    async start(controller) {
      for (const chunk of chunks) {
        await new Promise(setImmediate);
        if (chunk instanceof Error) return controller.error(chunk);
        controller.enqueue(Buffer.from(chunk));
      }
      controller.close();
    },
  });
  const timestamp = performance.timeOrigin + performance.now();
  return { value, tags: [], stale: 300, timestamp, expire: 3600, revalidate: 900, ...options };
}

async function textOf(entry) {
  const chunks = [];
  for await (const chunk of entry.value) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('next/cache-handlers', () => {
  let handler;

  beforeEach(() => {
    handler = handlers.withOptions({ namespace: namespace() });
  });

  it('gives a new stream of all chunks with each get', async () => {
    const entry = entryOf(['one ', 'two ', 'three'], { tags: ['t'] });
    await handler.set('k', Promise.resolve(entry));
    for (let n = 0; n < 2; n += 1) {
      const got = await handler.get('k', []);
      assert.equal(await textOf(got), 'one two three');
      const { value, timestamp, ...others } = got;
      assert.ok(value instanceof ReadableStream);
      assert.ok(Math.abs(timestamp - entry.timestamp) < 20);
      assert.deepEqual(others, { tags: ['t'], stale: 300, expire: 3600, revalidate: 900 });
    }
    assert.equal(await handler.get('other', []), undefined);
  });

  it('gives large values', async () => {
    const chunks = Array.from({ length: 40 }, (_, n) => String(n % 10).repeat(50_000));
    await handler.set('k', Promise.resolve(entryOf(chunks)));
    assert.equal(await textOf(await handler.get('k', [])), chunks.join(''));
  });

  it('waits with get for a set that is pending', async () => {
    let give;
    const set = handler.set('k', new Promise((resolve) => (give = resolve)));
    let isDone = false;
    const get = handler.get('k', []).then((entry) => {
      isDone = true;
      return entry;
    });
    await new Promise(setImmediate);
    assert.equal(isDone, false);
    give(entryOf(['value']));
    assert.equal(await textOf(await get), 'value');
    await set;
  });

  it('stores nothing of a stream that fails, or of an entry that fails', async () => {
    const { warn } = console;
    console.warn = () => {};
    try {
      const streamed = handler.set('k', Promise.resolve(entryOf(['one', new Error('away')])));
      assert.equal(await handler.get('k', []), undefined);
      await streamed;
      const failed = handler.set('k', Promise.reject(new Error('away')));
      assert.equal(await handler.get('k', []), undefined);
      await failed;
    } finally {
      console.warn = warn;
    }
  });

  it('expires what has a tag, or a soft tag', async () => {
    await handler.set('k', Promise.resolve(entryOf(['x'], { tags: ['one'] })));
    assert.notEqual(await handler.get('k', ['soft']), undefined);
    await later(10, () => handler.updateTags(['soft']));
    assert.equal(await handler.get('k', ['soft']), undefined);
    assert.notEqual(await handler.get('k', []), undefined);
    await later(10, () => handler.updateTags(['other', 'one']));
    assert.equal(await handler.get('k', []), undefined);
  });

  it('expires what was begun before the tag was revalidated', async () => {
    const entry = entryOf(['old'], { tags: ['one'] });
    await later(10, () => handler.updateTags(['one']));
    await later(20, () => handler.set('k', Promise.resolve({ ...entry })));
    // `later` moves the clock of the system, and with it what `timestamp` means; so once more without.
    const other = handlers.withOptions({ namespace: namespace() });
    const begun = entryOf(['old'], { tags: ['one'] });
    await new Promise((resolve) => setTimeout(resolve, 5));
    await other.updateTags(['one']);
    await other.set('k', Promise.resolve(begun));
    assert.equal(await other.get('k', []), undefined);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await other.set('k', Promise.resolve(entryOf(['new'], { tags: ['one'] })));
    assert.equal(await textOf(await other.get('k', [])), 'new');
  });

  it('makes an entry stale at once, and expired later', async () => {
    await handler.set('k', Promise.resolve(entryOf(['x'], { tags: ['one'] })));
    await later(10, () => handler.updateTags(['one'], { expire: 60 }));
    const stale = await handler.get('k', []);
    assert.equal(stale.revalidate, -1);
    assert.equal(await textOf(stale), 'x');
    assert.equal(await later(61_000, () => handler.get('k', [])), undefined);
  });

  it('lets entries go when they expire', async () => {
    await handler.set('k', Promise.resolve(entryOf(['x'], { expire: 60 })));
    assert.notEqual(await handler.get('k', []), undefined);
    await handler.set('never', Promise.resolve(entryOf(['x'], { expire: 0 })));
    assert.equal(await handler.get('never', []), undefined);
    const old = performance.timeOrigin + performance.now() - 61_000;
    await handler.set('old', Promise.resolve(entryOf(['x'], { expire: 60, timestamp: old })));
    assert.equal(await handler.get('old', []), undefined);
    const endless = entryOf(['x'], { expire: 0xfffffffe, revalidate: 0xfffffffe });
    await handler.set('endless', Promise.resolve(endless));
    assert.equal(await textOf(await handler.get('endless', [])), 'x');
  });

  it('asks for soft tags with get', async () => {
    assert.equal(await handler.getExpiration(['a']), Infinity);
    assert.equal(await handler.refreshTags(), undefined);
  });
});

describe('the handlers of Next.js in several processes', () => {
  it('share entries and times of tags', async () => {
    const program = path.join(__dirname, 'fixtures', 'next-handlers.js');
    assert.deepEqual(await resultOf(program), {
      page: { html: 'made by 1', rscData: [1, 255], segment: 'tree' },
      useCache: 'made by 1',
      afterTag: [null, null],
    });
  });
});
