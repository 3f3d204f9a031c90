'use strict';

/** The caches in shared memory of the applications that run on this machine, as the command uses them. */

const fs = require('fs');
const os = require('os');
const { setTimeout: sleep } = require('timers/promises');
const native = require('../native/loader');
const { CODES, makeError } = require('../errors');
const { OF_MACHINES } = require('../options');
const { openCache } = require('../store/lru-cache');
const { ValueTable } = require('../store/value-table');

const { BUSY, ELSEWHERE } = CODES;

/** How long the command waits for a process that has the lock, and from one attempt to the next, in milliseconds. */
const PATIENCE = 2000;
const PAUSE = 20;

/** An error that is the user's, or the machine's: the command shows its message alone. */
class Refused extends Error {}

/** The fields of `/proc/PID/stat` from the state on; `undefined` where there is no such process or thread. */
function statOf(pid) {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** What runs in a process. */
function commandOf(pid) {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
  } catch {
    return '';
  }
}

/** The user of a process; `undefined` where there is none. */
function userOf(pid) {
  try {
    return fs.statSync(`/proc/${pid}`).uid;
  } catch {
    return undefined;
  }
}

/** Whether a process or thread is stopped, by a signal or a debugger. */
const isStopped = (pid) => ['T', 't'].includes(statOf(pid)?.[0] ?? '');

/** Why no process is in the list that was asked for by its id. */
function whyNotThere(pid) {
  const user = userOf(pid);
  if (user === undefined) return `there is no process ${pid}`;
  const own = os.userInfo();
  if (user !== own.uid) {
    return `process ${pid} belongs to the user with the id ${user}: run the command as that user`;
  }
  return `process ${pid} has no cache in shared memory`;
}

/** One cache of an application. */
class RunningCache {
  #cache;

  constructor({ namespace, pids, ticket, problem }) {
    this.namespace = namespace;
    this.pids = pids;
    this.ticket = ticket;
    /** Why it cannot be read, if so. @type {string | undefined} */
    this.problem = problem;
  }

  get command() {
    return commandOf(this.pids[0]);
  }

  /** Attaches the memory. What it gives is the synchronous cache. */
  #open() {
    if (this.#cache !== undefined) return this.#cache;
    if (this.problem !== undefined) {
      throw new Refused(`the cache of process ${this.pids[0]} cannot be used: ${this.problem}`);
    }
    const table = new ValueTable();
    const registry = new native.NativeRegistry(table.state, () => {});
    const wrong = registry.attach(this.ticket, this.ticket);
    if (wrong) throw makeError(wrong);
    this.#cache = openCache(registry.cache(this.ticket, true), table, 'json');
    return this.#cache;
  }

  /** Makes calls on the cache. Waits where another process has the lock. */
  async use(run) {
    const end = performance.now() + PATIENCE;
    for (;;) {
      try {
        return run(this.#open());
      } catch (error) {
        if (error.code === ELSEWHERE) {
          throw new Refused(
            'the value is kept by reference in the primary: no other process can read it',
          );
        }
        if (error.code !== BUSY) {
          if (error instanceof Refused) throw error;
          throw new Refused(`the cache ${this.namespace} cannot be used: ${error.message}`);
        }
        if (performance.now() > end) throw new Refused(this.#whyBusy());
      }
      await sleep(PAUSE);
    }
  }

  #whyBusy() {
    const { holder = 0 } = list().find(({ ticket }) => ticket === this.ticket) ?? {};
    const who = holder === 0 ? 'a process' : `process ${holder}`;
    return isStopped(holder)
      ? `${who} is stopped while it has the lock of the cache ${this.namespace}: continue it (kill -CONT ${holder}) or end it`
      : `${who} has the lock of the cache ${this.namespace} and does not give it back`;
  }
}

/** What processes have, as Rust lists it. */
function list() {
  const found = native.runningStores();
  if (Array.isArray(found) && typeof found[0] === 'string') {
    throw new Refused(makeError(/** @type {any} */ (found)).message);
  }
  return /** @type {any[]} */ (found);
}

/** The caches that attach again, by ticket: `--watch` looks again and again. */
const known = new Map();

/**
 * All caches; with `pid`, those of one process; with `namespace`, those of that name.
 *
 * @param {{ pid?: number, namespace?: string }} [filter]
 * @returns {RunningCache[]}
 */
function runningCaches({ pid, namespace } = {}) {
  const all = list();
  const here = pid === undefined ? all : all.filter(({ pids }) => pids.includes(pid));
  if (pid !== undefined && here.length === 0) throw new Refused(whyNotThere(pid));
  const found = here
    .filter((store) =>
      namespace === undefined
        ? store.namespace !== OF_MACHINES
        : isNamed(store.namespace, namespace),
    )
    .map((store) => {
      const cache = known.get(store.ticket) ?? new RunningCache(store);
      if (store.ticket !== undefined && store.ticket !== null) known.set(store.ticket, cache);
      return Object.assign(cache, { pids: store.pids, problem: store.problem ?? undefined });
    });
  return found.sort((a, b) => (a.namespace < b.namespace ? -1 : 1));
}

/** Whether a cache has this name. Of a long one the memory has the beginning alone. */
function isNamed(label, namespace) {
  return label === namespace || (label.length > 120 && namespace.startsWith(label));
}

/** The one cache of a name. */
function cacheOf(namespace, pid) {
  const found = runningCaches({ pid, namespace });
  if (found.length === 1) return found[0];
  if (found.length === 0) {
    throw new Refused(
      `no running application of this user has a cache ${namespace} in shared memory`,
    );
  }
  const lines = found.map(({ pids, command }) => `  --pid ${pids[0]}  ${command}`);
  throw new Refused(
    [`several applications have a cache ${namespace}: say which`, ...lines].join('\n'),
  );
}

module.exports = { Refused, cacheOf, isStopped, runningCaches };
