'use strict';

/**
 * Workers without a primary of ours: a process manager started them, or a primary that does not load the
 * package. What they find each other by; how, is in `src/storage/shared/siblings.rs`.
 */

const fs = require('fs');

/** The process that started this one. Asked once: when it ends, the system names another. */
const parent = process.ppid;

/**
 * Tells the workers of one application from those of others with the same parent: what they run, and what a
 * process manager calls it. `LRU_CACHE_APPLICATION` tells apart, or unites, what looks alike.
 */
function identity() {
  const { pm_id, pm_exec_path, pm_cwd, name, namespace, LRU_CACHE_APPLICATION } = process.env;
  // PM2 gives its workers these; elsewhere the names may mean anything.
  const pm2 = pm_id === undefined ? [] : [name, namespace, pm_exec_path, pm_cwd];
  return JSON.stringify(LRU_CACHE_APPLICATION ? [LRU_CACHE_APPLICATION] : [process.argv[1], pm2]);
}

/** Whether the parent has loaded this package's addon: then it is a primary of ours, and it will answer. */
function hasPrimary() {
  try {
    return fs.readFileSync(`/proc/${parent}/maps`, 'latin1').includes('/lru-cache-for-clusters.');
  } catch {
    return false;
  }
}

module.exports = { parent, identity, hasPrimary };
