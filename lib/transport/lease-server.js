'use strict';

/** The leases of workers whose transport is IPC: the primary claims, settles and awaits them for them. */

const { CODES, makeError } = require('../errors');
const { cachesOf, registry, retryQueueOf } = require('./caches');
const { NOTHING, decodeKey, decodeValue, encodeValue } = require('./envelope');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setTimeout } = globalThis;

const { BUSY } = CODES;

/** What tells a lease from those of all namespaces: a token is that of one lease of its namespace alone. */
const idOf = (namespace, token) => `${token} ${namespace}`;

/** The map of a worker, which is made with its first use. */
function mapOf(all, worker) {
  let map = all.get(worker);
  if (map === undefined) {
    map = new Map();
    all.set(worker, map);
  }
  return map;
}

/** The leases of each worker, by id. A worker that is gone gives them up. */
const leasesOf = new WeakMap();

const nothing = () => {};

/** How long the primary waits for a lease in place of a worker that was told of it, in milliseconds: a worker asks a round trip later. */
const EARLY = 1000;

/** What became meanwhile of leases of which workers were told, by worker and id. */
const earlyOf = new WeakMap();

/** What ends the waits of a worker, by worker and id of the lease. */
const waitsOf = new WeakMap();

/** Waits for a lease in place of a worker, which may give up. `reads`: the entry is for the worker, too. */
function waitFor(leases, view, { worker, namespace }, key, token, timeout, reads = false) {
  const waits = mapOf(waitsOf, worker);
  const id = idOf(namespace, token);
  const own = waits.get(id) ?? new Set();
  let end = nothing;
  const told = (giveUp) => {
    end = giveUp;
    waits.set(id, own.add(giveUp));
  };
  const forget = () => {
    own.delete(end);
    if (own.size === 0 && waits.get(id) === own) waits.delete(id);
  };
  const waiting = leases.wait(view, key, token, timeout, told, reads);
  waiting.then(forget, forget);
  return waiting;
}

/** A worker waits for a lease no more. */
function giveUp({ worker, namespace }, token) {
  const waits = waitsOf.get(worker)?.get(idOf(namespace, token)) ?? [];
  for (const end of [...waits]) end();
}

/** Waits for a lease of which a worker is told now: what it leaves until the worker asks is kept. */
function waitEarly(leases, view, caller, key, token) {
  const { worker, namespace } = caller;
  const early = mapOf(earlyOf, worker);
  const id = idOf(namespace, token);
  if (early.has(id)) return;
  early.set(id, undefined);
  const ended = (found) => {
    if (!early.has(id)) return;
    if (found.state === 'timeout') early.delete(id);
    else {
      early.set(id, found);
      setTimeout(() => early.delete(id), EARLY).unref();
    }
  };
  try {
    waitFor(leases, view, caller, key, token, EARLY).then(ended, () => early.delete(id));
  } catch {
    // Another process has the lock: the worker waits from its own call on.
    early.delete(id);
  }
}

/** What became of a lease since the worker was told of it, if that is known. */
function takeEarly({ worker, namespace }, token) {
  const early = earlyOf.get(worker);
  const id = idOf(namespace, token);
  const found = early?.get(id);
  early?.delete(id);
  return found;
}

/** Runs a call on the cache of a namespace, as soon as no other process has the lock. */
function attempt(namespace, run) {
  return new Promise((resolve, reject) => {
    const once = () => {
      try {
        resolve(run());
      } catch (error) {
        if (error?.code === BUSY) return false;
        reject(error);
      }
      return true;
    };
    if (!once()) retryQueueOf(namespace).add(once);
  });
}

/** The leases of a worker. */
function heldBy(worker) {
  let held = leasesOf.get(worker);
  if (held === undefined) {
    held = new Map();
    leasesOf.set(worker, held);
    worker.once('disconnect', () => {
      leasesOf.delete(worker);
      for (const { namespace, token, key, endWatch } of held.values()) {
        endWatch?.();
        attempt(namespace, () => cachesOf(namespace).views.leases.release(key, token)).catch(
          nothing,
        );
      }
    });
  }
  return held;
}

