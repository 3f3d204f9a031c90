'use strict';

const { DESTROY, commands, executeCommand, runHere, snapshotOf, varied } = require('../commands');
const { CODES, failSafe, unknownCommand } = require('../errors');
const { timeoutOf } = require('../options');
const { sharedKey } = require('../store/copies');
const { bulk } = require('../store/lru-cache');
const { NEAR, readsOf } = require('../store/views');
const { Channel } = require('./channel');
const { carriesClones } = require('./clones');
const { WorkerLeases } = require('./leases');

const { ELSEWHERE } = CODES;

const nothing = () => {};

/** Stands for an attachment where an instance makes no near reads. */
const NO_SOURCE = Object.freeze({ open: false, hasOnlyReads: false, views: undefined });

/** `get` of an entry that the segment has made the most recent already. */
const GET_TOUCHED = varied(commands.get, { wire: 'peek' });

/** What is sent for a call on keys of which the primary has a value that only it can read. */
function commandElsewhere(command, cache, key) {
  try {
    if (command === commands.get && cache.has(key)) return GET_TOUCHED;
  } catch {
    // Another process has the lock, so it is unknown whether the entry has expired.
  }
  // The primary changes the order, or removes an entry that has expired: later calls on any key wait for that.
  return command.reads ? varied(command, { keysOf: undefined }) : command;
}

/** Near reads of a worker that makes its calls by IPC. */
const NO_NEAR_READS = Object.freeze({ hits: 0, entries: 0, bytes: 0 });

/** The channel of all instances. It is made with the first instance. @type {Channel} */
let channel;

/**
 * The client of an instance in a worker. A call runs on the segment in shared memory where the attachment allows that,
 * and else goes on encoded through the channel.
 */
class WorkerClient {
  /** The heads of requests, by command; first for values as JSON, then for structured clones. */
  #heads = [new Map(), new Map()];
  /** The attachment, where this instance makes near reads. @type {{ open: boolean, hasOnlyReads: boolean, views: any }} */
  #nearSource = NO_SOURCE;

  constructor({ namespace, serialization, cacheOptions, freeze, near, error }, instance) {
    this.namespace = namespace;
    this.namespaceJson = JSON.stringify(namespace);
    /** Whose `timeout` and `failsafe` hold: they may be changed between calls. */
    this.instance = instance;
    /** The options of the cache, as JSON. */
    this.options = cacheOptions;
    /** Whether this instance wants structured clones; `undefined`: as the channel does. */
    this.clones = serialization ? serialization === 'advanced' : undefined;
    /** Why there is no cache for this instance. */
    this.error = error;
    channel ??= new Channel();
    this.runner = channel.runner(namespace);
    this.attachment = this.runner.attachment;
    this.runner.raiseNear(near);
    /** How this instance reads. */
    this.reads = readsOf({ freeze, near });
    if ((this.reads & NEAR) !== 0 && !error) this.#nearSource = this.attachment;
    /** Whether this instance gives frozen objects. */
    this.freezes = freeze === true;
    /** The leases of this instance. */
    const send = (...call) => channel.call(...call);
    this.leases = new WorkerLeases(this, send, () => channel.ticks);
    /** Resolves when the cache exists. */
    this.ready = error ? Promise.reject(error) : channel.create(this);
    // A failure is no unhandled rejection: `getInstance` and each call reject with it.
    this.ready.catch(nothing);
  }

  /** What answers near reads of this instance; `undefined` where none can be made now. */
  get near() {
    const source = this.#nearSource;
    return source.open || source.hasOnlyReads ? source.views.near.cache : undefined;
  }

  /** There is no cache for this instance: every later call rejects with this error. */
  refuse(error) {
    this.error = error;
    this.#nearSource = NO_SOURCE;
  }

  /** Milliseconds that a call waits. */
  get timeout() {
    return timeoutOf(this.instance);
  }

  /** Whether objects are copied as structured clones. */
  get copiesClones() {
    return this.clones ?? carriesClones();
  }

  /** What a request begins with, from behind its id. */
  head(command, mode) {
    const name = command.wire ?? command.name;
    const heads = this.#heads[mode ? 1 : 0];
    let head = heads.get(name);
    if (head === undefined) {
      head = `,${mode ? 1 : 0},${this.namespaceJson},"${name}"`;
      heads.set(name, head);
    }
    return head;
  }

  call(command, a, b, c, d) {
    if (this.error) return Promise.reject(this.error);
    const { attachment } = this;
    if ((attachment.open || attachment.allows(command, a)) && command.direct !== false) {
      const first = command.keyed ? sharedKey(a) : a;
      const cache = attachment.views.get(this.copiesClones ? 'advanced' : 'json', this.reads);
      try {
        return Promise.resolve(runHere(command, cache, first, b, c, d));
      } catch (error) {
        if (!this.runner.goesOn(error)) return Promise.reject(error);
        if (error.code === ELSEWHERE) command = commandElsewhere(command, cache, first);
      }
    }
    return channel.call(this, command, a, b, c, d);
  }

  /** Destroys the namespace. Resolves with whether there was one. */
  destroy() {
    return this.error ? Promise.reject(this.error) : channel.call(this, DESTROY);
  }

  /** Calls by name: a function that the application put on the cache in the primary, or else a command. */
  execute(name, args) {
    if (this.error) return Promise.reject(this.error);
    const { attachment } = this;
    const hasOwn = attachment.open
      ? bulk.isExposed(attachment.views.get('json', 0))
      : !attachment.siblings;
    if (hasOwn) return channel.call(this, executeCommand(name), args);
    const command = commands[name];
    if (!command) return Promise.reject(unknownCommand(name));
    try {
      return this.call(command, ...snapshotOf(command, args));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Near reads of this process in this namespace. */
  get nearStats() {
    return this.attachment.views?.nearStats ?? NO_NEAR_READS;
  }

  /** How many entries calls of this process have evicted since the last time; those by IPC are the primary's. */
  takeEvicted() {
    const { views } = this.attachment;
    return views === undefined ? 0 : bulk.takeEvicted(views.get('json', 0));
  }

  /** Which transport is in use, and why no better one. */
  transport() {
    const { ticket, reason } = this.attachment;
    return ticket === undefined ? { kind: 'ipc', reason } : { kind: 'shared-memory' };
  }

  /** Ends a call that got no answer. */
  fail(call) {
    const { failsafe } = this.instance;
    failSafe({ failsafe, namespace: this.namespace }, call.command, call, call.args);
  }
}

module.exports = { WorkerClient };
