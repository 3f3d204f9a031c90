'use strict';

/**
 * The client of an instance with a remote tier. It stands before the client of the first tier, and has the members of one.
 *
 * | call     | what happens                                                                                                |
 * | -------- | ----------------------------------------------------------------------------------------------------------- |
 * | a read   | the first tier; on a miss: lease, state, `GET`, and where the lease still holds, the first tier has the value |
 * | a write  | the server; then the first tier removes the entry, which voids a lease; then it resolves                    |
 * | the rest | the first tier alone                                                                                        |
 *
 * What a caller is given from the server is either what the first tier has by then, or the first tier has nothing of the key when the
 * caller gets it. So no process of the machine reads something older from the first tier afterwards.
 */

const {
  DELETE: DELETE_ONE,
  DELETE_MANY: DELETE_ALL,
  commands,
  entriesOf,
  snapshotOf,
} = require('../commands');
const { define } = require('../define');
const { CODES, failSafe, makeError } = require('../errors');
const {
  LONGEST_TIMER,
  agesOf,
  ageOf: ageArgument,
  AGE_OPTIONS,
  hitOptions,
  invalid,
  prefixOf,
  shown,
  timeoutOf,
} = require('../options');
const { away } = require('./clients/port');
const { publish } = require('./channel');
const clock = require('./clock');
const {
  Names,
  ageOf,
  decodeEntry,
  encodeHead,
  encodeValue,
  keyOf,
  keyText,
  numberText,
  tagText,
  versionBytes,
} = require('./format');
const { RemoteLeases } = require('./leases');
const { DELETE_MANY, RESET, clearServer, slices } = require('./machine');
const scripts = require('./scripts');
const { randomBytes } = require('crypto');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setImmediate, setTimeout } = globalThis;

/** Milliseconds that a read has the lease of a key. */
const LEASE = 5000;

/** Milliseconds that a read waits for another one of its key, at most: a loader of `fetch` may have the lease for long. */
const PATIENCE = 25;

/** How often a read is made again whose key was written meanwhile. */
const MOST_READS = 3;

/** Calls that ask the server many times. Each question has `timeout`. */
const IN_PARTS = ['mSet', 'setMany', 'deleteMany', 'mDel', 'deletePrefix', 'reset'];

/** The most entries of one script. */
const ENTRIES = 100;

/** How long the server keeps what has no age, in milliseconds: a day. */
const TTL = 86_400_000;

const MISSED = Symbol('missed');

/** @type {any} */
const decodeGet = commands.get.decode;

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

/** A number of a call. */
function numberOf(call, number) {
  if (typeof number === 'number') return number;
  throw makeError([
    'TypeError',
    `${call} needs a number, got ${shown(number)}`,
    CODES.INVALID_ARG_TYPE,
  ]);
}

class RemoteClient {
  #instance;
  #ttl;
  #rejects;
  #copies;
  /** The age of entries that are given none. */
  #maxAge;
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
    this.#ttl = options.ttl ?? TTL;
    this.#rejects = options.onError === 'reject';
    this.#copies = serialization ?? (client.copiesClones ? 'advanced' : 'json');
    this.#maxAge = maxAge > 0 ? maxAge : undefined;
    this.#onClose = onClose;
    this.namespace = client.namespace;
    this.names = new Names(machine.prefix, client.namespace);
    this.freezes = client.freezes;
    this.leases = new RemoteLeases(this, client.leases);
    machine.add();
    const registered = Promise.resolve(client.ready).then(() => machine.begin(this.namespace));
    /** Resolves when the first tier is there, and the server tells what changes, or could not be reached so soon. */
    this.ready = registered.then(() =>
      Promise.all([machine.whenOn(this.timeout), machine.port.whenReady(this.timeout)]),
    );
    this.registered = registered;
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

