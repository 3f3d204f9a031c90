'use strict';

/**
 * Load on the remote tier: two machines, each a primary with workers, a server, and a proxy before it for each machine. It checks that
 *
 * - no process reads an older value after a newer one,
 * - after a write has resolved, or a read was given, no process of that machine reads anything older, and nothing is missing,
 * - counters are exact,
 * - after `del`, or `invalidateTags`, no `fetch` of that machine gives what was loaded before it, and none of the other machine 2 seconds later,
 * - a key has one loader at a time, where nothing fails,
 * - after `invalidateTags` no process of that machine reads an entry from before it, and none of the other machine 2 seconds later,
 * - nothing from before a `FLUSHALL` is read later than 2 seconds after it,
 * - no call takes much longer than its `timeout`,
 * - while no process is at work, all processes read what the server has.
 *
 *     node __test__/stress/remote.js --ops 200000 --server valkey-server --faults kill,stop,client,holder,pause,worker,replies,pushes --rounds 20 --delay 2 --durable
 *
 * | option        | default         | what                                                                                                       |
 * | ------------- | --------------- | ---------------------------------------------------------------------------------------------------------- |
 * | `--ops`       | 100000          | calls, at least                                                                                            |
 * | `--server`    | `valkey-server` | the program of the server, or `redis-server`                                                               |
 * | `--durable`   | no              | the server keeps all that it has acknowledged when it is killed: then counters are exact and nothing is missing |
 * | `--on-error`  | `reject`        | `onError` of the caches. With `local` and faults entries may be missing, and counters are not checked          |
 * | `--loads`     | all             | of `values`, `fetch`, `tags`                                                                               |
 * | `--faults`    | none            | see `remote/faults.js`; with `flush`, or `kill` of a server that is not durable, entries may be missing    |
 * | `--rounds`    | 10              | how many faults, in turn                                                                                   |
 * | `--delay`     | 0               | milliseconds that each proxy keeps each piece back                                                         |
 * | `--transport` | `shared-memory` | or `ipc`                                                                                                   |
 * | `--workers`   | 3               | of each machine                                                                                            |
 * | `--timeout`   | 1000            | `timeout` of the caches                                                                                    |
 *
 * It prints what it has found, and ends with 1 where a check failed.
 */

const cluster = require('node:cluster');
const { ROLE } = require('./remote/options');

/** What each process is. */
const ROLES = {
  main: () => require('./remote/main').run(),
  database: () => require('./remote/database').run(),
  primary: () => require('./remote/primary').run(),
  worker: () => require('./remote/worker').run(),
};

ROLES[cluster.isWorker ? 'worker' : ROLE]();
