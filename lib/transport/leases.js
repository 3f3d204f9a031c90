'use strict';

/**
 * The leases of an instance, in the primary and in a worker: the narrow port of `fetch`. Its calls give Promises, but for
 * `watch`, `copier`, and `isHeld` where the leases can be read here.
 *
 * In a worker whose transport is IPC the primary makes the calls for it. Such a call is a message by the name `LEASE`, as that
 * of a function of the application: it may be answered later than calls behind it. `[op, key, ...arguments]` is its list of
 * values.
 */

const { commandOf, commands } = require('../commands');
const { CODES, REJECTS, timedOut } = require('../errors');
const { freeze } = require('../freeze');
const { KIND } = require('../kinds');
const { LONGEST_TIMER, optionJson, tagList } = require('../options');
const { sharedKey } = require('../store/copies');
const { decodeValue, encodeKey, encodeValue } = require('./envelope');

// Kept, because test suites replace the globals by timers that stand still.
const { performance, setTimeout } = globalThis;

const { ELSEWHERE } = CODES;

/** The name of the message. A function of the application is never called by this name. */
const LEASE = '@lease';

/** The longest that the primary is asked to wait at a time, in milliseconds: a lost answer is asked for again. */
const LONGEST_WAIT = 20_000;

/** Milliseconds between two attempts while calls before this one run, at first and at most. */
const FIRST_PAUSE = 1;
const LONGEST_PAUSE = 16;

/** Calls that wait for a lease, or end such a wait: they keep no order with other calls of the key. */
const WAITS = ['wait', 'watch', 'quit'];

const nothing = () => {};

const keysOf = (key) => [sharedKey(key)];

/** The leases that an instance has are known to it: when it is closed, it gives them up. */
class LeasePort {
  /** The keys of the leases of this instance, by token. */
  #claimed = new Map();
  #isClosed = false;

  constructor(client) {
    this.client = client;
  }

