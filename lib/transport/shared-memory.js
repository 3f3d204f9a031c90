'use strict';

/** Whether caches may lie in shared memory. Each process decides for itself. */

let reason =
  process.platform === 'linux'
    ? process.env.LRU_CACHE_SHARED === '0' && 'LRU_CACHE_SHARED=0'
    : `no shared memory on ${process.platform}`;

/** Why this process shares no memory; `undefined` where it may. */
function whyNot() {
  return reason || undefined;
}

/** This process shares no memory from now on. */
function stopSharing() {
  reason ||= 'init({ shared: false })';
}

module.exports = { whyNot, stopSharing };
