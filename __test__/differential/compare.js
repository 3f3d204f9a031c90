'use strict';

/**
 * One process's part of a run: the same calls on both packages, and whether they gave the same. In a `free` run both
 * are this package, through different transports, and must give the same to the letter.
 */

const cluster = require('cluster');
const { inspect } = require('util');
const { mendOf, refused } = require('./mends');

/** Milliseconds: an answer that takes longer is a bug, not a slow machine. */
const TIMEOUT = 60_000;

/** Calls that are no method of the class; `side` is one package's half of a run in this process. */
const SPECIAL = {
  open: async ({ side, space }, options) => void (await side.open(space, options)),

  /** What was dumped is loaded again. */
  async reload({ cache }) {
    const entries = await cache.execute('dump');
    return cache.execute('load', entries);
  },

  sync: ({ sync }, method, ...args) => sync[method](...args),
  forEach: (target, withThis) => visit(target, 'forEach', withThis),
  rforEach: (target, withThis) => visit(target, 'rforEach', withThis),
};

/** What a visitor is called with, in order. */
async function visit({ cache, sync }, method, withThis) {
  const visits = [];
  const thisp = withThis ? {} : undefined;
  function visitor(value, key, self) {
    visits.push([value, key, self === sync, this === (thisp ?? sync)]);
  }
  await cache.execute(method, visitor, thisp);
  return visits;
}

/** Writes results so that they can be compared and read. */
class Writer {
  /** Objects of this process, which are told apart by identity. */
  #known = new Map();

  constructor({ cluster, free, loose }) {
    this.cluster = cluster && !free;
    this.loose = this.cluster && loose;
  }