  async claim(key, options) {
    const run = (leases, view, first) => leases.claim(view, first, options);
    const claimed = await this.call('claim', key, run, options);
    if (claimed.state === 'leased') {
      if (this.#isClosed) await this.giveUp(key, claimed.token);
      else this.#claimed.set(claimed.token, key);
    }
    return claimed;
  }

  async settle(key, token, outcome) {
    const run = (leases, view, first) => leases.settle(view, first, token, outcome);
    const settled = await this.call('settle', key, run, token, outcome);
    const { stored, isOutdated } = settled;
    this.#claimed.delete(token);
    if (outcome.kind !== 'value' || isOutdated) return settled;
    const copier = () => this.copier(outcome.value);
    return {
      stored,
      /** What a later `get` gives of the value. Made when it is asked for. */
      get value() {
        return copier()();
      },
    };
  }

  async release(key, token) {
    // An instance that is closed has given up its leases.
    if (this.#isClosed) return;
    await this.call('release', key, (leases, view, first) => leases.release(first, token), token);
    this.#claimed.delete(token);
  }

  /** Gives up every lease of this instance. */
  close() {
    this.#isClosed = true;
    const claimed = [...this.#claimed];
    this.#claimed.clear();
    return Promise.allSettled(claimed.map(([token, key]) => this.giveUp(key, token)));
  }

  /**
   * Gives a lease up, of an instance that was closed too. Where the lock is taken the lease stays, up to its deadline.
   *
   * @param {any} key
   * @param {number} token
   * @returns {Promise<void>}
   */
  // eslint-disable-next-line no-unused-vars
  async giveUp(key, token) {
    throw new Error('not implemented');
  }

  /**
   * @param {any} value
   * @returns {() => any} gives what a later `get` gives of the value, an object of its own each time
   */
  // eslint-disable-next-line no-unused-vars
  copier(value) {
    throw new Error('not implemented');
  }

  /**
   * Makes a call: `run` here, or `op` with `args` in the primary.
   *
   * @param {string} op
   * @param {any} key
   * @param {(leases: import('../store/leases').Leases, view: any, key: any) => any} run
   * @param {any[]} args
   * @returns {Promise<any>}
   */
  // eslint-disable-next-line no-unused-vars
  call(op, key, run, ...args) {
    throw new Error('not implemented');
  }
}

/** In the primary, or in a process without a cluster. */
class LocalLeases extends LeasePort {
  get #leases() {
    return this.client.views.leases;
  }

  call(op, key, run) {
    const local = (view) => run(this.#leases, view, key);
    return this.client.call(commandOf({ name: op, unanswered: REJECTS, local }));
  }

  wait(key, token, timeout, told, reads) {
    const run = (leases, view) => leases.wait(view, key, token, timeout, told, reads);
    return this.call('wait', key, run);
  }

  watch(key, token, onVoid) {
    return this.#leases.watch(key, token, onVoid);
  }

  isHeld(key, token) {
    return this.#leases.isHeld(key, token);
  }

  isSurelyHeld(key, token) {
    return this.isHeld(key, token);
  }

  isAwaited(key, token) {
    return this.#leases.isAwaited(key, token);
  }

  async giveUp(key, token) {
    this.#leases.release(key, token);
  }

  copier(value) {
    return this.#leases.copier(this.client.cache, value);
  }
}

/** In a worker. */
class WorkerLeases extends LeasePort {
  #send;
  #ticks;

  /** `send` makes a call as a message: `send(client, command, a)`. `ticks` counts the ticks at whose end messages were sent. */
  constructor(client, send, ticks) {
    super(client);
    this.#send = send;
    this.#ticks = ticks;
  }

  /** Whether a call on a key may run here now. */
  #isHere(key) {
    const { attachment } = this.client;
    return attachment.open || attachment.allows(commands.get, key);
  }

  #view() {
    const { attachment, copiesClones, reads } = this.client;
    return attachment.views.get(copiesClones ? 'advanced' : 'json', reads);
  }

  async call(op, key, run, ...args) {
    const { client } = this;
    const { attachment, runner } = client;
    const due = performance.now() + client.timeout;
    for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      if (client.error) throw client.error;
      if (this.#isHere(key)) {
        try {
          return run(attachment.views.leases, this.#view(), sharedKey(key));
        } catch (error) {
          if (!runner.goesOn(error)) throw error;
          if (error.code === ELSEWHERE) return this.#remote(op, key, args);
        }
      } else if (!attachment.isHere) {
        return this.#remote(op, key, args);
      }
      // Calls before this one on the key go first; or another process has the lock; or the segment is looked for.
      if (performance.now() >= due) throw timedOut(client.namespace, op);
      await new Promise((resolve) => {
        setTimeout(resolve, pause);
      });
    }
  }

  /** Makes a call in the primary. `timeout` bounds it, in milliseconds. */
  #remote(op, key, args, timeout = this.client.timeout) {
    const { client } = this;
    const command = {
      name: op,
      wire: 'execute',
      inPrimary: true,
      unanswered: REJECTS,
      reads: WAITS.includes(op) || op === 'isHeld',
      keysOf: WAITS.includes(op) ? () => [] : keysOf,
      encode: (advanced, first) =>
        `${JSON.stringify(LEASE)},${encodeCall(advanced, op, sharedKey(first), args)}`,
      decode: (kind, payload) => decodeResult(payload),
    };
    const caller = {
      namespace: client.namespace,
      runner: client.runner,
      freezes: false,
      copiesClones: client.copiesClones,
      timeout,
      head: (...given) => client.head(...given),
      fail: (call) => call.reject(timedOut(client.namespace, op)),
      refuse: nothing,
    };
    return this.#send(caller, command, key);
  }

  /**
   * Waits for the end of a lease. `told` is given a function that gives up. `reads`: where there is an entry then, it is given, too.
   *
   * @param {any} key
   * @param {number} token
   * @param {number} [timeout]
   * @param {((giveUp: () => void) => void) | undefined} [told]
   * @param {boolean} [reads]
   */
  async wait(key, token, timeout = Infinity, told = undefined, reads = false) {
    const due = performance.now() + timeout;
    let isOver = false;
    const giveUp = () => {
      isOver = true;
      this.#remote('quit', key, [token]).catch(nothing);
    };
    const local = (leases, view, first) =>
      leases.wait(view, first, token, due - performance.now(), told, reads);
    for (;;) {
      if (this.#isHere(key) || this.client.attachment.isHere) {
        return this.call('wait', key, local, token, Math.min(timeout, LONGEST_WAIT), reads);
      }
      const time = Math.min(Math.max(due - performance.now(), 0), LONGEST_WAIT);
      const patience = Math.min(time + this.client.timeout, LONGEST_TIMER);
      told?.(giveUp);
      const found = await this.#remote('wait', key, [token, time, reads], patience);
      if (found.state !== 'timeout' || isOver || performance.now() >= due) return found;
    }
  }