  /** The age, in the first tier, of what has none. Infinity costs each read a look at the clock, so it is only where there is another default. */
  get #endless() {
    return this.#maxAge === undefined ? undefined : Infinity;
  }

  /** How objects are copied. */
  get copies() {
    return this.#copies;
  }

  /** Whether a call rejects that the server could not be asked for. */
  get rejects() {
    return this.#rejects;
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
    return { ...this.counts, state: phase, isReady, isHolder, pushes, connects };
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

  execute(name, args) {
    const command = commands[name];
    if (command === undefined || !Object.hasOwn(ROWS, name)) return this.local.execute(name, args);
    try {
      return this.call(command, ...snapshotOf(command, args));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  call(command, a, b, c, d) {
    if (command === commands.get && this.isCurrent()) return this.local.call(this.#get, a);
    const row = ROWS[command.name];
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

  /** Whether what lies here counts. */
  isCurrent() {
    const { machine } = this;
    if (machine.reads === 0) return machine.isCurrent();
    machine.reads -= 1;
    return true;
  }

  // ---- reads

  /** `get` of the first tier, which goes on where there is nothing. @type {any} */
  #get = {
    ...commands.get,
    local: (cache, key) => {
      const value = cache.get(key);
      return value === undefined ? this.read(key) : value;
    },
    // By IPC.
    decode: (kind, payload, key) => {
      const value = decodeGet(kind, payload);
      return value === undefined ? this.read(key) : value;
    },
  };

  /** Reads a key, whatever lies here. */
  async readAny(key) {
    const found = await this.#first(key);
    return found === undefined ? this.read(key) : found;
  }

  /** What the first tier has, where that counts. Where nothing is stored that comes from the server, that is what was set here alone. */
  async #first(key) {
    if (!this.machine.isCurrent()) await this.machine.look();
    return this.local.call(commands.get, key);
  }

  /** Reads a key that the first tier does not have. @returns {Promise<any>} */
  async read(key) {
    const due = performance.now() + this.timeout;
    try {
      const value = await this.#read(key, due);
      if (value === MISSED) {
        this.counts.misses += 1;
        return undefined;
      }
      return value;
    } catch (error) {
      return this.failed('get', error);
    }
  }

  /** A read has failed: it is a miss, or rejects. */
  failed(command, error) {
    if (error?.code === CODES.INVALID_ARG_TYPE || error?.code === CODES.CLOSED) throw error;
    this.counts.errors += 1;
    publish({ server: this.machine.port.address, namespace: this.namespace, command, error });
    if (this.#rejects) throw this.asRemote(error);
    return undefined;
  }

  asRemote(error) {
    return error?.code === CODES.REMOTE ? error : away(String(error?.message ?? error), error);
  }

  async #read(key, due) {
    const { leases } = this.local;
    const name = this.names.entry(key);
    await this.inTime(this.registered, due);
    for (let times = 1; ; times += 1) {
      const claim = await leases.claim(key, { fresh: true, leaseTimeout: LEASE });
      if (claim.state === 'held') {
        const ended = await leases.wait(
          key,
          claim.token,
          Math.min(PATIENCE, due - performance.now()),
        );
        // What the other one leaves was read before the key was written, or is no matter of a read.
        if (ended.state !== 'timeout') {
          const value = await this.#first(key);
          if (value !== undefined) return value;
          if (times < MOST_READS) continue;
        }
        return this.#readPast(key, name, due);
      }
      if (claim.state !== 'leased') return this.#readPast(key, name, due);
      const { token } = claim;
      let isSettled = false;
      try {
        const { isOn, marked } = await this.machine.look(this.marksOf(key));
        if (marked) return MISSED;
        const found = await this.get(name, due);
        if (found === undefined) return MISSED;
        this.counts.hits += 1;
        if (!isOn) return found.value;
        isSettled = true;
        const isStored = await this.store(key, token, found);
        if (isStored) return this.#copyOf(found.value);
        if (times >= MOST_READS || found.isHeld) {
          await this.forget([key]);
          return found.value;
        }
      } finally {
        if (!isSettled) await leases.release(key, token).catch(nothing);
      }
    }
  }

  /** What a later read of the first tier gives: frozen, where the instance wants that. */
  #copyOf(value) {
    if (!this.freezes || typeof value !== 'object' || value === null) return value;
    return this.local.leases.copier(value)();
  }

  /** Stores what the server gave, if the lease still holds. `found.isHeld`: it held just before, so the value itself was refused. */
  async store(key, token, found) {
    const { leases } = this.local;
    // What has no age stays until the server tells that it is gone.
    const maxAge = found.isEndless ? this.#endless : found.left - (clock.now() - found.since);
    if (maxAge !== undefined && maxAge <= 0) {
      await leases.release(key, token);
      await this.forget([key]);
      return true;
    }
    const isHeld = leases.isSurelyHeld(key, token);
    const tags = found.tags.length > 0 ? found.tags.map(({ name }) => name) : undefined;
    const { stored } = await leases.settle(key, token, {
      kind: 'value',
      value: found.value,
      maxAge,
      tags,
    });
    found.isHeld = !stored && isHeld;
    return stored;
  }

  /** Reads without a lease: what lies here of the key goes before the value is given. */
  async #readPast(key, name, due) {
    const { marked } = await this.machine.look(this.marksOf(key));
    if (marked) return MISSED;
    const found = await this.get(name, due);
    if (found === undefined) return MISSED;
    this.counts.hits += 1;
    await this.forget([key]);
    return found.value;
  }

  /** What the server has of a key. */
  async get(name, due) {
    const since = clock.now();
    const { port } = this.machine;
    const [bytes, left] = await this.inTime(
      Promise.all([port.send(['GET', name]), port.send(['PTTL', name])]),
      due,
    );
    return this.found(bytes, left, since, due);
  }

  /** An entry as the server gave it; `undefined` where there is none, or a tag of it was invalidated. */
  async found(bytes, left, since, due) {
    const entry = decodeEntry(bytes);
    if (entry === undefined || left === -2) return undefined;
    const { tags } = entry;
    if (tags.length > 0) {
      const keys = tags.map(({ name }) => this.names.tag(name));
      const stamps = await this.inTime(this.machine.port.send(['MGET', ...keys]), due);
      if (!tags.every(({ stamp }, at) => stamps[at]?.equals(stamp))) return undefined;
      if (await this.isEndedHere(tags)) return undefined;
    }
    return { ...entry, left: left < 0 ? this.#ttl : left, since, isHeld: false };
  }

  /** Whether a tag was invalidated here while the server was away, which does not know of it yet. */
  async isEndedHere(tags) {
    const marks = tags.map(({ name }) => this.machine.mark('t', this.namespace, tagText(name)));
    return (await this.machine.look(marks)).marked;
  }

  /** Waits for the server until `due`. */
  inTime(promise, due) {
    return bounded(promise, due - performance.now(), (resolve, reject) =>
      reject(away('there was no answer in time')),
    );
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

  // ---- writes

  marksOf(key) {
    return this.changes('e', [keyText(key)]);
  }

  changes(what, texts) {
    const own = texts.map((text) => this.machine.mark(what, this.namespace, text));
    return [...own, this.machine.mark('a', this.namespace, '')];
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
      if (!port.isReady) throw away('there is no connection');
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

  /**
   * A write: on the server, then here.
   *
   * @param {any[]} keys the keys that it writes
   * @param {() => Promise<any>} remote
   * @param {() => Promise<any>} local the same in the first tier alone
   */
  async write(command, keys, remote, local) {
    await this.registered;
    let result;
    try {
      this.counts.writes += 1;
      result = await remote();
    } catch (error) {
      if ([CODES.INVALID_ARG_TYPE, CODES.INVALID_ARG_VALUE].includes(error?.code)) throw error;
      return this.#writeHere(command, keys, local, error);
    }
    await this.forget(keys);
    return result;
  }

  async #writeHere(command, keys, local, error) {
    this.counts.errors += 1;
    const { name } = command;
    publish({
      server: this.machine.port.address,
      namespace: this.namespace,
      command: name,
      error,
    });
    if (this.#rejects || local === undefined) {
      await this.forget(keys);
      throw this.asRemote(error);
    }
    await this.markChanged('e', keys.map(keyText));
    return local();
  }

  /** Notes changes that the server does not know. `texts`: of keys, or of tags. */
  markChanged(what, texts) {
    return this.machine.markChanged(
      texts.map((text) => this.machine.mark(what, this.namespace, text)),
    );
  }

  keysOf(keys) {
    return keys.flatMap((key) => [this.names.entry(key), this.names.placeholder(key)]);
  }

  /** The age of an entry: a number as in 1.x, or from options. */
  age(maxAge, isOption = false) {
    if (maxAge === undefined || maxAge === null || maxAge === 0 || Number.isNaN(maxAge)) {
      return ageOf(this.#maxAge, this.#ttl);
    }
    if (!isOption && !maxAge) return ageOf(this.#maxAge, this.#ttl);
    return ageOf(numberOf('maxAge', maxAge), this.#ttl);
  }

  /** The age of entries that are given none has changed. */
  setMaxAge(maxAge) {
    if (typeof maxAge === 'number') this.#maxAge = maxAge > 0 ? maxAge : undefined;
  }

  /** The five arguments of an entry that is stored. */
  encode(value, age, keepsAge, tags) {
    const [kind, bytes] = encodeValue(value, this.#copies);
    const list = tags === undefined ? '' : tags.map((tag) => `${tagText(tag)}\0`).join('');
    return [String(age.px), keepsAge ? '1' : '0', list, encodeHead(kind, age), bytes];
  }

  /**
   * Entries `[key, value, own?]` as they are stored. A caller may change them from here on.
   *
   * @returns {{ key: any, args: (string | Buffer)[] }[]}
   */
  encodeEntries(entries, { maxAge, ages, keeps, tags, own }) {
    return entries.map(([key, value], at) => {
      const age = this.age(ages?.[at] ?? maxAge);
      return { key, args: this.encode(value, age, keeps?.[at] ?? false, own?.[at] ?? tags) };
    });
  }

  /** Stores entries that `encodeEntries` gave, those of one script at a time. */
  async setEntries(entries) {
    for (const part of slices(entries, ENTRIES)) {
      const keys = this.keysOf(part.map(({ key }) => key));
      const args = part.flatMap((entry) => entry.args);
      await this.run(scripts.SET, keys, [randomBytes(16), ...args]);
    }
  }

  /** Removes the namespace everywhere. */
  async clear(command) {
    const local = async () => {
      await this.markChanged('a', ['']);
      return this.local.call(command);
    };
    await this.registered;
    try {
      const { port } = this.machine;
      if (!port.isReady) throw away('there is no connection');
      await clearServer(port, this.names.all);
    } catch (error) {
      this.counts.errors += 1;
      if (this.#rejects) {
        await this.local.call(RESET);
        throw this.asRemote(error);
      }
      return local();
    }
    return this.local.call(RESET);
  }

  /** Removes the first tier alone. */
  clearLocal() {
    return this.local.call(RESET);
  }
}

/** A write of one script on one key, which the first tier can make alone. */
const onKey =
  (run) =>
  (tier, command, key, ...args) =>
    settled(() => {
      const script = run(tier, key, ...args);
      return tier.write(command, [key], script, () => tier.local.call(command, key, ...args));
    });

/** A Promise of what a function gives or throws. */
async function settled(run) {
  return run();
}

function ageAndTags(tier, call, given) {
  const [maxAge, keepsAge, tags] = ageArgument(call, given);
  return [tier.age(maxAge), keepsAge === true, tags];
}

/** Counters: 1.x reads falsy amounts as 1, and text as a number. */
function amountOf(amount) {
  if (amount === 0) return 0;
  if (!amount || amount === true) return 1;
  return typeof amount === 'string' && Number.isFinite(Number(amount)) ? Number(amount) : amount;
}

const counter = (sign, call) =>
  onKey((tier, key, amount, given) => {
    const by = sign * numberOf(call, amountOf(amount));
    const [maxAge, keeps, tags] = ageArgument(call, given);
    if (tags !== undefined) throw invalid(`${call}: with remote a counter has no tags`);
    const age = tier.age(maxAge);
    const keepsAge = keeps === true || Boolean(maxAge);
    return async () => {
      const args = [encodeHead('n', age), numberText(by), String(age.px), keepsAge ? '1' : '0'];
      return Number(String(await tier.run(scripts.INCREMENT, tier.keysOf([key]), args)));
    };
  });

/** Reads keys: first those that lie here, in one call. */
async function readMany(tier, keys) {
  if (!tier.isCurrent()) await tier.machine.look();
  const values = await tier.local.call(commands.getMany, keys);
  const read = (value, at) => (value === undefined ? tier.read(keys[at]) : value);
  return Promise.all(Array.from(values, read));
}

async function removeAll(tier, command, keys, result) {
  const remote = async () => {
    const there = [];
    for (const part of slices(keys, ENTRIES)) {
      there.push(...(await tier.run(scripts.DELETE, tier.keysOf(part), [])));
    }
    return result(there.map((one) => one === 1));
  };
  if (keys.length === 0) return result([]);
  return tier.write(command, keys, remote, async () =>
    result(await tier.local.call(DELETE_MANY, keys)),
  );
}

/** What each command does, by name. */
const ROWS = {
  __proto__: null,

  get: (tier, command, key) => tier.readAny(key),
  has: async (tier, command, key) => {
    if (!tier.isCurrent()) await tier.machine.look();
    if (await tier.local.call(command, key)) return true;
    // A value `undefined` counts as none.
    return (await tier.read(key)) !== undefined;
  },
  getMany: (tier, command, keys) => readMany(tier, keys),
  hasMany: async (tier, command, keys) =>
    (await readMany(tier, keys)).map((value) => value !== undefined),
  mGet: async (tier, command, keys) => {
    const list = Array.isArray(keys) ? Array.from(keys) : [];
    const values = await readMany(tier, list);
    const pairs = {};
    for (const [at, value] of values.entries()) {
      if (value !== undefined) define(pairs, list[at] ?? null, value);
    }
    return pairs;
  },
  getEntry: async (tier, command, key) => {
    await tier.registered;
    const due = performance.now() + tier.timeout;
    const name = tier.names.entry(key);
    try {
      const { marked } = await tier.machine.look(tier.marksOf(key));
      if (marked) throw away('the entry was changed while the server was away');
      const found = await tier.get(name, due);
      await tier.forget([key]);
      if (found === undefined) return undefined;
      const { value, version, setAt, left, isEndless, tags } = found;
      const expires = isEndless ? Infinity : Date.now() + left;
      return { value, version, setAt, expires, tags: tags.map((tag) => tag.name) };
    } catch (error) {
      tier.failed('getEntry', error);
      // A version of the first tier is none of the server.
      throw tier.asRemote(error);
    }
  },

  set: onKey((tier, key, value, given) => {
    const [age, keepsAge, tags] = ageAndTags(tier, 'set', given);
    const keys = tier.keysOf([key]);
    const args = [randomBytes(16), ...tier.encode(value, age, keepsAge, tags)];
    return async () => {
      await tier.run(scripts.SET, keys, args);
      return true;
    };
  }),
  setIfAbsent: onKey((tier, key, value, given) => {
    const [age, keepsAge, tags] = ageAndTags(tier, 'setIfAbsent', given);
    const args = [randomBytes(16), ...tier.encode(value, age, keepsAge, tags)];
    return async () => (await tier.run(scripts.SET_IF_ABSENT, tier.keysOf([key]), args)) === 1;
  }),
  compareAndSet: (tier, command, key, version, value, given) =>
    settled(() => {
      const [age, keepsAge, tags] = ageAndTags(tier, 'compareAndSet', given);
      const expected =
        version === 0 ? Buffer.alloc(0) : versionBytes(numberOf('compareAndSet', version));
      if (version !== 0 && expected.length === 0) return false;
      const args = [randomBytes(16), ...tier.encode(value, age, keepsAge, tags), expected];
      const remote = async () =>
        (await tier.run(scripts.COMPARE_AND_SET, tier.keysOf([key]), args)) === 1;
      // A version is the server's: nobody else can compare it.
      return tier.write(command, [key], remote, undefined);
    }),
  compareAndDelete: (tier, command, key, version) =>
    settled(() => {
      const expected =
        version === 0 ? Buffer.alloc(0) : versionBytes(numberOf('compareAndDelete', version));
      if (version !== 0 && expected.length === 0) return false;
      const remote = async () =>
        (await tier.run(scripts.COMPARE_AND_DELETE, tier.keysOf([key]), [expected])) === 1;
      return tier.write(command, [key], remote, undefined);
    }),
  getAndDelete: onKey((tier, key) => async () => {
    const bytes = await tier.run(scripts.GET_AND_DELETE, tier.keysOf([key]), []);
    return decodeEntry(bytes)?.value;
  }),
  touch: onKey((tier, key, given) => {
    const [maxAge, keepsAge] = ageArgument('touch', given, AGE_OPTIONS);
    const age = tier.age(maxAge);
    const isGiven = Boolean(maxAge);
    if (keepsAge) {
      return async () =>
        (await tier.get(tier.names.entry(key), performance.now() + tier.timeout)) !== undefined;
    }
    const args = [isGiven ? String(age.px) : '', encodeHead('n', age), String(tier.age().px)];
    return async () => (await tier.run(scripts.TOUCH, tier.keysOf([key]), args)) === 1;
  }),
  getRemainingTTL: async (tier, command, key) => {
    await tier.registered;
    const due = performance.now() + tier.timeout;
    const name = tier.names.entry(key);
    try {
      const { isOn, marked } = await tier.machine.look(tier.marksOf(key));
      if (marked || (!isOn && !tier.machine.port.isReady)) return tier.local.call(command, key);
      const found = await tier.get(name, due);
      if (found === undefined) return 0;
      return found.isEndless ? Infinity : found.left;
    } catch (error) {
      tier.failed('getRemainingTTL', error);
      return tier.local.call(command, key);
    }
  },

  incr: counter(1, 'incr'),
  decr: counter(-1, 'decr'),
  hit: onKey((tier, key, window, options) => {
    const { amount = 1, ifPresent = false, limit, whenOver } = hitOptions(options);
    if (!(numberOf('hit', window) > 0))
      throw invalid(`hit needs a window above 0, got ${shown(window)}`);
    numberOf('hit', amount);
    if (limit !== undefined) numberOf('hit', limit);
    const isKnown = [undefined, 'restart', 'double'].includes(whenOver) || whenOver >= 0;
    if (!isKnown)
      throw invalid(
        `hit: whenOver must be 'restart', 'double' or milliseconds, got ${shown(whenOver)}`,
      );
    const age = tier.age(window);
    const args = [
      encodeHead('n', age),
      numberText(amount),
      window === Infinity ? 'inf' : String(window),
      ifPresent === true ? '1' : '0',
      limit === undefined ? '' : numberText(limit),
      whenOver === undefined ? '' : String(whenOver),
      String(tier.age(Infinity).px),
    ];
    return async () => {
      const [count, left, first] = await tier.run(scripts.HIT, tier.keysOf([key]), args);
      return { count: Number(String(count)), resetIn: Number(String(left)), first: first === 1 };
    };
  }),

  del: (tier, command, key) => removeAll(tier, command, [key], nothing),
  deleteMany: (tier, command, keys) => {
    const result = command === DELETE_ONE ? ([isThere]) => isThere : (there) => there;
    return removeAll(tier, command, command === DELETE_ALL ? Array.from(keys) : keys, result);
  },
  mDel: (tier, command, keys) =>
    removeAll(tier, command, Array.isArray(keys) ? Array.from(keys) : [], () => true),
  mSet: (tier, command, pairs, maxAge) =>
    settled(() => {
      const entries = entriesOf(pairs);
      const encoded = tier.encodeEntries(entries, agesOf('mSet', entries, maxAge));
      const remote = async () => {
        await tier.setEntries(encoded);
        return true;
      };
      if (entries.length === 0) return true;
      const keys = entries.map(([key]) => key);
      return tier.write(command, keys, remote, () => tier.local.call(command, pairs, maxAge));
    }),
  setMany: (tier, command, entries, options) =>
    settled(() => {
      const encoded = tier.encodeEntries(entries, agesOf('setMany', entries, options));
      const remote = async () => {
        await tier.setEntries(encoded);
        return encoded.map(() => true);
      };
      if (entries.length === 0) return [];
      const keys = entries.map(([key]) => key);
      return tier.write(command, keys, remote, () => tier.local.call(command, entries, options));
    }),

  invalidateTags: async (tier, command, tags) => {
    await tier.registered;
    const end = () => tier.local.call(command, tags);
    if (tags.length === 0) return undefined;
    try {
      const names = tags.map((tag) => tier.names.tag(tag));
      await tier.run(scripts.UNTAG, names, []);
    } catch (error) {
      tier.failed('invalidateTags', error);
      await tier.markChanged('t', tags.map(tagText));
    }
    return end();
  },
  reset: (tier, command) => tier.clear(command),
  deletePrefix: async (tier, command, prefix) => {
    const text = prefixOf('deletePrefix', prefix);
    if (!text) return tier.local.call(command, prefix);
    await tier.registered;
    const { port } = tier.machine;
    const { entries } = tier.names;
    const hex = Buffer.from(text, 'utf16le').toString('hex');
    let count = 0;
    try {
      if (!port.isReady) throw away('there is no connection');
      // Texts that are not well-formed are named in another way.
      for (const begin of new Set([keyText(text), `w:${hex}`])) {
        await clearServer(port, `${entries}${begin}`, async (names) => {
          count += names.length;
          await tier.forget(names.map((name) => keyOf(name.slice(entries.length))));
        });
      }
    } catch (error) {
      tier.failed('deletePrefix', error);
      throw tier.asRemote(error);
    }
    // What the server had no longer may still be here.
    await tier.local.call(command, text);
    return count;
  },
  maxAge: async (tier, command, maxAge) => {
    const now = await tier.local.call(command, maxAge);
    tier.setMaxAge(now);
    return now;
  },
  load: async () => {
    throw invalid('load is not possible with remote: set the entries');
  },
};

module.exports = { RemoteClient };
