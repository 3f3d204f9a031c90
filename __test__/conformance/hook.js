'use strict';

/**
 * Loaded before anything else in the processes that run an original's own tests, workers included: what those
 * tests ask of the original is answered by this package, and their `lru-cache` is our `LRUCache`.
 */

const Module = require('module');
const os = require('os');
const path = require('path');

const { CONFORMANCE_ORIGINAL: original, CONFORMANCE_PACKAGE: ours } = process.env;
const tests = path.join(original, 'test') + path.sep;
const main = path.join(original, 'lru-cache-for-clusters-as-promised.js');

const load = Module._load;

Module._load = function answer(request, parent, ...rest) {
  if (parent?.filename?.startsWith(tests)) {
    if (request === 'lru-cache') return load(ours, parent, false).LRUCache;
    const file = Module._resolveFilename(request, parent);
    if (file === main) return load(ours, parent, false);
    if (file === path.join(original, 'config.js')) return { source: 'conformance' };
    // The original's inner modules: loaded to see that they load.
    if (file.startsWith(path.join(original, 'lib'))) return {};
  }
  return load.call(this, request, parent, ...rest);
};

// The tests of 1.5.24 start a worker per processor, and one that fails in a worker ends it: there must be another.
const [cpu] = os.cpus();
os.cpus = () => [cpu, cpu];
