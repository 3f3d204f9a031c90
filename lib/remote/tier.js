'use strict';

/**
 * The client of an instance with a remote tier. It stands before the client of the first tier, and has the members of one.
 *
 * | call     | what happens                                                                                                  | in           |
 * | -------- | ------------------------------------------------------------------------------------------------------------- | ------------ |
 * | a read   | the first tier; on a miss: lease, state, `GET`, and where the lease still holds, the first tier has the value | `reader.js`  |
 * | a write  | the server; then the first tier removes the entry, which voids a lease; then it resolves                      | `writer.js`  |
 * | the rest | the first tier alone                                                                                          | `#callHere`  |
 *
 * `calls.js` says which call is what, and `encoder.js` makes the entries.
 */

const { commands, snapshotOf } = require('../commands');
const { CODES, failSafe } = require('../errors');
const { LONGEST_TIMER, timeoutOf } = require('../options');
const { CALLS, IN_PARTS } = require('./calls');
const { away } = require('./clients/port');
const { publish } = require('./channel');
const { Encoder } = require('./encoder');
const { Names, keyText } = require('./format');
const { RemoteLeases } = require('./leases');
const { DELETE_MANY, slices } = require('./machine');
const { Reader } = require('./reader');
const { Writer } = require('./writer');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setImmediate, setTimeout } = globalThis;

const nothing = () => {};

/** Whether an error is a reply of the server, such as `OOM command not allowed`. */
const isReply = (error) => /^[A-Z]{2,}\b/.test(String(error?.message));

/** @param {number} due of `performance.now()` */
const until = (due) =>
  new Promise((resolve) => {
    setTimeout(resolve, Math.max(Math.ceil(due - performance.now()), 0));
  });

/**
 * Waits for a promise, at most so many milliseconds: then calls `end`. Where this process was blocked, an answer that has come
 * meanwhile is read first.
 *
 * @param {Promise<any>} promise
 * @param {number} time
 * @param {(resolve: (value: any) => void, reject: (error: any) => void) => void} end
 * @returns {Promise<any>}
 */
