'use strict';

/**
 * Siblings are workers of one application that have no primary of ours: a process manager started them, or a primary that
 * does not load the package. This file says what identifies an application. `src/storage/shared/siblings.rs` finds the
 * segment.
 */

const fs = require('fs');

/** The process that started this one. Read once, because the system names another when that process ends. */
const parent = process.ppid;

/**
 * Identifies the application among those with the same parent: by the script that runs, and by what a process manager
 * calls it. `LRU_CACHE_APPLICATION` replaces both.
 */
function identity() {
  const { pm_id, pm_exec_path, pm_cwd, name, namespace, LRU_CACHE_APPLICATION } = process.env;
  // PM2 sets these. In other environments the names may mean anything.
  const pm2 = pm_id === undefined ? [] : [name, namespace, pm_exec_path, pm_cwd];
  return JSON.stringify(LRU_CACHE_APPLICATION ? [LRU_CACHE_APPLICATION] : [process.argv[1], pm2]);
}

/** Whether the parent has loaded the addon of this package. Then the parent is a primary of ours, and will answer. */
function hasPrimary() {
  try {
    return fs.readFileSync(`/proc/${parent}/maps`, 'latin1').includes('/lru-cache-for-clusters.');
  } catch {
    return false;
  }
}

module.exports = { parent, identity, hasPrimary };
