'use strict';

/** Functions whose results a cache keeps. */

const { CODES, makeError } = require('../errors');

const invalid = (message) => makeError(['TypeError', message, CODES.INVALID_ARG_TYPE]);

/**
 * A function that gives what `fn` gives, by `fetch` of a cache.
 *
 * @param {any} cache
 * @param {Function} fn
 * @param {any} options
 */
function memoizeOn(cache, fn, options) {
  if (typeof fn !== 'function') throw invalid('memoize needs a function');
  const { name = fn.name, key, ...ofFetch } = options ?? {};
  if (key !== undefined && typeof key !== 'function') {
    throw invalid('memoize needs a function as key');
  }
  if (key === undefined && !name) {
    throw invalid('memoize needs a function with a name, or the option name or key');
  }
  const keyOf = key ?? ((...args) => JSON.stringify([name, ...args]));
  const settings = Object.keys(ofFetch).length > 0 ? ofFetch : undefined;
  const fetch = (self, args, given) =>
    cache.fetch(keyOf.apply(self, args), () => fn.apply(self, args), given);

  /** @this {any} */
  function memoized(...args) {
    try {
      return fetch(this, args, settings);
    } catch (error) {
      // `key` threw, or the arguments have no JSON.
      return Promise.reject(error);
    }
  }
  Object.defineProperty(memoized, 'name', { value: name || fn.name, configurable: true });
  memoized.delete = async (...args) => (await cache.deleteMany([keyOf(...args)]))[0];
  memoized.refresh = async (...args) => fetch(undefined, args, { ...ofFetch, forceRefresh: true });
  return memoized;
}

/** `memoize(fn, { cache, … })`, and `memoize(cache, fn, keyFn, options)` as 2.x has it. */
function memoize(first, second, keyFn, options) {
  if (typeof first === 'function') {
    const { cache, ...ofMemoize } = second ?? {};
    if (typeof cache?.fetch !== 'function') throw invalid('memoize needs the option cache');
    return memoizeOn(cache, first, ofMemoize);
  }
  if (typeof first?.fetch !== 'function') throw invalid('memoize needs a function or a cache');
  return memoizeOn(first, second, keyFn === undefined ? options : { ...options, key: keyFn });
}

module.exports = { memoize, memoizeOn };
