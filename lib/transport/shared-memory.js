'use strict';

/** Whether caches may lie in memory that processes share. Decided in each process for itself. */

let off =
  process.platform === 'linux'
    ? process.env.LRU_CACHE_SHARED === '0' && 'LRU_CACHE_SHARED=0'
    : `no shared memory on ${process.platform}`;

/** Why this process shares nothing; `undefined` where it may. */
function whyNot() {
  return off || undefined;
}

/** Shares nothing from now on. */
function stopSharing() {
  off ||= 'init({ shared: false })';
}

module.exports = { whyNot, stopSharing };
