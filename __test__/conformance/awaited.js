'use strict';

/**
 * The tests of 1.7.4 for a single process, each run to its end. That version's own suite starts them and lets mocha
 * go on at once, so that it counts them as passed before they are over.
 */

const path = require('path');

const { CONFORMANCE_ORIGINAL: original, CONFORMANCE_PACKAGE: ours } = process.env;
const LRUCacheForClustersAsPromised = require(ours);
const TestUtils = require(path.join(original, 'test/lib/test-utils'));

describe('LRU Cache as Promised, awaited', () => {
  const cache = new LRUCacheForClustersAsPromised({ namespace: 'awaited', max: 3, stale: false });
  const utils = new TestUtils(cache);

  afterEach((done) => {
    utils.reset(done);
  });

  for (const [method, title] of Object.entries(utils.tests)) {
    it(`should ${title}`, (done) => {
      utils[method]((error) => done(error));
    }).timeout(5000);
  }
});
