// The same over Keyv 6. The suites were written for Keyv 5: two assertions are replaced by what Keyv 6 does.

import keyvTests, { keyvIteratorTests } from '@keyv/test-suite';
import Keyv from 'keyv-6';
import { Keyv6Store, KeyvStore } from 'lru-cache-for-clusters-as-promised/keyv';
import * as test from 'vitest';
import spreading from './helpers/spread.js';

const { Spread } = spreading;

const REPLACED = {
  // Keyv 6 gives a boolean for each key.
  '.deleteMany([keys]) with nonexistent keys resolves to false': (Keyv, store) => async (t) => {
    const keyv = new Keyv({ store: store() });
    t.expect(await keyv.delete(['foo', 'foo1'])).toEqual([false, false]);
  },
  // Keyv 6 takes one object that serializes, and stores have no options of that.
  'value can be BigInt using other serializer/deserializer': (Keyv, store) => async (t) => {
    const keyv = new Keyv({ store: store(), serialization: false });
    const value = { big: 9223372036854775807n };
    await keyv.set('foo', value);
    t.expect(await keyv.get('foo')).toEqual(value);
  },
};

function suites(Keyv, store) {
  const replaced = (name, run) => test.it(name, REPLACED[name]?.(Keyv, store) ?? run);
  keyvTests({ ...test, it: replaced }, Keyv, store);
  keyvIteratorTests(test, Keyv, store);
}

test.describe('Keyv 6, in one process', () => {
  const store = () => new Keyv6Store({ namespace: 'keyv6-alone' });
  suites(Keyv, store);
});

test.describe('Keyv 6, over three workers', () => {
  const spread = new Spread();
  test.beforeAll(() => void spread.start());
  test.afterAll(() => spread.stop());
  const capabilities = { expires: true };
  const store = () => spread.keyv('keyv6', { namespace: 'keyv6-spread' }, { capabilities });
  suites(Keyv, store);
});

test.describe('Keyv 6, with the store of Keyv 5, which it bridges', () => {
  const store = () => new KeyvStore({ namespace: 'keyv6-bridged' });
  suites(Keyv, store);
});