  watch(key, token, onVoid) {
    const { attachment } = this.client;
    if (attachment.views !== undefined)
      return attachment.views.leases.watch(sharedKey(key), token, onVoid);
    let isOver = false;
    const end = () => {
      isOver = true;
    };
    const follow = async () => {
      for (let state = 'timeout'; state === 'timeout' && !isOver;) {
        const patience = LONGEST_WAIT + this.client.timeout;
        ({ state } = await this.#remote('watch', key, [token, LONGEST_WAIT], patience));
        if (state === 'void' && !isOver) {
          isOver = true;
          onVoid();
        }
      }
    };
    // Where the primary does not answer, the watch ends. A settle still finds that the lease is void.
    follow().catch(nothing);
    return end;
  }

  isHeld(key, token) {
    return this.#ask('isHeld', key, token);
  }

  /** As `isHeld`, at once; `false` where only a message would tell. */
  isSurelyHeld(key, token) {
    return this.#isHere(key) && this.isHeld(key, token);
  }

  /** In which tick a claim that is made now is sent as a message; `undefined` where it is made here. */
  tickOfSending(key) {
    const isMessage = !this.#isHere(key) && !this.client.attachment.isHere;
    return isMessage ? this.#ticks() : undefined;
  }

  isAwaited(key, token) {
    return this.#ask('isAwaited', key, token);
  }

  /** Asks of a lease: at once where it can be read here. */
  #ask(op, key, token) {
    const { attachment } = this.client;
    if (this.#isHere(key)) return attachment.views.leases[op](sharedKey(key), token);
    return this.call(op, key, (leases, view, first) => leases[op](first, token), token);
  }

  async giveUp(key, token) {
    const { views } = this.client.attachment;
    if (views !== undefined) views.leases.release(sharedKey(key), token);
    else await this.#remote('release', key, [token]);
  }

  copier(value) {
    const { attachment, copiesClones, freezes } = this.client;
    if (attachment.views !== undefined) return attachment.views.leases.copier(this.#view(), value);
    const text = encodeValue(value, copiesClones);
    return () => {
      const [kind, payload] = JSON.parse(`[${text}]`);
      const copy = decodeValue(kind, payload);
      return freezes && kind === KIND.JSON ? freeze(copy) : copy;
    };
  }
}

/** JSON has no infinite number: a time that never ends is the longest. */
const finite = (name, value) => (value === Infinity ? Number.MAX_SAFE_INTEGER : value);

/** JSON of a call: its values, `[op, key, ...arguments]`. */
function encodeCall(advanced, op, key, args) {
  const parts = [JSON.stringify(op), encodeKey(key)];
  if (op === 'settle') {
    const [token, { kind, value, error, maxAge, grace = 0, ttl = 0, rest = 0, tags }] = args;
    parts.push(JSON.stringify(token), JSON.stringify(kind));
    parts.push(encodeValue(kind === 'error' ? error : value, advanced));
    parts.push(optionJson(maxAge), optionJson(kind === 'error' ? ttl : grace));
    parts.push(tags === undefined ? 'null' : JSON.stringify(tagList('fetch', tags)));
    parts.push(optionJson(rest));
  } else {
    for (const arg of args) parts.push(JSON.stringify(arg ?? null, finite));
  }
  return `[${parts.join(',')}]`;
}

/** What a call gave, from its answer. */
function decodeResult(payload) {
  const [result, kind, value] = payload;
  // The entry past its age, or else the answer.
  const entry = result?.stale ?? result;
  // JSON has no infinite number.
  if (entry?.expires === null) entry.expires = Infinity;
  if (kind === KIND.MISS) return result;
  entry.value = decodeValue(kind, value);
  return result;
}

module.exports = { LEASE, LocalLeases, WorkerLeases };
