'use strict';

/** `fetch` of one instance. */

const { CODES, makeError } = require('../errors');
const { LEASE_TIMEOUT, LONGEST_TIMER } = require('../options');
const { fetchChannel, isTraced } = require('../observe/channels');
const { decodeError } = require('./errors');
const { hasKnownNames, settingsOf } = require('./options');
const { ENTRY, ERROR, Follow, LOST, Load, STORED, Stale, VALUE, runsOf } = require('./runs');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setTimeout } = globalThis;

const nothing = () => {};

/** Milliseconds that a renewal waits after one that failed. */
const REFRESH_BACKOFF = 1000;

/**
 * Names of options are checked by every call that finds no entry, and by so many of an instance that do. A check of each would
 * cost as much as the read; programs spell an option the same way each time.
 */
const CHECKED_HITS = 1000;

/** Milliseconds until a process asks again whether it may renew an entry that another process renews. */
const OTHER_RENEWS = 50;

/** How often the loader of a caller may be stopped because its key was written: then it is left to end. */
const MOST_VOIDS = 3;

/** What is wrong with the call itself. With any other error of a claim the store cannot be reached. */
const OF_THE_CALL = Object.freeze([
  CODES.INVALID_ARG_TYPE,
  CODES.INVALID_ARG_VALUE,
  CODES.OUT_OF_RANGE,
  CODES.CLOSED,
]);

/** Whether an entry that is there is given whatever these options say, and nothing is to be noted. */
function takesHit(options) {
  return (
    typeof options === 'object' &&
    options !== null &&
    !options.forceRefresh &&
    !options.refreshAfter &&
    options.signal === undefined &&
    options.status === undefined
  );
}

/** Tells a caller's object how the call went. That the object takes nothing, or throws, changes nothing of the call. */
function tell(status, how) {
  try {
    Object.assign(status, how);
  } catch {
    // It is the caller's.
  }
}

class Fetcher {
  #defaults;
  /** The loader of calls without one, as they call it. */
  #method;
  #miss;
  #count;
  /** Whether an entry that is there is given, where a call has no options. */
  #takesHits;
  /** How many calls that find an entry check the names of their options. */
  #checks = CHECKED_HITS;
  /** Callers that wait. @type {Set<Caller>} */
  callers = new Set();
  /** Loaders of this instance that run. @type {Set<Load>} */
  loads = new Set();
  /** Why later calls reject. */
  error = undefined;