function bounded(promise, time, end) {
  return new Promise((resolve, reject) => {
    const expire = () => setImmediate(() => end(resolve, reject));
    const timer = setTimeout(expire, Math.min(Math.max(Math.ceil(time), 1), LONGEST_TIMER));
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

class RemoteClient {
  #instance;
  #isClosed = false;
  #onClose;
  counts = { hits: 0, misses: 0, writes: 0, errors: 0 };

  /**
   * @param {any} client that of the first tier
   * @param {object} of
   * @param {import('./machine').Machine} of.machine
   * @param {any} of.instance
   * @param {{ ttl?: number, onError?: string }} of.options
   * @param {number} of.maxAge
   * @param {string} [of.serialization]
   * @param {() => void} of.onClose
   */
  constructor(client, { machine, instance, options, maxAge, serialization, onClose }) {
    /** The client of the first tier. */
    this.local = client;
    this.machine = machine;
    this.#instance = instance;
    this.#onClose = onClose;
    /** Whether a call rejects that the server could not be asked for. */
    this.rejects = options.onError === 'reject';
    this.namespace = client.namespace;
    this.names = new Names(machine.prefix, client.namespace);
    this.freezes = client.freezes;
    const copies = serialization ?? (client.copiesClones ? 'advanced' : 'json');
    this.encoder = new Encoder({ ttl: options.ttl, maxAge, copies });
    this.reader = new Reader(this);
    this.writer = new Writer(this);
    this.leases = new RemoteLeases(this, client.leases);
    machine.add();
    const registered = Promise.resolve(client.ready).then(() => machine.begin(this.namespace));
    /** Resolves when the first tier is there, and the server tells what changes, or could not be reached so soon. */
    this.ready = registered.then(() =>
      Promise.all([machine.whenOn(this.timeout), machine.port.whenReady(this.timeout)]),
    );
    this.registered = registered;
    /**
     * Resolves when the server may be asked for what changes it, or could not be reached so soon: a write that is made earlier would be made here
     * alone, as if the server were away.
     */
    this.connected = registered.then(() => machine.port.whenReady(this.timeout));
    this.connected.catch(nothing);
    this.ready.catch(nothing);
    registered.catch(nothing);
  }

  // ---- members of a client

  get near() {
    const { machine } = this;
    if (machine.reads > 0) machine.reads -= 1;
    else if (!machine.isCurrent()) return undefined;
    return this.local.near;
  }

  get nearStats() {
    return this.local.nearStats;
  }

  get timeout() {
    return timeoutOf(this.#instance);
  }

  transport() {
    return this.local.transport();
  }

  takeEvicted() {
    return this.local.takeEvicted();
  }

  open() {
    this.local.open();
  }

  get remoteStats() {
    const { port, phase, isHolder, pushes } = this.machine;
    const { isReady, connects } = port;
    const reason = (port.reason ?? (phase === 'on' ? undefined : this.machine.reason))?.message;
    return { ...this.counts, state: phase, isReady, isHolder, pushes, connects, reason };
  }

  refuse(error) {
    this.local.refuse(error);
    this.call = () => Promise.reject(error);
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.registered.then(this.#onClose, this.#onClose);
  }

  async destroy() {
    await this.call(commands.reset);
    return this.local.destroy();
  }

  /** Removes the first tier alone. */
  clearLocal() {
    return this.writer.clearHere();
  }

  execute(name, args) {
    const command = commands[name];
    if (command === undefined || !Object.hasOwn(CALLS, name)) {
      return this.local.execute(name, args);
    }
    try {
      return this.call(command, ...snapshotOf(command, args));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  call(command, a, b, c, d) {
    if (command === commands.get && this.isCurrent()) {
      return this.local.call(this.reader.getCommand, a);
    }
    const row = CALLS[command.name];
    if (row === undefined) return this.#callHere(command, a, b, c, d);
    const result = row(this, command, a, b, c, d);
    return IN_PARTS.includes(command.name) ? result : this.#inTime(result, command, a);
  }

  /** A call of the first tier. What lies there and does not count is removed first. */
  #callHere(command, a, b, c, d) {
    if (this.isCurrent()) return this.local.call(command, a, b, c, d);
    if (command.snapshot) a = command.snapshot(a);
    const done = this.machine.look().then(() => this.local.call(command, a, b, c, d));
    return this.#inTime(done, command, a);
  }

  /** Both tiers have `timeout`. A call that is not over then ends as one of the first tier does that has no answer. */
  #inTime(result, command, a) {
    const { failsafe } = this.#instance;
    const of = { failsafe, namespace: this.namespace };
    return bounded(result, 2 * this.timeout, (resolve, reject) =>
      failSafe(of, command, { resolve, reject }, a),
    );
  }

  // ---- the first tier

  /** Whether what lies here counts. */
  isCurrent() {
    const { machine } = this;
    if (machine.reads === 0) return machine.isCurrent();
    machine.reads -= 1;
    return true;
  }

  /** Removes what the first tier has of keys, and voids their leases. It is made until it is done. */
  async forget(keys) {
    for (const part of slices(keys)) {
      try {
        await this.local.call(DELETE_MANY, part);
      } catch (error) {
        this.machine.forgetLater(this.namespace, part);
        throw error;
      }
    }
  }

  /** The marks of what was changed here alone, as far as a read of a key goes. */
  marksOf(key) {
    const { machine, namespace } = this;
    return [machine.mark('e', namespace, keyText(key)), machine.mark('a', namespace, '')];
  }

  /** Notes changes that the server does not know. `texts`: of keys, or of tags. */
  markChanged(what, texts) {
    return this.machine.markChanged(
      texts.map((text) => this.machine.mark(what, this.namespace, text)),
    );
  }

  // ---- the server

  /** The names of entries and of their placeholders, in turn. */
  keysOf(keys) {
    return this.names.pairs(keys.map(keyText));
  }

  /** Waits for the server until `due`. */
  inTime(promise, due) {
    return bounded(promise, due - performance.now(), (resolve, reject) =>
      reject(away('there was no answer in time')),
    );
  }

  /**
   * Runs a script.
   *
   * @param {import('./clients/port').Script} script
   * @param {string[]} keys
   * @param {(string | Buffer)[]} args
   * @param {number} [due]
   */
  async run(script, keys, args, due = performance.now() + this.timeout) {
    const { port } = this.machine;
    for (let times = 0; ; times += 1) {
      const left = due - performance.now();
      if (!(left > 0)) throw away('there was no answer in time');
      if (!port.isReady) throw port.unsent();
      const limit = await this.inTime(port.timeAfter(left, times > 0), due);
      try {
        return await this.inTime(port.run(script, keys, [limit, this.names.tags, ...args]), due);
      } catch (error) {
        if (!isReply(error) && error?.isUnsent !== true) {
          // The connection was lost: the server may run the script until its time is over. Who is told of a failure may write anew.
          await until(due);
          throw error;
        }
        // The clock of the server was set.
        if (times > 0 || !String(error?.message).startsWith('LATE')) throw error;
      }
    }
  }

  /** Asks the server for a sign of life. */
  async ping() {
    try {
      const due = performance.now() + this.timeout;
      await this.inTime(this.machine.port.send(['PING']), due);
    } catch (error) {
      this.failed('healthCheck', error);
    }
  }

  /** Counts a call that the server did not answer, and tells of it. */
  note(command, error) {
    this.counts.errors += 1;
    publish({ server: this.machine.port.address, namespace: this.namespace, command, error });
  }

  /** A call has failed that may go on without the server: it rejects, or its result is `undefined`. */
  failed(command, error) {
    if (error?.code === CODES.INVALID_ARG_TYPE || error?.code === CODES.CLOSED) throw error;
    this.note(command, error);
    if (this.rejects) throw this.asRemote(error);
    return undefined;
  }

  asRemote(error) {
    return error?.code === CODES.REMOTE ? error : away(String(error?.message ?? error), error);
  }
}

module.exports = { RemoteClient };
