'use strict';

const assert = require('node:assert/strict');
const { isDeepStrictEqual } = require('node:util');
const { freeze } = require('../../lib/freeze');
const { copy, prepare } = require('../../lib/near/tree');

/** Random numbers in [0, 1), the same in each run. */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

const KEYS = ['a', 'b', 'name', '', '0', '1', '7', '01', '-1', '4294967294', '__proto__'];
KEYS.push('constructor', 'toString', 'toJSON', 'length', 'ключ', '\ud800', 'with space');
const LEAVES = ['0', '-0', '1', '-1.5', '1e300', '9007199254740993', '"a"', '""', '"\\ud800"'];
LEAVES.push('"ü"', 'true', 'false', 'null', '{}', '[]');

/** JSON text of a random value; keys may come twice. */
function randomJson(random, depth) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  if (depth === 0 || random() < 0.3) return pick(LEAVES);
  const items = Array.from({ length: Math.floor(random() * 6) }, () => {
    const item = randomJson(random, depth - 1);
    return { key: JSON.stringify(pick(KEYS)), item };
  });
  if (random() < 0.4) return `[${items.map(({ item }) => item).join(',')}]`;
  return `{${items.map(({ key, item }) => `${key}:${item}`).join(',')}}`;
}

/** Fails unless two values are the same in all that a program can see, and share no object. */
function assertTwins(one, other) {
  if (typeof one !== 'object' || one === null) {
    assert.ok(Object.is(one, other), `${String(one)} is not ${String(other)}`);
    return;
  }
  assert.notEqual(one, other);
  assert.equal(Object.getPrototypeOf(one), Object.getPrototypeOf(other));
  assert.equal(Array.isArray(one), Array.isArray(other));
  assert.ok(Object.isExtensible(one));
  assert.deepEqual(Reflect.ownKeys(one), Reflect.ownKeys(other));
  for (const key of Reflect.ownKeys(one)) {
    const [mine, theirs] = [one, other].map((at) => Object.getOwnPropertyDescriptor(at, key));
    for (const flag of ['writable', 'enumerable', 'configurable']) {
      assert.equal(mine[flag], theirs[flag]);
    }
    assertTwins(mine.value, theirs.value);
  }
}

describe('copies of decoded JSON', () => {
  it('are what JSON.parse gives', () => {
    const random = randomOf(1);
    let prepared = 0;
    for (let count = 0; count < 5000; count += 1) {
      const text = randomJson(random, 5);
      const value = JSON.parse(text);
      if (typeof value !== 'object' || value === null) continue;
      const tree = prepare(value);
      if (tree === undefined) continue;
      prepared += 1;
      for (let times = 0; times < 2; times += 1) {
        const twin = copy(tree);
        assertTwins(twin, JSON.parse(text));
        assert.ok(isDeepStrictEqual(twin, JSON.parse(text)));
        assert.equal(JSON.stringify(twin), JSON.stringify(JSON.parse(text)));
        // What a caller does to a copy is not seen in the next one.
        spoil(twin);
      }
    }
    assert.ok(prepared > 1000, `${prepared} were copied`);
  });

  function spoil(value) {
    for (const key of Object.keys(value)) {
      const child = value[key];
      if (typeof child === 'object' && child !== null) spoil(child);
      if (key !== '__proto__') value[key] = 'spoiled';
    }
    if (Array.isArray(value)) value.push('spoiled');
    else value.spoiled = true;
  }

  it('call no setter of a prototype', () => {
    const text = '{"setter":{"a":1},"list":[{"b":2}]}';
    const tree = prepare(JSON.parse(text));
    const fail = () => assert.fail('a setter was called');
    Object.defineProperty(Object.prototype, 'setter', { set: fail, configurable: true });
    try {
      assert.equal(JSON.stringify(copy(tree)), text);
    } finally {
      delete Object.prototype.setter;
    }
  });

  it('are made of many shapes', () => {
    const shapes = Array.from({ length: 100 }, (_, shape) => ({ [`a${shape}`]: { x: shape } }));
    const text = JSON.stringify(shapes);
    assertTwins(copy(prepare(JSON.parse(text))), JSON.parse(text));
  });

  it('are not made where parsing is better: deep, wide and sparse objects', () => {
    const deep = (depth) => JSON.parse('[{"a":'.repeat(depth / 2) + '1' + '}]'.repeat(depth / 2));
    assert.ok(prepare(deep(64)));
    assert.equal(prepare(deep(66)), undefined);
    assert.equal(prepare(deep(100000)), undefined);
    const wide = (width) =>
      Object.fromEntries(Array.from({ length: width }, (_, n) => [`k${n}`, n]));
    assert.ok(prepare({ a: wide(64) }));
    assert.equal(prepare({ a: wide(65) }), undefined);
    assert.ok(prepare({ 0: 0, 1: 1, a: 2 }));
    assert.equal(prepare({ 12345: 0, a: 2 }), undefined);
    assert.equal(prepare([{ 1: 0, 4000000000: 2 }]), undefined);
    const long = Array.from({ length: 10000 }, (_, n) => n);
    assert.deepEqual(copy(prepare(long)), long);
  });
});

describe('frozen values', () => {
  it('are frozen to the last object, however deep', () => {
    const value = JSON.parse('{"__proto__":{"a":[{}]},"b":[[1,{"c":null}]],"d":"text"}');
    assert.equal(freeze(value), value);
    (function check(object) {
      assert.ok(Object.isFrozen(object));
      for (const key of Object.keys(object)) {
        const child = Object.getOwnPropertyDescriptor(object, key).value;
        if (typeof child === 'object' && child !== null) check(child);
      }
    })(value);
    freeze(JSON.parse('['.repeat(100000) + ']'.repeat(100000)));
  });
});
