'use strict';

const {
  CREATE,
  DESTROY,
  commandOf,
  commands,
  runHere,
  snapshotOf,
  varied,
} = require('../commands');
const { CODES, failSafe, unknownCommand } = require('../errors');
const { LONGEST_TIMER, timeoutOf } = require('../options');
const { bulk } = require('../store/lru-cache');
const { NEAR, readsOf } = require('../store/views');
const { LocalLeases } = require('./leases');
const {
  applyOptions,
  cachesOf,
  callOwn,
  destroyCache,
  ownFunction,
  retryQueueOf,
} = require('./caches');

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
    /** The options of the cache, as JSON. */
    this.options = cacheOptions;
    /** How many bytes near reads may have, where this instance says so. */
    this.nearBytes = near;
    /** How this instance reads. */
    this.reads = readsOf({ freeze, near });
    /** Whether this instance gives frozen objects. */
    this.freezes = freeze === true;
    const open = () => applyOptions(namespace, cacheOptions);
    /** Resolves when the cache has its options. */
    this.ready = Promise.resolve();
    try {
      open();
    } catch (error) {
      if (error?.code !== BUSY) throw error;
      this.ready = this.#wait(varied(CREATE, { local: open }));
      // A failure is no unhandled rejection: `getInstance` rejects with it.
      this.ready.catch(nothing);
    }
    /** The leases of this instance. */
    this.leases = new LocalLeases(this);
    this.#attach();
  }

  #attach() {
    const { views } = cachesOf(this.namespace);
    views.raiseNear(this.nearBytes);
    this.views = views;
    this.cache = views.get(undefined, this.reads);
  }

  /** Runs a command on the cache of this process. */
  #run(command, a, b, c, d) {
    if (command.destroys !== true) this.open();
    const cache = command.visits ? cachesOf(this.namespace).patient : this.cache;
    return runHere(command, cache, a, b, c, d);
  }

  /** What answers near reads of this instance; `undefined` where none can be made now. */
  get near() {
    if ((this.reads & NEAR) === 0 || !this.retryQueue.hasOnlyReads) return undefined;
    return this.views.near.cache;
  }

  call(command, a, b, c, d) {
    try {
      // A call that visits entries cannot be made again.
      if (command.visits || this.retryQueue.length === 0)
        return Promise.resolve(this.#run(command, a, b, c, d));
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

  /** Destroys the namespace. Resolves with whether there was one. */
  destroy() {
    return this.call(varied(DESTROY, { local: () => destroyCache(this.namespace) }));
  }

  /** Makes a namespace anew that was destroyed, with the options of this instance. */
  open() {
    if (!this.views.isClosed) return;
    applyOptions(this.namespace, this.options);
    this.#attach();
  }

  /** Calls by name: a function that the application put on the cache, or else a command. */
  async execute(name, args) {
    const own = ownFunction(this.namespace, name);
    if (own) return this.call(commandOf({ name, local: () => callOwn(this.namespace, own, args) }));
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
          resolve(this.#run(command, a, b, c, d));
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
