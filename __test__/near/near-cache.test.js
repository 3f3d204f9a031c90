'use strict';

const assert = require('node:assert/strict');
const { Budget } = require('../../lib/near/budget');
const { FORMS, MISS, NearCache } = require('../../lib/near/near-cache');
const { EPOCH, GATE, Store, read, atOnce } = require('./store');

const MEBI = 1024 * 1024;

/** A store, and the near cache of one process. */
function setup({ withRing, bytes = MEBI, limit = bytes, stamp } = {}) {
  const store = new Store(stamp);
  const port = store.attach({ withRing });
  const near = new NearCache(port, { bytes, shared: new Budget(limit), atEndOfTurn: atOnce });
  return { store, port, near, get: (key) => read(store, near, port, key) };
}

describe('near reads', () => {
  it('give what was read, by kind', () => {
    const { store, near, get } = setup();
    const values = ['text', '', 'ключ', 0, -0, NaN, 1.5, 2 ** 60, true, false, null, undefined];
    values.forEach((value, n) => store.set(n, value));
    values.forEach((value, n) => assert.equal(get(n), value));
    values.forEach((value, n) => assert.ok(Object.is(near.get(n), value)));
    assert.equal(near.get('0'), MISS, 'the type of a key matters');
    assert.equal(near.get('absent'), MISS);
    assert.equal(near.entries, values.length);
    assert.equal(near.hits, values.length);
  });

  it('give each caller an object of his own', () => {
    const { store, near, get } = setup();
    const json = '{"a":[1,{"b":2}],"__proto__":{"c":3}}';
    store.set('key', undefined, { json });
    const given = [get('key'), near.get('key'), near.get('key'), near.peek('key')];
    for (const value of given) {
      assert.equal(JSON.stringify(value), json);
      value.a[1].b = 'spoiled';
      value.more = true;
    }
    assert.equal(JSON.stringify(near.get('key')), json);
    assert.equal(new Set(given).size, given.length);
  });

  it('parse what is better parsed', () => {
    const { store, near, get } = setup();
    const wide = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`k${n}`, n]));
    for (const json of [JSON.stringify(wide), '['.repeat(1000) + ']'.repeat(1000)]) {
      store.set('key', undefined, { json });
      get('key');
      for (let times = 0; times < 3; times += 1) {
        assert.equal(JSON.stringify(near.get('key')), json);
      }
      assert.ok(Object.isFrozen(near.get('key', true)));
    }
  });

  it('know nothing of a text that is no JSON, as a damaged segment may have one', () => {
    for (const frozen of [false, true]) {
      const { store, port, near } = setup();
      const learn = () => {
        store.set('key', undefined, { json: '{"a":' });
        near.rememberJson(near.begin(), 'key', store.read(port, 'key').json);
      };
      for (const read of ['get', 'peek']) {
        learn();
        assert.equal(near[read]('key', frozen), MISS);
        assert.equal(near.entries, 0);
      }
      learn();
      assert.equal(near.getAll(['key'], frozen ? FORMS.FROZEN : FORMS.OWN), MISS);
      learn();
      assert.deepEqual(near.getMany(['key'], frozen).missing, [0]);
    }
  });

  it('give one frozen object until the entry changes', () => {
    const { store, port, near } = setup();
    const first = () => {
      const begun = near.begin();
      return near.rememberFrozen(begun, 'key', store.read(port, 'key').json);
    };
    store.set('key', undefined, { json: '{"a":{"b":1}}' });
    const value = first();
    assert.ok(Object.isFrozen(value) && Object.isFrozen(value.a));
    assert.equal(near.get('key', true), value);
    assert.equal(near.peek('key', true), value);
    assert.equal(first(), value, 'read natively once more');
    const own = near.get('key');
    assert.deepEqual(own, value);
    own.a.b = 2;
    assert.equal(near.get('key', true), value);
    assert.equal(near.getMany(['key'], true).values[0], value);
    assert.equal(near.getAll(['key'], FORMS.FROZEN).key, value);
    store.set('key', undefined, { json: '{"a":{"b":1}}' });
    assert.equal(near.get('key', true), MISS);
    assert.notEqual(first(), value);
    // Asked for a copy first.
    store.set('other', undefined, { json: '[[]]' });
    near.rememberJson(near.begin(), 'other', store.read(port, 'other').json);
    near.get('other');
    assert.ok(Object.isFrozen(near.get('other', true)[0]));
    assert.equal(near.get('other', true), near.get('other', true));
  });

  it('give a frozen object where nothing can be remembered', () => {
    const { store, port, near } = setup();
    store.control[GATE] = 1;
    port.found.fill(0);
    assert.ok(Object.isFrozen(near.rememberFrozen(near.begin(), 'key', '{}')));
    assert.equal(near.entries, 0);
  });

  it('give what JSON.parse makes of a string, each caller his own', () => {
    const { store, near, get } = setup();
    const json = '{"a":[1,{"b":2}],"__proto__":{"c":3}}';
    store.set('key', json);
    get('key');
    const given = [near.getParsed('key'), near.getParsed('key'), near.getParsed('key')];
    given.push(near.getAll(['key'], FORMS.DECODED).key);
    for (const value of given) {
      assert.equal(JSON.stringify(value), json);
      value.a[1].b = 'spoiled';
    }
    assert.equal(near.get('key'), json);
    assert.equal(near.hits, 5);
    const { bytes } = near;
    store.set('key', '[]');
    assert.equal(near.getParsed('key'), MISS);
    assert.ok(near.bytes < bytes);
    for (const [text, value] of [
      ['1', 1],
      ['null', null],
      ['"text"', 'text'],
    ]) {
      store.set('key', text);
      get('key');
      for (let turn = 0; turn < 3; turn += 1) assert.equal(near.getParsed('key'), value);
    }
    store.set('key', 'no JSON');
    get('key');
    const { hits } = near;
    assert.throws(() => near.getParsed('key'), SyntaxError);
    assert.equal(near.hits, hits + 1, 'it was read');
    assert.throws(() => near.getAll(['key'], FORMS.DECODED), SyntaxError);
  });

  it('parse nothing but strings', () => {
    const { store, near, get } = setup();
    for (const value of ['', 0, 1, true, null, undefined]) {
      store.set('key', value);
      get('key');
      assert.equal(near.getParsed('key'), MISS);
      assert.equal(near.getAll(['key'], FORMS.DECODED), MISS);
    }
    store.set('key', undefined, { json: '{}' });
    get('key');
    assert.equal(near.getParsed('key'), MISS);
    assert.equal(near.hits, 0);
  });

  it('remember no objects, nor what the native side does not name', () => {
    const { store, port, near } = setup();
    store.set('key', 1);
    store.read(port, 'key');
    for (const value of [{}, [], () => {}, Symbol('s'), 1n]) {
      near.remember(near.begin(), 'key', value);
      assert.equal(near.get('key'), MISS);
    }
    for (const version of [0, NaN]) {
      port.found[1] = version;
      near.remember(near.begin(), 'key', 1);
      assert.equal(near.get('key'), MISS);
    }
    near.remember(near.begin(), 'key', 1, 100000);
    assert.equal(near.get('key'), MISS, 'beyond what was found');
  });

  /** Every way to read, as `MISS` or what is given. */
  const ways = {
    get: (near) => near.get('key'),
    'get, frozen': (near) => near.get('key', true),
    peek: (near) => near.peek('key'),
    'peek, frozen': (near) => near.peek('key', true),
    has: (near) => (near.has('key') ? true : MISS),
    getMany: (near) => near.getMany(['key']).values[0],
    getParsed: (near) => near.getParsed('key'),
    getAll(near) {
      const pairs = near.getAll(['key']);
      return pairs === MISS ? MISS : pairs.key;
    },
  };
  for (const [name, way] of Object.entries(ways)) {
    describe(`by ${name}`, () => {
      let one;
      /** What `getParsed` gives is a string. */
      const put = (json, options) =>
        name === 'getParsed'
          ? one.store.set('key', json, options)
          : one.store.set('key', undefined, { json, ...options });

      beforeEach(() => {
        one = setup();
        put('{"a":1}');
        one.get('key');
        assert.notEqual(way(one.near), MISS);
      });

      it('miss when the version ended, and forget at once', () => {
        put('{"a":2}');
        assert.equal(way(one.near), MISS);
        assert.equal(one.near.entries, 0);
        assert.equal(one.near.bytes, 0);
        one.get('key');
        assert.notEqual(way(one.near), MISS);
        one.store.delete('key');
        assert.equal(way(one.near), MISS);
      });

      it('miss while the gate is odd, and hit again after it', () => {
        one.store.many(() => assert.equal(way(one.near), MISS));
        assert.notEqual(way(one.near), MISS);
      });

      it('miss while the epoch is odd, and after it was', () => {
        one.store.renew(() => assert.equal(way(one.near), MISS));
        assert.equal(way(one.near), MISS);
        assert.equal(one.near.entries, 0);
        one.get('key');
        assert.notEqual(way(one.near), MISS);
      });

      it('miss after the epoch changed, though it was not seen odd', () => {
        one.store.renew();
        assert.equal(way(one.near), MISS);
      });

      it('miss after they are closed', () => {
        one.near.close();
        assert.equal(way(one.near), MISS);
        one.near.remember(one.near.begin(), 'key', 1);
        assert.equal(way(one.near), MISS);
        assert.equal(one.near.entries, 0);
      });

      it('miss when the age is over, by the clock of this moment', () => {
        const { now } = Date;
        try {
          put('{"a":2}', { expires: 1000 });
          Date.now = () => 1000;
          one.get('key');
          assert.notEqual(way(one.near), MISS);
          Date.now = () => 1001;
          assert.equal(way(one.near), MISS);
        } finally {
          Date.now = now;
        }
      });
    });
  }

  it('know when an entry was set that has an age', () => {
    const { store, near, get } = setup();
    const { now } = Date;
    try {
      Date.now = () => 1000;
      store.set('key', 'value', { expires: 2000, setAt: 1000 });
      store.set('ageless', 'value');
      get('key');
      get('ageless');
      assert.equal(near.getYoung('absent', 50), MISS);
      Date.now = () => 1050;
      assert.equal(near.getYoung('key', 50), 'value');
      Date.now = () => 1051;
      assert.equal(near.getYoung('key', 50), MISS);
      assert.equal(near.getYoung('ageless', 50), 'value');
      assert.equal(near.hits, 2);
      assert.equal(near.get('key'), 'value', 'it is there all the same');
    } finally {
      Date.now = now;
    }
  });

  it('remember nothing of a read under another epoch', () => {
    const { store, port, near } = setup();
    store.set('key', 1);
    const begun = near.begin();
    store.read(port, 'key');
    store.renew();
    near.remember(begun, 'key', 1);
    assert.equal(near.get('key'), MISS);
    store.renew(() => {
      const odd = near.begin();
      store.read(port, 'key');
      near.remember(odd, 'key', 1);
      assert.equal(near.entries, 0);
    });
    near.remember(undefined, 'key', 1);
    assert.equal(near.get('key'), MISS);
    assert.equal(store.control[EPOCH] % 2, 0);
  });

  it('do without a ring only what is no use', () => {
    const { near, get } = setup({ withRing: false });
    assert.equal(get('key'), undefined);
    const { store, port, near: other } = setup({ withRing: false });
    store.set('key', 'value');
    const begun = other.begin();
    store.read(port, 'key');
    other.remember(begun, 'key', 'value');
    assert.equal(other.get('key'), MISS);
    assert.deepEqual(other.getMany(['key']).missing, [0]);
    assert.equal(other.peek('key'), 'value');
    assert.equal(other.has('key'), true);
    assert.equal(other.hits, 2);
    assert.equal(near.hits, 0);
  });

  it('remember nothing of a call that said nothing of an entry', () => {
    const { store, port, near, get } = setup();
    store.set('key', 'value');
    get('key');
    assert.notEqual(port.found[1], 0);
    const begun = near.begin();
    // A call that fails, or does something else.
    near.remember(begun, 'other', 'of another entry');
    assert.equal(near.peek('other'), MISS);
  });

  it('record uses of get, not of peek and has', () => {
    const { store, port, near, get } = setup();
    for (const key of ['a', 'b']) store.set(key, key);
    for (const key of ['a', 'b']) get(key);
    near.peek('a');
    near.has('a');
    assert.deepEqual(store.keys(), ['b', 'a']);
    near.get('a');
    assert.equal(Store.waiting(port).length, 1);
    assert.deepEqual(store.keys(), ['a', 'b']);
  });

  it('know rows beyond the first million', () => {
    const columns = [new Float64Array(1 << 20), new Float64Array(1 << 20)];
    const asked = [];
    const { port } = setup();
    port.versions = (piece) => {
      asked.push(piece);
      return columns[piece];
    };
    const near = new NearCache(port, { shared: new Budget(), atEndOfTurn: atOnce });
    const row = (1 << 20) + 7;
    for (const key of ['a', 'b']) {
      columns[1][7] = 3.5;
      const begun = near.begin();
      port.found.set([row, 3.5, Infinity]);
      near.remember(begun, key, key);
      assert.equal(near.get(key), key);
    }
    assert.deepEqual(asked, [1]);
    columns[1][7] = 4.5;
    assert.equal(near.get('a'), MISS);
  });

  it('remember what this process wrote', () => {
    const { store, port, near } = setup();
    for (const [value, json] of [
      ['old', undefined],
      ['new', undefined],
      [undefined, '{"a":1}'],
    ]) {
      const begun = near.begin();
      store.set('key', value, { json });
      store.read(port, 'key', { isUse: false });
      if (json === undefined) near.remember(begun, 'key', value);
      else near.rememberJson(begun, 'key', json);
      assert.deepEqual(near.get('key'), value ?? JSON.parse(json));
    }
  });
});