  /** Makes objects known, and all that lie in them. */
  know(value) {
    if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return;
    if (this.#known.has(value)) return;
    this.#known.set(value, this.#known.size);
    if (typeof value === 'object') for (const key of Object.keys(value)) this.know(value[key]);
  }

  /** `within`: the objects that the value lies in. */
  write(value, within = []) {
    if (this.#known.has(value)) return `#${this.#known.get(value)}`;
    // A worker of the original sends undefined as null and -0 as 0.
    if (this.loose && value === undefined) return 'null';
    if (this.cluster && value === 0) return '0';
    if (typeof value === 'string') return JSON.stringify(value);
    if (typeof value !== 'object' || value === null || value instanceof Date) return inspect(value);
    const up = within.indexOf(value);
    if (up >= 0) return `<circular ${up}>`;
    const inner = [...within, value];
    if (Array.isArray(value))
      return `[${Array.from(value, (item) => this.write(item, inner)).join(', ')}]`;
    const pairs = Object.entries(value)
      // Where JSON has been, it is not there.
      .filter(([, item]) => item !== undefined && !(this.loose && item === null))
      .map(([key, item]) => `${JSON.stringify(key)}: ${this.write(item, inner)}`);
    return `{ ${pairs.join(', ')} }`;
  }
}

/** One package's half of a run in this process. */
class Side {
  /**
   * @param {string} [transport] in a worker: the one its calls must take
   * @param {Function} [Attaching] in a worker: the class that attaches the caches to shared memory before they are used
   */
  constructor(Class, name, transport, Attaching) {
    this.Class = Class;
    this.name = name;
    this.transport = transport;
    this.Attaching = Attaching;
    /** By space. */
    this.instances = [];
    /** In the primary: the synchronous caches, by space. */
    this.caches = [];
  }

  async open(space, options) {
    const namespace = `${this.name}-${space}`;
    const given = { ...options, namespace, timeout: TIMEOUT, failsafe: 'reject' };
    const cache = new this.Class(given);
    this.instances[space] = cache;
    if (cluster.isPrimary) this.caches[space] = cache.getCache();
    await this.Attaching?.getInstance({ namespace, timeout: TIMEOUT, failsafe: 'reject' });
    const { kind, reason } = (await this.Class.getInstance(given)).transport?.() ?? {};
    // Not an error, which a call may end with on both sides.
    if (this.transport && kind !== this.transport)
      throw `${kind} instead of ${this.transport}: ${reason}`;
  }
}

/** A run in one process. */
class Comparison {
  /**
   * @param {{ Ours: Function, Original: Function, transport?: string }} packages `transport`: that of ours in a worker; the other
   * has messages
   * @param {object} run of `generate.js`
   * @param {number} attempt which time it runs: each has namespaces of its own
   */
  constructor({ Ours, Original, transport }, run, attempt) {
    const name = `run-${run.seed}-${attempt}`;
    this.run = run;
    const inWorker = (value) => (cluster.isWorker ? value : undefined);
    this.ours = new Side(Ours, name, inWorker(transport));
    this.original = new Side(
      Original,
      run.free ? `${name}-messages` : name,
      inWorker(run.free ? 'ipc' : undefined),
      inWorker(run.shared ? Ours : undefined),
    );
    this.writer = new Writer(run);
  }

  /**
   * Makes calls together on both packages.
   *
   * @param {number[]} indices of calls of the run, all of one actor
   * @returns {Promise<string | undefined>} the first difference
   */
  async step(indices) {
    const calls = indices.map((index) => this.run.calls[index]);
    for (const call of calls) this.writer.know(call.args);
    const [ours, original] = await Promise.all([
      Promise.all(calls.map((call) => this.#outcome(() => perform(this.ours, call)))),
      Promise.all(calls.map((call) => this.#outcome(() => this.#reference(call)))),
    ]);
    for (const [at, call] of calls.entries()) {
      if (ours[at] !== original[at]) {
        return `${describe(call)}\n    ours:     ${ours[at]}\n    original: ${original[at]}`;
      }
    }
    return undefined;
  }

  /** In the primary: whether both packages hold the same. Changes nothing. */
  state() {
    for (const space of this.ours.caches.keys()) {
      const ours = this.writer.write(snapshot(this.ours.caches[space]));
      const original = this.writer.write(snapshot(this.original.caches[space]));
      if (ours !== original) {
        return `state of namespace ${space}\n    ours:     ${ours}\n    original: ${original}`;
      }
    }
    return undefined;
  }

  async #reference(call) {
    const mend = this.run.free ? undefined : mendOf(call);
    if (!mend) return perform(this.original, call);
    const original = this.original.instances[call.space];
    const { namespace, parse, stringify } = original;
    const { name, args } = mend;
    return mend.reference({
      ...{ original, name, args, parse, stringify },
      perform: () => perform(this.original, call),
      open: (options) => new this.original.Class({ ...options, namespace, timeout: TIMEOUT }),
    });
  }

  async #outcome(action) {
    try {
      const value = await action();
      return value === refused ? 'rejected' : this.writer.write(value);
    } catch (error) {
      if (typeof error === 'string') return error;
      if (error?.message === 'Timed out in isFailed()') return 'not answered';
      if (!this.run.free) return 'rejected';
      const { name, message, code } = error;
      // What was given is shown in words of its own by each transport.
      return `rejected: ${name}: ${message.replace(/, got .*/s, '')} (${code})`;
    }
  }
}

function snapshot(cache) {
  const { length, itemCount, max, maxAge, allowStale } = cache;
  const [keys, values, dump] = [cache.keys(), cache.values(), cache.dump()];
  return { length, itemCount, max, maxAge, allowStale, keys, values, dump };
}

async function perform(side, { name, space, args }) {
  const cache = side.instances[space];
  if (!(name in SPECIAL)) return cache[name](...args);
  return SPECIAL[name]({ side, space, cache, sync: side.caches[space] }, ...args);
}

/** A call as one would write it. */
function describe({ name, args, space }) {
  const text = args.map((arg) =>
    inspect(arg, { depth: 6, breakLength: Infinity, maxStringLength: 60 }),
  );
  return `${space === 0 ? '' : 'other.'}${name}(${text.join(', ')})`;
}

module.exports = { Comparison, describe };