  /**
   * @param {import('./runs').Port} port
   * @param {any} defaults the options of `fetch` of the instance
   * @param {object} [calls]
   * @param {any} [calls.miss] what `near.get` gives where a native call has to answer
   * @param {(loads: number, followers: number, errors: number, loadTime: number) => void} [calls.count] adds to the
   *   statistics; the time is in milliseconds
   */
  constructor(port, defaults = {}, { miss, count } = {}) {
    const { fetchMethod, ...options } = defaults;
    this.port = port;
    this.runs = runsOf(port.namespace);
    this.#miss = miss;
    this.#count = count;
    this.#defaults = Object.freeze({
      leaseTimeout: LEASE_TIMEOUT,
      refreshBackoff: REFRESH_BACKOFF,
      ...options,
    });
    this.#takesHits = !this.#defaults.refreshAfter;
    this.#method = fetchMethod && ((key, context) => fetchMethod(key, context.stale, context));
  }

  fetch(key, loader, options) {
    const { near } = this.port;
    if (near !== undefined && !isTraced() && this.#takesHit(loader, options)) {
      const value = near.get(key, this.port.freezes);
      if (value !== this.#miss) return Promise.resolve(value);
    }
    return this.#fetch(key, loader, options);
  }

  #takesHit(loader, options) {
    if (!this.#takesHits) return false;
    let given = options;
    if (typeof loader !== 'function') {
      if (this.#method === undefined || options !== undefined) return false;
      given = loader;
    }
    if (given === undefined) return true;
    if (!takesHit(given)) return false;
    if (this.#checks === 0) return true;
    this.#checks -= 1;
    return hasKnownNames(given);
  }

  /** As `fetch`, where there may be no entry. */
  #fetch(key, given, options) {
    if (this.error !== undefined) return Promise.reject(this.error);
    try {
      const isLoader = typeof given === 'function';
      const loader = isLoader ? given : this.#method;
      if (loader === undefined || (!isLoader && options !== undefined)) {
        throw makeError([
          'TypeError',
          'fetch needs a loader, or an instance with a fetchMethod',
          CODES.INVALID_ARG_TYPE,
        ]);
      }
      const settings = settingsOf(this.#defaults, isLoader ? options : given);
      const { signal } = settings;
      if (signal?.aborted) return Promise.reject(signal.reason);
      const value = this.#near(key, settings);
      if (value !== this.#miss) return Promise.resolve(value);
      return this.#traced(key, settings, (trace) => {
        const caller = new Caller(this, key, loader, settings, trace);
        return caller.start();
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** What a near read gives, where the call needs no more. */
  #near(key, { forceRefresh, refreshAfter = 0, status }) {
    const { near, freezes } = this.port;
    if (near === undefined || forceRefresh || isTraced()) return this.#miss;
    const begun = status && performance.now();
    const value =
      refreshAfter > 0 && this.runs.mayRenew(key)
        ? near.getYoung(key, refreshAfter, freezes)
        : near.get(key, freezes);
    if (value !== this.#miss && status !== undefined) {
      const duration = performance.now() - begun;
      tell(status, { fetch: 'hit', start: Date.now() - duration, duration });
    }
    return value;
  }

  #traced(key, settings, run) {
    if (!isTraced()) return run(undefined);
    const trace = { namespace: this.port.namespace, key, fetch: undefined };
    return fetchChannel.tracePromise(() => run(trace), trace);
  }

  /** Adds to the statistics. */
  count({ loads = 0, followers = 0, errors = 0, loadTime = 0 }) {
    this.#count?.(loads, followers, errors, loadTime);
  }

  /** Ends all that is under way: loaders are aborted, leases given back, callers rejected. */
  close(error) {
    this.error = error;
    this.#takesHits = false;
    for (const load of this.loads) load.stop(error);
    for (const caller of this.callers) caller.fail(error);
  }
}

/** One call of `fetch` that found no entry without a claim. */
class Caller {
  #fetcher;
  #port;
  #runs;
  #key;
  #loader;
  #settings;
  #trace;
  /** @type {(value: any) => void} */
  #resolve = nothing;
  /** @type {(error: any) => void} */
  #reject = nothing;
  #isOver = false;
  /** The run that the caller has waited for, and of which nothing came. @type {import('./runs').Load | import('./runs').Follow | undefined} */
  #after;
  /** The run that the caller waits for. @type {import('./runs').Load | import('./runs').Follow | undefined} */
  #run;
  /** Whether only a run will do that has begun after the call. */
  #isFresh;
  /** The latest run of this process when the call was made. */
  #since;
  /** The token of a lease whose end the caller has waited for: each later one has begun after the call. */
  #waitedFor;
  /** How often a loader of this caller was stopped because its key was written. */
  #voids = 0;
  /** Whether an entry past its age will not do. */
  #needsValue = false;
  /** Whether `softTimeout` is over. */
  #isLate = false;
  #begun = performance.now();
  #beginning = Date.now();
  #softTimer;
  #hardTimer;
  #onAbort;

  constructor(fetcher, key, loader, settings, trace) {
    this.#fetcher = fetcher;
    this.#port = fetcher.port;
    this.#runs = fetcher.runs;
    this.#key = key;
    this.#loader = loader;
    this.#settings = settings;
    this.#trace = trace;
    this.#isFresh = settings.forceRefresh === true;
    this.#since = this.#runs.latest;
  }

  /** @returns {Promise<any>} */
  start() {
    const { signal, softTimeout = 0, hardTimeout = 0 } = this.#settings;
    const promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#fetcher.callers.add(this);
    if (signal !== undefined) {
      this.#onAbort = () => this.fail(signal.reason, true);
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
    if (hardTimeout > 0 && hardTimeout !== Infinity) {
      this.#hardTimer = setTimeout(() => this.#timeOut(), Math.min(hardTimeout, LONGEST_TIMER));
    }
    if (softTimeout > 0 && softTimeout !== Infinity) {
      this.#softTimer = setTimeout(() => this.#late(), Math.min(softTimeout, LONGEST_TIMER));
    }
    this.#work();
    return promise;
  }

  async #work() {
    try {
      while (!this.#isOver) await this.#step();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Looks the key up, and waits for what comes of that. It may have to be done again. */
  async #step() {
    const present = this.#runs.present(this.#key);
    if (present !== undefined && this.#mayJoin(present)) {
      if (this.#takesStale(present.stale)) return;
      await this.#follow(present);
      return;
    }
    let claim;
    try {
      claim = await this.#claim();
    } catch (error) {
      if (OF_THE_CALL.includes(error?.code)) throw error;
      await this.#loadAlone(this.#isFresh, undefined);
      return;
    }
    if (this.#isOver) {
      if (claim.state === 'leased') this.#giveBack(claim.token);
      return;
    }
    await this.#take(claim);
  }

  /**
   * Looks the key up, and claims its lease. A claim is shared by all callers who have called before it is made: by those who waited
   * for the same run, and, where it is a message, by those of its tick. The one who made it goes on before the others, and so begins
   * the run that these join.
   */
  #claim() {
    const key = this.#key;
    const runs = this.#runs;
    const { leases } = this.#port;
    const { leaseTimeout, staleWhileRevalidate = 0 } = this.#settings;
    const fresh = this.#isFresh;
    const needsOwn = fresh || this.#needsValue;
    const renew = !needsOwn && staleWhileRevalidate > 0;
    const begin = () => leases.claim(key, { fresh, renew, leaseTimeout });
    const after = this.#after;
    this.#after = undefined;
    const tick = needsOwn || after ? undefined : leases.tickOfSending?.(key);
    const known = needsOwn ? undefined : after ? after.claims.get(renew) : runs.unsent(key, tick);
    if (known === undefined) {
      const claim = begin();
      if (!needsOwn && after) after.claims.set(renew, claim);
      else if (tick !== undefined) runs.keepUnsent(key, tick, claim);
      return claim;
    }
    return known.then((claim) => {
      if (claim.state === 'leased') return { ...claim, state: 'held' };
      // Each caller gets a value of its own.
      return claim.state === 'hit' ? { ...claim, value: leases.copier(claim.value)() } : claim;
    });
  }

  /** Whether a run of this process can be joined without a claim: its lease is looked at now. */
  #mayJoin(present) {
    if (!present.isOpen) return false;
    if (this.#isFresh ? !this.#isLoadSince(present) : this.#runs.isQueued(this.#key)) return false;
    try {
      return this.#port.leases.isSurelyHeld(this.#key, present.token);
    } catch {
      return false;
    }
  }

  /** Whether a run is that of a loader, and has begun after this call. */
  #isLoadSince(run) {
    return run instanceof Load && run.number > this.#since;
  }

  #giveBack(token) {
    this.#port.leases.release(this.#key, token)?.catch?.(nothing);
  }

  #staleOf(entry) {
    return entry && new Stale(this.#port, entry);
  }

  /** What a claim gave. */
  async #take(claim) {
    const stale = this.#staleOf(claim.stale);
    switch (claim.state) {
      case 'hit':
        this.#hit(claim);
        return;
      case 'error':
        if (this.#takesStale(stale) || this.#takesStaleForError(stale)) return;
        throw decodeError(claim.error);
      case 'leased':
        await this.#leased(claim.token, stale);
        return;
      case 'held':
        await this.#held(claim.token, stale);
        return;
      case 'resting':
        // Where the entry is too old for this caller, it is no renewal that it needs.
        this.#needsValue = !this.#takesStale(stale);
        return;
      default:
        if (this.#takesStale(stale)) return;
        await this.#loadAlone(true, stale);
    }
  }

  #hit({ value, setAt }) {
    const { refreshAfter = 0 } = this.#settings;
    if (refreshAfter > 0 && setAt > 0 && Date.now() - setAt > refreshAfter) {
      this.#renew();
    }
    this.#finish(value, 'hit');
  }

  /** Begins to renew an entry that is there. */
  #renew() {
    const runs = this.#runs;
    const key = this.#key;
    if (!runs.mayRenew(key)) return;
    runs.renewing.add(key);
    const { leaseTimeout } = this.#settings;
    const claimed = ({ state, token, stale, left }) => {
      runs.renewing.delete(key);
      if (state === 'resting') runs.pause(key, left);
      // Another process renews. Should it die, one asks again.
      else if (state === 'held') runs.pause(key, OTHER_RENEWS);
      if (state !== 'leased') return;
      if (this.#fetcher.error === undefined) this.#load(token, this.#staleOf(stale), true);
      else this.#giveBack(token);
    };
    this.#port.leases
      .claim(key, { fresh: true, renew: true, leaseTimeout })
      .then(claimed)
      .catch(() => runs.renewing.delete(key));
  }

  /** Begins a run. `isKept`: in the background. @returns {Load} */
  #load(token, stale, isKept = false) {
    const load = new Load(this.#runs, this.#key, token, stale, {
      fetcher: this.#fetcher,
      loader: this.#loader,
      settings: this.#settings,
      watches: this.#voids < MOST_VOIDS,
    });
    load.isKept = isKept;
    this.#runs.add(load);
    load.start();
    return load;
  }

  /** This caller has the lease. */
  async #leased(token, stale) {
    const revalidates = this.#takesStale(stale);
    if (revalidates) {
      if (this.#runs.isPaused(this.#key)) this.#giveBack(token);
      else this.#load(token, stale, true);
      return;
    }
    await this.#follow(this.#load(token, stale), true);
  }

  /** Another has the lease. */
  async #held(token, stale) {
    if (!this.#isFresh && this.#takesStale(stale)) return;
    let run = this.#runs.present(this.#key);
    const isKnown = run?.token === token && !run.isOver && !(run instanceof Load && run.isOverdue);
    if (!isKnown) {
      run = new Follow(this.#runs, this.#key, token, stale);
      this.#runs.add(run);
      run.start(this.#fetcher, Math.min(this.#settings.leaseTimeout, LONGEST_TIMER));
    }
    // What is called behind a run that is to come waits for that one.
    if (this.#runs.isQueued(this.#key)) this.#isFresh = true;
    const isOlder = this.#waitedFor === undefined || this.#waitedFor === token;
    if (this.#isFresh && isOlder && !this.#isLoadSince(run)) await this.#waitFor(run);
    else await this.#follow(run);
  }

  /** Waits for the end of a run that began before this call. */
  async #waitFor(run) {
    this.#waitedFor = run.token;
    this.#runs.queue(this.#key, 1);
    try {
      await run.joined;
    } finally {
      this.#runs.queue(this.#key, -1);
    }
  }

  /** Loads without a lease, once in this process. `isNew`: a run will not do that began before this call. */
  async #loadAlone(isNew, stale) {
    const present = this.#runs.alone(this.#key);
    if (present === undefined) await this.#follow(this.#load(undefined, stale), true);
    else if (!isNew || this.#isLoadSince(present)) await this.#follow(present);
    else await present.outcome;
  }

  /** Waits for what a run gives. */
  async #follow(run, isStarter = false) {
    run.join(isStarter);
    this.#run = run;
    if (this.#isLate) this.#late();
    const outcome = await (isStarter ? run.outcome : run.joined);
    if (this.#isOver) return;
    this.#run = undefined;
    this.#after = run;
    run.leave();
    // A caller after the invalidation of a tag must not get what was loaded before it: who began the run was before.
    if (!isStarter && run.isOutdated) return;
    if (outcome.kind === VALUE) {
      const how = this.#settings.forceRefresh ? 'refresh' : isStarter ? 'miss' : 'inflight';
      this.#finish(outcome.give?.(), how, run);
    } else if (outcome.kind === ERROR) {
      if (this.#takesStaleForError(run.stale)) return;
      if (isStarter || this.#settings.onError !== 'retry') this.fail(outcome.error);
    } else if (outcome.kind === ENTRY) {
      this.#hit({ value: outcome.give(), setAt: outcome.setAt });
    } else if (outcome === STORED) {
      // What is there now comes from a run that was good enough.
      this.#isFresh = false;
    } else if (outcome === LOST) {
      await this.#loadAlone(this.#isFresh, run.stale);
    } else if (isStarter && run.isVoid) {
      this.#voids += 1;
    }
  }

  /** Gives an entry past its age where `staleWhileRevalidate` allows that. @param {Stale | undefined} stale */
  #takesStale(stale) {
    if (this.#isFresh || !stale?.isWithin(this.#settings.staleWhileRevalidate)) return false;
    this.#finish(stale.give(), 'stale');
    return true;
  }

  /** Gives an entry past its age in place of an error. @param {Stale | undefined} stale */
  #takesStaleForError(stale) {
    if (!stale?.isWithin(this.#settings.staleIfError)) return false;
    this.#finish(stale.give(), 'stale');
    return true;
  }

  /** `softTimeout` is over: an entry past its age is good enough. */
  #late() {
    this.#isLate = true;
    const run = this.#run;
    if (run?.stale === undefined || this.#isOver) return;
    run.isKept = true;
    this.#finish(run.stale.give(), 'stale');
  }

  /** `hardTimeout` is over: the work goes on. */
  #timeOut() {
    if (this.#run !== undefined) this.#run.isKept = true;
    const error = makeError(['Error', 'fetch took longer than hardTimeout', CODES.TIMED_OUT]);
    /** @type {any} */ (error).namespace = this.#port.namespace;
    /** @type {any} */ (error).command = 'fetch';
    this.fail(error);
  }

  #finish(value, how, run = undefined) {
    if (!this.#end()) return;
    this.#note(how, run);
    this.#resolve(value);
  }

  /** Ends the call with an error. `leaves`: the caller gave up, and the run may have nobody else. */
  fail(error, leaves = false) {
    const run = this.#run;
    if (!this.#end()) return;
    if (leaves) run?.leave(error);
    this.#note(undefined, run);
    this.#reject(error);
  }

  /** Whether this is the end of the call: there is one. */
  #end() {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#fetcher.callers.delete(this);
    clearTimeout(this.#softTimer);
    clearTimeout(this.#hardTimer);
    if (this.#onAbort) this.#endSignal();
    return true;
  }

  #endSignal() {
    try {
      this.#settings.signal.removeEventListener('abort', this.#onAbort);
    } catch {
      // It is the caller's. What it says now is too late.
    }
  }

  /** Says how the call went. */
  #note(how, run) {
    const { status } = this.#settings;
    if (this.#trace) this.#trace.fetch = how;
    if (status === undefined) return;
    const duration = performance.now() - this.#begun;
    tell(status, { fetch: how, start: this.#beginning, duration });
    if (run instanceof Load) tell(status, { loadTime: run.loadTime });
  }
}

module.exports = { Fetcher };
