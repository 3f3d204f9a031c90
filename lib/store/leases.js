'use strict';

/**
 * The leases of a namespace, as this process claims, settles and awaits them. `src/lease.rs` says what a lease is. Calls
 * throw where another process has the lock: the transports make them again.
 */

const { CODES } = require('../errors');
const { LEASE_TIMEOUT, LONGEST_TIMER } = require('../options');
const { bulk } = require('./lru-cache');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setTimeout } = globalThis;

const { BUSY } = CODES;
const { leases: native } = bulk;

/** What Rust says of a lease, by number: see `state` in `src/addon/leases.rs`. */
const STATES = Object.freeze([
  'hit',
  'leased',
  'held',
  'full',
  'running',
  'settled',
  'unstored',
  'error',
  'gone',
  'failed',
  'void',
  'resting',
]);

/** Answers of claims that give no token, by state. The number in the place of the token means something else, or nothing. */
const ANSWERS = Object.freeze({
  full: () => ({ state: 'full' }),
  /** For how many milliseconds the key is not renewed. */
  resting: (left) => ({ state: 'resting', left }),
});

/** States of a lease whose end is still to come. */
const GOES_ON = Object.freeze(['running', 'void']);

/** What a settle gives: the value was stored, or a tag of it was invalidated. Any other number: it was not stored. */
const STORED = 1;
const OUTDATED = 2;

/** Milliseconds after which a call is made again that found the lock taken. */
const AGAIN = 1;

/** Milliseconds between two looks at a lease of which nobody tells. */
const LOOK = 50;

/** A timer that keeps no process alive. */
const later = (run, time) => setTimeout(run, Math.min(time, LONGEST_TIMER)).unref();

/** A lease for whose end this process waits. */
class Joined {
  /** Who waits for the outcome: `{ view, reads, resolve, timer }`. */
  waits = new Set();
  /** What is called when the lease is void. */
  watches = new Set();
  /** Runs at the deadline of the lease, or for the next look. @type {NodeJS.Timeout | undefined} */
  timer = /** @type {NodeJS.Timeout | undefined} */ (undefined);
  /** Whether this process waits no more, by a look at the lease. */
  hasQuit = false;

  constructor(key, token) {
    this.key = key;
    this.token = token;
  }
}

class Leases {
  /** By token. @type {Map<number, Joined>} */
  #joined = new Map();
  #cache;
  #isClosed = false;

