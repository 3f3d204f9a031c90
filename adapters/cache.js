'use strict';

// What the adapters have in common: their caches, and the packages that they adapt to.

const LRUCache = require('../index.js');

/**
 * The cache of an adapter. Its calls always reject where there is no answer: a store that seems to be empty would log users out, and
 * let requests pass. What calls the adapter decides what follows.
 */
function openCache(defaults, options) {
  return new LRUCache({ timeout: 2000, ...defaults, ...options, failsafe: 'reject' });
}

/** Removes the entries whose keys begin with a prefix; all of them where it is empty. */
async function clear(cache, prefix) {
  if (prefix === '') await cache.reset();
  else await cache.deletePrefix(prefix);
}

/**
 * What an adapter needs of a package that the application installs.
 *
 * @param {string} adapter
 * @param {string} name of the package
 * @param {string} versions that fit, as text
 * @param {() => { version: string }} manifest reads the `package.json` of the package
 * @param {(major: number) => any} load gives what is needed; `undefined` where the version does not fit
 */
function requirePeer(adapter, name, versions, manifest, load) {
  let version;
  try {
    ({ version } = manifest());
    const loaded = load(parseInt(version, 10));
    if (loaded !== undefined) return loaded;
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
  }
  throw new Error(
    `lru-cache-for-clusters-as-promised/${adapter} needs the package ${name}, version ${versions} (found: ${version ?? 'none'}): npm install ${name}`,
  );
}

module.exports = { clear, openCache, requirePeer };
