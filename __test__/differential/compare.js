'use strict';

/** One process's part of a run: the same calls on both packages, and whether they gave the same. */

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

  constructor({ cluster, loose }) {
    this.cluster = cluster;
    this.loose = cluster && loose;
  }

  /** Makes objects known, and all that lie in them. */
  know(value) {
    if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return;
    if (this.#known.has(value)) return;
    this.#known.set(value, this.#known.size);
    if (typeof value === 'object') for (const key of Object.keys(value)) this.know(value[key]);
  }

  write(value) {
    if (this.#known.has(value)) return `#${this.#known.get(value)}`;
    // A worker of the original sends undefined as null and -0 as 0.
    if (this.loose && value === undefined) return 'null';
    if (this.cluster && value === 0) return '0';
    if (typeof value === 'string') return JSON.stringify(value);
    if (typeof value !== 'object' || value === null || value instanceof Date) return inspect(value);
    if (Array.isArray(value))
      return `[${Array.from(value, (item) => this.write(item)).join(', ')}]`;
    const pairs = Object.entries(value)
      // Where JSON has been, it is not there.
      .filter(([, item]) => item !== undefined && !(this.loose && item === null))
      .map(([key, item]) => `${JSON.stringify(key)}: ${this.write(item)}`);
    return `{ ${pairs.join(', ')} }`;
  }
}

/** One package's half of a run in this process. */
class Side {
  constructor(Class, name) {
    this.Class = Class;
    this.name = name;
    /** By space. */
    this.instances = [];
    /** In the primary: the synchronous caches, by space. */
    this.caches = [];
  }

  open(space, options) {
    const namespace = `${this.name}-${space}`;
    const given = { ...options, namespace, timeout: TIMEOUT, failsafe: 'reject' };
    const cache = new this.Class(given);
    this.instances[space] = cache;
    if (cluster.isPrimary) this.caches[space] = cache.getCache();
    return this.Class.getInstance(given);
  }
}

/** A run in one process. */
class Comparison {
  /**
   * @param {{ Ours: Function, Original: Function }} packages
   * @param {object} run of `generate.js`
   * @param {number} attempt which time it runs: each has namespaces of its own
   */
  constructor({ Ours, Original }, run, attempt) {
    const name = `run-${run.seed}-${attempt}`;
    this.run = run;
    this.ours = new Side(Ours, name);
    this.original = new Side(Original, name);
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
    const mend = mendOf(call);
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
      if (error?.message === 'Timed out in isFailed()') return 'not answered';
      return 'rejected';
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