  /**
   * @param {import('../native/loader').NativeCache} owner
   * @param {any} cache a view of the cache, for calls that read no value
   */
  constructor(owner, cache) {
    this.#cache = cache;
    owner.onLeaseEnd((token) => this.#ended(token));
  }

  /** Looks a key up; where there is no entry, takes the lease. `process`: the owner, where it is another process. */
  claim(view, key, options = {}) {
    const { fresh = false, renew = false, leaseTimeout = LEASE_TIMEOUT, process = 0 } = options;
    const found = native.claim(view, key, fresh, renew, leaseTimeout, process);
    const { state: number, ...claimed } = found;
    const state = STATES[number];
    switch (state) {
      case 'hit': {
        const { value, setAt, expires } = claimed;
        return { state, value, setAt, expires };
      }
      case 'failed':
        return { state: 'error', error: claimed.value };
      default: {
        const { token, value, setAt, expires } = claimed;
        const answer = ANSWERS[state]?.(token) ?? { state, token };
        return claimed.isPast ? { ...answer, stale: { value, setAt, expires } } : answer;
      }
    }
  }

  /** Ends a lease with its outcome. */
  settle(view, key, token, outcome) {
    this.#unwatch(token);
    const { kind } = outcome;
    if (kind === 'value') {
      const { value, maxAge, grace = 0, tags } = outcome;
      const how = native.settle(view, key, token, value, maxAge, grace, tags);
      this.#ended(token);
      return how === OUTDATED ? { stored: false, isOutdated: true } : { stored: how === STORED };
    }
    const isError = kind === 'error';
    const left = isError ? outcome.error : outcome.value;
    const how = native.leave(view, key, token, left, isError, outcome);
    this.#ended(token);
    return how === OUTDATED ? { stored: false, isOutdated: true } : { stored: false };
  }

  /** Gives a lease up. */
  release(key, token) {
    this.#unwatch(token);
    native.release(this.#cache, key, token);
    this.#ended(token);
  }

  /** Whether a lease runs: the key was not written since the claim. */
  isHeld(key, token) {
    return native.waiters(this.#cache, key, token) >= 0;
  }

  /** Whether somebody waits for a lease, the watches of this process left out. */
  isAwaited(key, token) {
    const joined = this.#joined.get(token);
    if (joined !== undefined && joined.waits.size > 0) return true;
    const own = joined === undefined ? 0 : 1;
    return native.waiters(this.#cache, key, token) > own;
  }

  /** A function that gives what a later `get` gives of a value that is stored, an object of its own each time. */
  copier(view, value) {
    return native.copier(view, value);
  }

  /**
   * Waits for the end of a lease. Resolves with `timeout` after so many milliseconds, or when `told` calls what it is given. With `reads`
   * the state `settled` comes with the entry, as a claim would give it: `value`, `setAt`, `expires`. Where it cannot be read here, it is missing.
   *
   * @param {any} view
   * @param {any} key
   * @param {number} token
   * @param {number} [timeout]
   * @param {(giveUp: () => void) => void} [told]
   * @param {boolean} [reads]
   */
  wait(view, key, token, timeout = Infinity, told = undefined, reads = false) {
    const joined = this.#join(key, token);
    if (joined === undefined) return Promise.resolve(this.#look(view, key, token, reads));
    return new Promise((resolve) => {
      /** @type {{ view: any, reads: boolean, resolve: (outcome: any) => void, timer?: NodeJS.Timeout }} */
      const one = { view, reads, resolve };
      joined.waits.add(one);
      const giveUp = () => {
        clearTimeout(one.timer);
        if (!joined.waits.delete(one)) return;
        resolve({ state: 'timeout' });
        this.#leaveUnused(joined);
      };
      told?.(giveUp);
      if (timeout !== Infinity) one.timer = later(giveUp, timeout);
    });
  }

  /** Calls `onVoid` when a lease is void. Returns a function that ends this. */
  watch(key, token, onVoid) {
    let joined;
    let isOver = false;
    const begin = () => {
      if (isOver) return;
      try {
        joined = this.#join(key, token);
      } catch (error) {
        if (error?.code === BUSY) {
          later(begin, AGAIN);
          return;
        }
      }
      if (joined === undefined) later(call, 0);
      else joined.watches.add(call);
    };
    const call = () => {
      if (isOver) return;
      isOver = true;
      onVoid();
    };
    begin();
    return () => {
      isOver = true;
      if (joined?.watches.delete(call)) this.#leaveUnused(joined);
    };
  }

  /** The store is left: who waits is told that the lease is gone. */
  close() {
    this.#isClosed = true;
    for (const joined of [...this.#joined.values()]) this.#end(joined, () => ({ state: 'gone' }));
  }

  /** Joins a lease; `undefined` where it does not run. */
  #join(key, token) {
    const known = this.#joined.get(token);
    if (known !== undefined) return known;
    if (this.#isClosed) return undefined;
    const { left, isTold } = native.join(this.#cache, key, token);
    if (left <= 0) return undefined;
    const joined = new Joined(key, token);
    this.#joined.set(token, joined);
    this.#schedule(joined, left, isTold);
    return joined;
  }

  /** Looks at a lease at its deadline, or before where nobody tells its end. */
  #schedule(joined, left, isTold) {
    clearTimeout(joined.timer);
    joined.timer = later(() => this.#check(joined), isTold ? left + 1 : Math.min(left + 1, LOOK));
  }

  /** A lease has ended. Where this process has ended it, who waits here need not be told first. */
  #ended(token) {
    const joined = this.#joined.get(token);
    if (joined !== undefined) this.#check(joined);
  }

  /** What has become of a lease. `quits`: where it has ended, this process is registered no more. */
  #look(view, key, token, reads = false, quits = false) {
    const found = native.look(view, key, token, reads, quits);
    const state = STATES[found.state];
    const { value } = found;
    if (found.isRead) return { state, value, setAt: found.setAt, expires: found.expires };
    if (state === 'unstored') return { state, value };
    if (state === 'error') return { state, error: value };
    return { state };
  }

  /** As `#look`, for one who waits; the last one quits. */
  #take(joined, { view, reads }) {
    const { key, token, waits, watches } = joined;
    const quits = waits.size <= 1 && watches.size === 0;
    let found;
    try {
      found = this.#look(view, key, token, reads, quits);
    } catch (error) {
      // It may have quit before the value could not be made. To quit twice would take the place of another who waits.
      joined.hasQuit = quits && error?.code !== BUSY;
      throw error;
    }
    joined.hasQuit = quits && !GOES_ON.includes(found.state);
    return found;
  }

  /** Looks at a joined lease, and tells who waits for it. */
  #check(joined) {
    const { key, token, waits } = joined;
    if (this.#joined.get(token) !== joined) return;
    try {
      const [first] = waits;
      const found =
        first === undefined ? this.#look(this.#cache, key, token) : this.#take(joined, first);
      if (found.state === 'running') {
        this.#rejoin(joined);
        return;
      }
      if (found.state === 'void') {
        this.#void(joined);
        return;
      }
      if (joined.watches.size > 0 && this.isHeld(key, token)) {
        // Its time is over, but no other has claimed: who waits claims now.
        this.#resolve(joined, () => ({ state: 'gone' }));
        this.#schedule(joined, LONGEST_TIMER, true);
        return;
      }
      // Each gets a value of its own.
      this.#end(joined, (one) => (one === first ? found : this.#take(joined, one)));
    } catch (error) {
      if (error?.code === BUSY) later(() => this.#check(joined), AGAIN);
      // The store is gone or has moved, and the lease with it.
      else this.#end(joined, () => ({ state: 'gone' }));
    }
  }

  /** The key was written. Who waited before that waits on, for what the owner leaves. */
  #void(joined) {
    const watches = [...joined.watches];
    joined.watches.clear();
    if (joined.waits.size === 0) this.#leave(joined);
    else this.#rejoin(joined);
    for (const call of watches) call();
  }

  /** Something was told of a lease that is there: its end is to be told, too. */
  #rejoin(joined) {
    const { key, token } = joined;
    const { left, isTold } = native.join(this.#cache, key, token, true);
    if (left > 0) this.#schedule(joined, left, isTold);
    else later(() => this.#check(joined), AGAIN);
  }

  #resolve(joined, result) {
    for (const one of joined.waits) {
      // An error here leaves the rest to wait for the next look.
      const outcome = result(one);
      joined.waits.delete(one);
      clearTimeout(one.timer);
      one.resolve(outcome);
    }
  }

  #end(joined, result) {
    this.#resolve(joined, result);
    const watches = [...joined.watches];
    joined.watches.clear();
    this.#leave(joined);
    for (const call of watches) call();
  }

  /** This process has the outcome of a lease, or settles it: no watch is called. */
  #unwatch(token) {
    const joined = this.#joined.get(token);
    if (joined === undefined) return;
    joined.watches.clear();
    this.#leaveUnused(joined);
  }

  #leaveUnused(joined) {
    if (joined.waits.size === 0 && joined.watches.size === 0) this.#leave(joined);
  }

  #leave(joined) {
    const { key, token } = joined;
    clearTimeout(joined.timer);
    if (this.#joined.get(token) !== joined) return;
    this.#joined.delete(token);
    if (!joined.hasQuit) this.#quit(key, token);
  }

  #quit(key, token) {
    if (this.#joined.has(token)) return;
    try {
      native.quit(this.#cache, key, token);
    } catch (error) {
      if (error?.code === BUSY) later(() => this.#quit(key, token), AGAIN);
    }
  }
}

module.exports = { Leases };