/** A worker has a lease no longer. */
function letGo({ worker, namespace }, token) {
  const held = heldBy(worker);
  const id = idOf(namespace, token);
  held.get(id)?.endWatch?.();
  held.delete(id);
}

/** A number of a message, as `optionJson` writes it; `undefined` for none. */
function numberOf(json) {
  if (typeof json === 'number') return json;
  return typeof json?.n === 'string' ? Number(json.n) : undefined;
}

/** The calls, by name: the leases, a view, who calls, the key, the arguments. */
const CALLS = {
  __proto__: null,
  claim(leases, view, caller, key, [options]) {
    const { worker, namespace } = caller;
    const claimed = leases.claim(view, key, { ...options, process: worker.process.pid });
    const { state, token } = claimed;
    if (state === 'held') waitEarly(leases, view, caller, key, token);
    if (state === 'leased') heldBy(worker).set(idOf(namespace, token), { namespace, token, key });
    return claimed;
  },
  settle(leases, view, caller, key, [token, kind, valueKind, payload, ...more]) {
    const [maxAge, keeps, tags, rest] = more;
    const value = decodeValue(valueKind, payload);
    const time = numberOf(keeps);
    const times = { maxAge: numberOf(maxAge), grace: time, ttl: time, rest: numberOf(rest) };
    const outcome = { kind, value, error: value, ...times, tags: tags ?? undefined };
    const settled = leases.settle(view, key, token, outcome);
    letGo(caller, token);
    return settled;
  },
  release(leases, view, caller, key, [token]) {
    leases.release(key, token);
    letGo(caller, token);
    return null;
  },
  wait(leases, view, caller, key, [token, timeout, reads]) {
    const found = takeEarly(caller, token);
    // An entry is read for who asks for it.
    if (found !== undefined && found.state !== 'settled') return found;
    return waitFor(leases, view, caller, key, token, timeout ?? Infinity, reads === true);
  },
  /** The worker waits no more. */
  quit(leases, view, caller, key, [token]) {
    giveUp(caller, token);
    return null;
  },
  /** Resolves when the lease is void, is settled by its owner, or after `time` milliseconds. */
  watch: (leases, view, { worker, namespace }, key, [token, time]) =>
    new Promise((resolve) => {
      const end = leases.watch(key, token, () => done('void'));
      const timer = setTimeout(() => done('timeout'), time).unref();
      const done = (state) => {
        end();
        clearTimeout(timer);
        resolve({ state });
      };
      const held = heldBy(worker).get(idOf(namespace, token));
      if (held !== undefined) held.endWatch = () => done('settled');
    }),
  isHeld: (leases, view, caller, key, [token]) => leases.isHeld(key, token),
  isAwaited: (leases, view, caller, key, [token]) => leases.isAwaited(key, token),
};

/** Answers a call of a worker: JSON of `[result, kind, value]`. */
async function leaseCall(worker, namespace, mode, values) {
  const [op, key, ...args] = values;
  const call = CALLS[op];
  if (call === undefined || registry.cache(namespace) === null) {
    throw makeError(['Error', 'not a request on a lease', CODES.BAD_REQUEST]);
  }
  const advanced = mode === 1;
  const { views } = cachesOf(namespace);
  const view = views.get(advanced ? 'advanced' : 'json', 0);
  const caller = { worker, namespace };
  const result = await attempt(namespace, () =>
    call(views.leases, view, caller, decodeKey(key), args),
  );
  // The value of an entry past its age, or else that of the answer.
  const holder = result?.stale ?? result;
  const hasValue = holder !== null && typeof holder === 'object' && 'value' in holder;
  if (!hasValue) return `[${JSON.stringify(result)},${NOTHING}]`;
  const { value, ...rest } = holder;
  const answer = holder === result ? rest : { ...result, stale: rest };
  return `[${JSON.stringify(answer)},${encodeValue(value, advanced)}]`;
}

module.exports = { leaseCall };