describe('near reads of many keys', () => {
  const keys = ['a', 'b', 'c', 'd'];

  function setupMany(known = keys) {
    const one = setup();
    for (const key of keys) one.store.set(key, `value ${key}`);
    for (const key of known) one.get(key);
    return one;
  }

  /** What a client does natively with the missing ones. */
  function readMissing({ store, port, near }, batch) {
    const begun = near.begin();
    port.found.fill(0);
    batch.missing.forEach((index, place) => {
      const entry = store.read(port, keys[index], { place });
      batch.values[index] = entry?.value;
      near.remember(begun, keys[index], entry?.value, place);
    });
  }

  it('are whole where all is known, and are recorded in order', () => {
    const { store, near } = setupMany();
    const batch = near.getMany(['c', 'a', 'd', 'b']);
    assert.deepEqual(batch.values, ['value c', 'value a', 'value d', 'value b']);
    assert.deepEqual(batch.missing, []);
    assert.equal(near.recheck(batch), true);
    assert.deepEqual(store.keys(), ['b', 'd', 'a', 'c']);
    assert.equal(near.hits, 4);
    assert.deepEqual(near.getMany([]).values, []);
  });

  it('name what is missing, and are recorded in the order of the keys', () => {
    const one = setupMany(['a', 'c']);
    const batch = one.near.getMany(keys);
    assert.deepEqual(batch.missing, [1, 3]);
    assert.deepEqual(batch.values, ['value a', MISS, 'value c', MISS]);
    readMissing(one, batch);
    assert.equal(one.near.recheck(batch), true);
    assert.deepEqual(batch.values, ['value a', 'value b', 'value c', 'value d']);
    assert.deepEqual(one.store.keys(), ['d', 'c', 'b', 'a']);
    assert.equal(one.near.hits, 2);
    assert.deepEqual(one.near.getMany(keys).missing, []);
  });

  it('are all left to one native call where more are missing than it can name', () => {
    const one = setupMany(['a', 'c']);
    const many = ['a', ...Array.from({ length: 129 }, (_, index) => `missing ${index}`), 'c'];
    const batch = one.near.getMany(many);
    assert.equal(batch.missing.length, many.length);
    assert.equal(one.near.recheck(batch), true);
    assert.equal(one.near.hits, 0);
  });

  const changes = {
    'a value was changed': ({ store }) => store.set('a', 'another'),
    'a value was removed': ({ store }) => store.delete('c'),
    'the epoch changed': ({ store }) => store.renew(),
    'the epoch changed and was seen': ({ store, near }) => {
      store.renew();
      near.get('a');
    },
    'the gate is odd': ({ store }) => (store.control[GATE] += 1),
  };
  for (const [name, change] of Object.entries(changes)) {
    it(`are read anew where ${name} before the rest was read`, () => {
      const one = setupMany(['a', 'c']);
      const batch = one.near.getMany(keys);
      change(one);
      readMissing(one, batch);
      const { hits } = one.near;
      assert.equal(one.near.recheck(batch), false);
      assert.equal(one.near.hits, hits);
    });
  }

  it('count no use where the rest cannot be read', () => {
    const { store, near } = setupMany(['a', 'c']);
    const order = store.keys();
    near.getMany(keys);
    assert.equal(near.getAll(keys), MISS);
    assert.equal(near.hits, 0);
    assert.deepEqual(store.keys(), order);
  });

  it('give pairs where all is known: own properties in the order of the keys, recorded in order', () => {
    const { store, near, get } = setup();
    const list = ['b', '__proto__', 1, 'a'];
    for (const key of list) {
      store.set(key, `value ${key}`);
      get(key);
    }
    store.keys();
    const pairs = near.getAll([...list].reverse());
    assert.deepEqual(Object.entries(pairs), [
      ['1', 'value 1'],
      ['a', 'value a'],
      ['__proto__', 'value __proto__'],
      ['b', 'value b'],
    ]);
    assert.equal(Object.getPrototypeOf(pairs), Object.prototype);
    assert.deepEqual(store.keys(), list);
    assert.equal(near.hits, 4);
    assert.deepEqual(near.getAll([]), {});
    assert.equal(near.getAll(['a', 'absent']), MISS);
  });

  it('leave keys whose names are made by code of the user to a native call', () => {
    const { store, near, get } = setup();
    const key = { toString: () => assert.fail('called') };
    store.set(key, 1);
    get(key);
    assert.equal(near.getAll([key]), MISS);
    assert.equal(near.get(key), 1);
  });

  it('never mix two states of a key that comes twice', () => {
    const one = setupMany(['a']);
    const batch = one.near.getMany(['a', 'b', 'a']);
    assert.deepEqual(batch.missing, [1]);
    one.store.set('a', 'another');
    const begun = one.near.begin();
    one.port.found.fill(0);
    one.store.read(one.port, 'a');
    one.near.remember(begun, 'a', 'another');
    assert.equal(one.near.recheck(batch), false);
  });

  for (const word of [GATE, EPOCH]) {
    it(`are looked at again at the end: word ${word}`, () => {
      for (const way of [(near) => near.getMany(['a']).values[0], (near) => near.getAll(['a'])]) {
        const store = new Store();
        const port = store.attach();
        let isArmed = false;
        // The word changes when the version is looked at, which is behind the look at the word.
        port.versions = () => ({
          get 0() {
            if (isArmed) store.control[word] += 1;
            return store.versions[0];
          },
        });
        const near = new NearCache(port, { bytes: MEBI, shared: new Budget(MEBI) });
        store.set('a', 'value');
        read(store, near, port, 'a');
        assert.notEqual(way(near), MISS);
        const { hits } = near;
        isArmed = true;
        assert.equal(way(near), MISS);
        assert.equal(near.hits, hits);
      }
    });
  }

  it('look at the clock once', () => {
    const { store, near, get } = setup();
    for (const key of keys) {
      store.set(key, key, { expires: Date.now() + 1e6 });
      get(key);
    }
    const { now } = Date;
    let looks = 0;
    try {
      Date.now = () => {
        looks += 1;
        return 1;
      };
      assert.deepEqual(near.getMany(keys).values, keys);
      assert.equal(looks, 1);
      looks = 0;
      assert.deepEqual(Object.values(near.getAll(keys)), keys);
    } finally {
      Date.now = now;
    }
    assert.equal(looks, 1);
  });

  it('give nothing while the gate or the epoch is odd', () => {
    const { store, near } = setupMany();
    const check = () => {
      const batch = near.getMany(keys);
      assert.deepEqual(batch.missing, [0, 1, 2, 3]);
      assert.ok(batch.values.every((value) => value === MISS));
      assert.equal(near.getAll(keys), MISS);
    };
    store.many(check);
    assert.deepEqual(near.getMany(keys).missing, []);
    store.renew(check);
  });
});

