'use strict';

/** The caches of this process by namespace, in the primary of a cluster or in a process without a cluster. */

const { NativeRegistry } = require('../native/loader');
const { debug } = require('../debug');
const { CODES, makeError } = require('../errors');
const { OF_MACHINES } = require('../options');
const { bulk } = require('../store/lru-cache');
const { RetryQueue } = require('../store/retry-queue');
const { STATE, ValueTable } = require('../store/value-table');
const { Views } = require('../store/views');
const { whyNot } = require('./shared-memory');

// Kept, because test suites replace the globals by timers that stand still.
const { setInterval } = globalThis;

const { BUSY } = CODES;

const log = debug('primary');

const table = new ValueTable();
const registry = new NativeRegistry(table.state, prune);

/** Calls that wait because a worker has the lock, by namespace. */
const retryQueues = new Map();

/** The calls of a namespace that wait. */
function retryQueueOf(namespace) {
  if (!retryQueues.has(namespace)) retryQueues.set(namespace, new RetryQueue());
  return retryQueues.get(namespace);
}

/** The caches of each namespace that was asked for. The registry may know more: those of workers. */
const caches = new Map();

/**
 * The cache of a namespace, made if there is none, as two objects that differ where a worker has the lock: calls of `quick`
 * fail soon and are made again, calls of `patient`, the synchronous class, wait for the lock. `views` are as `quick`, one
 * for each way to read.
 */
function cachesOf(namespace) {
  let both = caches.get(namespace);
  if (!both) {
    if (!registry.cache(namespace)) applyOptions(namespace, '{}');
    const open = (patient) => new Views(registry.cache(namespace, patient), table);
    const views = open(false);
    const patientViews = open(true);
    both = {
      views,
      patientViews,
      quick: views.get(undefined, 0),
      patient: patientViews.get(undefined, 0),
      /** The entries lie elsewhere now. */
      renewNear() {
        views.renewNear();
        patientViews.renewNear();
      },
    };
    caches.set(namespace, both);
  }
  return both;
}

/** The synchronous cache of a namespace for the application, made if there is none. */
function cacheOf(namespace) {
  const { patient } = cachesOf(namespace);
  registry.expose(namespace);
  return patient;
}

/**
 * Makes the cache of a namespace, or changes its options to those given, as JSON. Throws what is wrong with them;
 * where a worker has the lock, nothing is changed yet.
 */
function applyOptions(namespace, options) {
  const wrong = registry.open(namespace, options);
  table.release();
  if (wrong) throw makeError(wrong);
}

/** Destroys a namespace for all processes. Returns whether there was one; throws where another process has the lock. */
function destroyCache(namespace) {
  const destroyed = registry.destroy(namespace);
  letGo();
  if (typeof destroyed === 'boolean') return destroyed;
  throw makeError(destroyed);
}

/** Ends a call of the registry: drops values and caches that are not there any more. */
function letGo() {
  table.release();
  if (table.state[STATE.DESTROYED] === 0) return;
  table.state[STATE.DESTROYED] = 0;
  for (const [namespace, { quick, views, patientViews }] of caches) {
    if (!bulk.isGone(quick)) continue;
    views.close();
    patientViews.close();
    caches.delete(namespace);
    log('destroyed', namespace);
  }
}

/** A function that the application put on the synchronous cache of a namespace, under a name of its own choice. */
function ownFunction(namespace, name) {
  const cache = caches.get(namespace)?.patient;
  if (typeof name !== 'string' || cache === undefined || !Object.hasOwn(cache, name))
    return undefined;
  const own = cache[name];
  return typeof own === 'function' ? own : undefined;
}

/**
 * Calls such a function as one step for all processes, up to its first `await`. Throws where another process has the
 * lock, and then it was not called; what it throws itself is a rejection.
 */
function callOwn(namespace, own, args) {
  const { quick, patient } = cachesOf(namespace);
  return bulk.atomically(quick, async () => Reflect.apply(own, patient, args));
}

/** Called when the schedule of a namespace is due. */
function prune(namespace) {
  const attempt = () => {
    const done = registry.scheduled(namespace, Date.now());
    table.release();
    if (Array.isArray(done) && done[2] === BUSY) return false;
    log(done === true ? 'pruned' : 'did not prune', namespace);
    return true;
  };
  if (!attempt()) retryQueueOf(namespace).add(attempt);
}

/** Milliseconds until values are dropped whose entries workers have removed, where this process makes no call itself. */
const SWEEP = 1000;

let sweeper;

/**
 * Moves a namespace to shared memory for the workers: where they can attach it, or why they cannot. Throws where another
 * process has the lock. `theirs` is the ticket of a segment that a worker has already, or empty.
 *
 * @returns {{ ticket?: string, why?: string }}
 */
function share(namespace, theirs) {
  let why = whyNot();
  if (why === undefined) {
    // Values that were freed meanwhile may still have to be read: they are dropped later.
    const ticket = registry.share(namespace, theirs, table.values);
    if (typeof ticket === 'string') {
      sweeper ??= setInterval(sweep, SWEEP).unref();
      caches.get(namespace)?.renewNear();
      log('shares', namespace, ticket);
      return { ticket };
    }
    const error = makeError(ticket);
    if (error.code === BUSY) throw error;
    why = error.message;
  }
  log('does not share', namespace, why);
  return { why };
}

function sweep() {
  registry.sweep();
  table.release();
}

/** The names of all namespaces of the application. */
function namespaces() {
  return registry.names().filter((name) => name !== OF_MACHINES);
}

/** `{ namespace: LRUCache }` of all that exist. */
function allCaches() {
  return Object.fromEntries(namespaces().map((name) => [name, cacheOf(name)]));
}

module.exports = {
  allCaches,
  applyOptions,
  cacheOf,
  cachesOf,
  callOwn,
  destroyCache,
  letGo,
  namespaces,
  ownFunction,
  registry,
  retryQueueOf,
  share,
  table,
};
