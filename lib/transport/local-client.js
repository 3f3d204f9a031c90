'use strict';

const { CREATE, commands, runHere, snapshotOf } = require('../commands');
const { CODES, failSafe, unknownCommand } = require('../errors');
const { LONGEST_TIMER, timeoutOf } = require('../options');
const { bulk } = require('../store/lru-cache');
const { NEAR, readsOf } = require('../store/views');
const { LocalLeases } = require('./leases');
const { applyOptions, cachesOf, callOwn, ownFunction, retryQueueOf } = require('./caches');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setTimeout } = globalThis;

const { BUSY } = CODES;

const nothing = () => {};

/** The client of an instance in the primary, or in a process without a cluster: calls run on the cache of this process. */
class LocalClient {
  constructor({ namespace, cacheOptions, freeze, near, error }, instance) {
    if (error) throw error;
    this.namespace = namespace;
    /** Calls that wait for the lock, and go first. */
    this.retryQueue = retryQueueOf(namespace);
    /** Whose `timeout` and `failsafe` hold for a call that has to wait. */
    this.instance = instance;
    const open = () => applyOptions(namespace, cacheOptions);
    /** Resolves when the cache has its options. */
    this.ready = Promise.resolve();
    try {
      open();
    } catch (error) {
      if (error?.code !== BUSY) throw error;
      this.ready = this.#wait({ ...CREATE, local: open });
      // A failure is no unhandled rejection: `getInstance` rejects with it.
      this.ready.catch(nothing);
    }
    const { views } = cachesOf(namespace);
    views.raiseNear(near);
    /** How this instance reads. */
    this.reads = readsOf({ freeze, near });
    /** Whether this instance gives frozen objects. */
    this.freezes = freeze === true;
    this.views = views;
    this.cache = views.get(undefined, this.reads);
    /** The leases of this instance. */
    this.leases = new LocalLeases(this);
  }

  /** What answers near reads of this instance; `undefined` where none can be made now. */
  get near() {
    if ((this.reads & NEAR) === 0 || !this.retryQueue.hasOnlyReads) return undefined;
    return this.views.near.cache;
  }

  call(command, a, b, c, d) {
    try {
      // A call that visits entries cannot be made again.
      if (command.visits)
        return Promise.resolve(runHere(command, cachesOf(this.namespace).patient, a, b, c, d));
      if (this.retryQueue.length === 0)
        return Promise.resolve(runHere(command, this.cache, a, b, c, d));
    } catch (error) {
      if (command.visits || error?.code !== BUSY) return Promise.reject(error);
    }
    return this.#wait(command, a, b, c, d);
  }

  /** Every later call rejects with this error. */
  refuse(error) {
    this.call = () => Promise.reject(error);
    this.reads = 0;
  }

  /** Calls by name: a function that the application put on the cache, or else a command. */
  async execute(name, args) {
    const own = ownFunction(this.namespace, name);
    if (own) return this.call({ name, local: () => callOwn(this.namespace, own, args) });
    const command = commands[name];
    if (!command) throw unknownCommand(name);
    return this.call(command, ...snapshotOf(command, args));
  }

  /** Makes a call as soon as the lock is free, or ends it when its time is over. */
  #wait(command, a, b, c, d) {
    return new Promise((resolve, reject) => {
      if (command.snapshot) a = command.snapshot(a);
      let over = false;
      const expire = () => {
        over = true;
        const { failsafe } = this.instance;
        failSafe({ failsafe, namespace: this.namespace }, command, { resolve, reject }, a);
      };
      const timer = setTimeout(expire, Math.min(timeoutOf(this.instance), LONGEST_TIMER));
      const attempt = () => {
        if (over && !command.creates) return true;
        try {
          resolve(runHere(command, this.cache, a, b, c, d));
        } catch (error) {
          if (error?.code === BUSY) return false;
          reject(error);
        }
        clearTimeout(timer);
        return true;
      };
      this.retryQueue.add(attempt, command.reads);
    });
  }

  /** Near reads of this process in this namespace. */
  get nearStats() {
    return cachesOf(this.namespace).views.nearStats;
  }

  /** How many entries calls of this process have evicted since the last time. */
  takeEvicted() {
    return bulk.takeEvicted(this.cache);
  }

  /** Which transport is in use. */
  transport() {
    return { kind: 'local' };
  }
}

module.exports = { LocalClient };