describe('what near reads keep', () => {
  it('stays within the bytes that are allowed, and comes to nothing', () => {
    const { store, near, get } = setup({ bytes: 100000 });
    for (let n = 0; n < 5000; n += 1) {
      const key = `key ${n}`;
      if (n % 2 === 0) store.set(key, 'x'.repeat(n % 700));
      else store.set(key, undefined, { json: JSON.stringify({ n, list: [n, { n }] }) });
      get(key);
      if (n % 3 === 0) near.get(key);
      if (n % 5 === 0) near.get(key, true);
      assert.ok(near.bytes <= 100000);
    }
    assert.ok(near.entries > 50);
    near.clear();
    assert.equal(near.bytes, 0);
    assert.equal(near.entries, 0);
  });

  it('is shared by all namespaces of the process', () => {
    const shared = new Budget(100000);
    const all = [1, 2, 3].map(() => {
      const store = new Store();
      const port = store.attach();
      return {
        store,
        port,
        near: new NearCache(port, { shared, bytes: 100000, atEndOfTurn: atOnce }),
      };
    });
    for (let n = 0; n < 3000; n += 1) {
      const { store, port, near } = all[n % 3];
      store.set(n, 'x'.repeat(100));
      read(store, near, port, n);
      assert.ok(shared.bytes <= 100000);
    }
    const sum = all.reduce((total, { near }) => total + near.bytes, 0);
    assert.equal(shared.bytes, sum);
    for (const { near } of all) assert.ok(near.bytes > 20000);
    for (const { near } of all) near.close();
    assert.equal(shared.bytes, 0);
    all[0].near.raise(300000);
    assert.equal(shared.limit, 300000);
  });

  it('is nothing of more than a quarter of it', () => {
    const { store, near, get } = setup({ bytes: 100000 });
    store.set('large', 'x'.repeat(25000));
    store.set('wide', 'ж'.repeat(13000));
    store.set('small', 'x'.repeat(20000));
    for (const key of ['large', 'wide', 'small']) {
      get(key);
      assert.equal(near.has(key), key === 'small');
    }
    // Its text is kept, and parsed each time: decoded it is too large.
    store.set('list', undefined, { json: JSON.stringify(['x'.repeat(10000)]) });
    get('list');
    assert.equal(near.get('list')[0].length, 10000);
    assert.ok(near.bytes < 50000);
  });

  it('stays the same for the most part where more is read in turns than it has room for', () => {
    const { store, near, get } = setup({ bytes: 200000 });
    const json = (n) => JSON.stringify({ n, text: 'x'.repeat(1000) });
    for (let n = 0; n < 250; n += 1) store.set(n, undefined, { json: json(n) });
    let remembered = 0;
    const { rememberJson } = near;
    near.rememberJson = function (...args) {
      const before = this.has(args[1]);
      rememberJson.apply(this, args);
      if (!before && this.has(args[1])) remembered += 1;
    };
    for (let round = 0; round < 20; round += 1) {
      if (round === 10) remembered = 0;
      for (let n = 0; n < 250; n += 1) assert.equal(get(n).n, n);
    }
    assert.ok(remembered < 2500 / 12, `${remembered} of 2500 reads displaced others`);
    // What is read often now is remembered all the same.
    let reads = 0;
    while (!near.has(249)) {
      get(249);
      reads += 1;
      assert.ok(reads < 200);
    }
  });

  it('remembers a key again whose entry has changed, though there is no room', () => {
    const { store, near, get } = setup({ bytes: 100000 });
    for (let n = 0; n < 2000; n += 1) {
      store.set('hot', n);
      assert.equal(get('hot'), n);
      assert.equal(near.get('hot'), n);
      store.set(n, 'x'.repeat(200));
      get(n);
    }
  });

  it('survives a scan', () => {
    const { store, near, get } = setup({ bytes: 200000 });
    for (let n = 0; n < 100; n += 1) store.set(`hot ${n}`, 'x'.repeat(100));
    for (let round = 0; round < 3; round += 1) {
      for (let n = 0; n < 100; n += 1) get(`hot ${n}`);
    }
    for (let n = 0; n < 20000; n += 1) {
      store.set('scanned', n);
      store.set(`scanned ${n % 2000}`, 'x'.repeat(100));
      get(`scanned ${n % 2000}`);
    }
    let hits = 0;
    for (let n = 0; n < 100; n += 1) if (near.has(`hot ${n}`)) hits += 1;
    assert.equal(hits, 100);
  });
});

