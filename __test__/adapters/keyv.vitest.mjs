// The suites of Keyv, over a store of this process and over one whose calls three workers make in turn.

import keyvTests, { keyvIteratorTests } from '@keyv/test-suite';
import Keyv from 'keyv';
import { KeyvStore } from 'lru-cache-for-clusters-as-promised/keyv';
import * as test from 'vitest';
import spreading from './helpers/spread.js';

const { Spread } = spreading;

test.describe('Keyv 5, in one process', () => {
  const store = () => new KeyvStore({ namespace: 'keyv-alone' });
  keyvTests(test, Keyv, store);
  keyvIteratorTests(test, Keyv, store);
});

test.describe('Keyv 5, over three workers', () => {
  const spread = new Spread();
  test.beforeAll(() => void spread.start());
  test.afterAll(() => spread.stop());
  const opts = { dialect: 'redis' };
  const store = () => spread.keyv('keyv', { namespace: 'keyv-spread' }, { opts });
  keyvTests(test, Keyv, store);
  keyvIteratorTests(test, Keyv, store);
});
