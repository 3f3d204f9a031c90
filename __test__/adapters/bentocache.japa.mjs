// The suite of bentocache, over a driver of this process and over one whose calls three workers make in turn.

import { test } from '@japa/runner';
import { registerCacheDriverTestSuite } from 'bentocache/test_suite';
import { lruCacheDriver } from 'lru-cache-for-clusters-as-promised/bentocache';
import spreading from './helpers/spread.js';

const { Spread } = spreading;
const spread = new Spread();

const METHODS = 'get pull set delete deleteMany clear prune disconnect'.split(' ');

function spreadDriver(path) {
  const driver = spread.adapter('bentocache', { namespace: 'bento-spread', path }, METHODS);
  driver.type = 'l2';
  driver.namespace = (name) => spreadDriver([...path, name]);
  return driver;
}

test.group('bentocache, in one process', (group) => {
  const { factory } = lruCacheDriver({ namespace: 'bento-alone' });
  const createDriver = (options) => factory({ prefix: 'japa', ...options });
  registerCacheDriverTestSuite({ test, group, createDriver });
});

test.group('bentocache, over three workers', (group) => {
  group.setup(() => {
    spread.start();
    return () => spread.stop();
  });
  const createDriver = ({ prefix = 'japa' } = {}) => spreadDriver([prefix]);
  registerCacheDriverTestSuite({ test, group, createDriver });
});