describe('near reads of several processes that take turns', () => {
  for (const stamp of [0, 2 ** 31 - 5000, -5000]) {
    it(`give the present value and the order of lru-cache, from stamp ${stamp} on`, () => {
      const store = new Store(stamp);
      const processes = [1, 2, 3].map(() => {
        const port = store.attach();
        return {
          port,
          near: new NearCache(port, {
            bytes: 20000,
            shared: new Budget(20000),
            atEndOfTurn: atOnce,
          }),
        };
      });
      /** Keys in the order of use, and values. */
      const model = new Map();
      let state = 11;
      const random = (below) => {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
        return (state >>> 8) % below;
      };
      let who = 0;
      for (let count = 0; count < 30000; count += 1) {
        if (random(8) === 0) who = random(3);
        const { port, near } = processes[who];
        const key = `key ${random(60)}`;
        const what = random(100);
        if (what < 8) {
          store.set(key, count);
          model.delete(key);
          model.set(key, count);
        } else if (what < 9) {
          store.delete(key);
          model.delete(key);
        } else if (what < 10) {
          store.renew();
        } else {
          const value = read(store, near, port, key);
          assert.equal(value, model.get(key));
          if (model.has(key)) {
            model.delete(key);
            model.set(key, value);
          }
        }
        if (random(50) === 0) assert.deepEqual(store.keys(), [...model.keys()].reverse());
      }
      assert.ok(processes.every(({ near }) => near.hits > 1000));
    });
  }
});
