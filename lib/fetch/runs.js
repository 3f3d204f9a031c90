'use strict';

/**
 * Runs: the work of this process on one key, which all its callers of `fetch` share. A `Load` calls a loader, under a lease
 * or without one. A `Follow` waits for the loader of another process, or of an instance that this one does not know.
 */

const { LONGEST_TIMER } = require('../options');
const { ageOf, checkTags } = require('./options');
const { decodeError, encodeError } = require('./errors');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setTimeout } = globalThis;

/**
 * What `fetch` sees of the store: the client of an instance.
 *
 * @typedef {object} Port
 * @property {string} namespace
 * @property {any} leases the leases of the instance: `LeasePort` in `lib/transport/leases.js`
 * @property {any} near what answers near reads, or `undefined`
 * @property {boolean} freezes whether reads give frozen objects
 */

/** How a run ends. */
const VALUE = 'value';
const ERROR = 'error';
/** Nothing came of the run: its callers look the key up again. */
const AGAIN = Object.freeze({ kind: 'again' });
/** As `AGAIN`: the value of the loader was stored. */
const STORED = Object.freeze({ kind: 'stored' });
/** As `STORED`, with the entry, as a claim would give it. */
const ENTRY = 'entry';
/** The store cannot be reached. */
const LOST = Object.freeze({ kind: 'lost' });

const valueOf = (give) => ({ kind: VALUE, give, error: undefined });
const entryOf = (give, setAt) => ({ kind: ENTRY, give, setAt, error: undefined });
const errorOf = (error) => ({ kind: ERROR, give: undefined, error });

const nothing = () => {};

/** An entry past its age, as a claim gave it. Each who takes it gets a value of its own. */
class Stale {
  #port;
  #value;
  #give;

  constructor(port, { value, setAt, expires }) {
    this.#port = port;
    this.#value = value;
    this.setAt = setAt;
    this.expires = expires;
  }

  give() {
    this.#give ??= this.#port.leases.copier(this.#value);
    return this.#give();
  }

  /** Whether the entry expired no more than this many milliseconds ago. */
  isWithin(milliseconds) {
    return milliseconds > 0 && Date.now() <= this.expires + milliseconds;
  }
}

/** Milliseconds between two looks whether other processes wait for a loader for which nobody waits here. */
const AWAITED = 50;

/** What a loader says besides its value: that the value is not to be stored. */
class Skipped {
  constructor(value) {
    this.value = value;
  }
}

const skip = (value) => new Skipped(value);

/** The second argument of a loader. */
class LoaderContext {
  #load;

  /** @param {Load} load */
  constructor(load) {
    this.#load = load;
    // Own functions, because loaders take them out of the object.
    this.setTtl = (maxAge) => {
      load.maxAge = ageOf(maxAge);
    };
    this.setTags = (tags) => {
      load.tags = checkTags(tags);
    };
    this.skip = skip;
  }

  /** Made where a loader asks for it. */
  get signal() {
    return this.#load.signal;
  }
  get stale() {
    return this.#load.stale?.give();
  }
  /** The options of the call, which the loader may change, as with `lru-cache`. */
  get options() {
    return this.#load.ownSettings();
  }
  get context() {
    return this.#load.settings.context;
  }
}

class Run {
  /** @type {(outcome: any) => void} */
  #resolve = nothing;

  /**
   * @param {Runs} runs
   * @param {any} key
   * @param {any} token that of the lease; `undefined` without one
   * @param {Stale | undefined} stale
   */
  constructor(runs, key, token, stale) {
    this.runs = runs;
    this.key = key;
    this.token = token;
    this.stale = stale;
    /** Runs of this process are numbered in the order in which they begin. */
    this.number = runs.next();
    /** How many callers wait now, and how many waited that did not begin the run. */
    this.callers = 0;
    this.followers = 0;
    /** Claims that were made after the run, for all who waited for it: by whether they renew. @type {Map<boolean, Promise<any>>} */
    this.claims = new Map();
    /** Whether the run goes on where nobody waits. */
    this.isKept = false;
    this.isOver = false;
    /** It never rejects. @type {Promise<{ kind: string, give?: () => any, error?: any }>} */
    this.outcome = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** What a caller waits for that did not begin the run. */
  get joined() {
    return this.outcome;
  }

  /** Whether a caller may join without a claim of its own. */
  get isOpen() {
    return !this.isOver && this.token !== undefined;
  }

  end(outcome) {
    if (this.isOver) return;
    this.isOver = true;
    this.runs.remove(this);
    this.#resolve(outcome);
  }

  /** A caller waits. */
  join(isStarter) {
    this.callers += 1;
    if (!isStarter) this.followers += 1;
  }

  /** A caller no longer waits. @param {any} [reason] why, where it gave up */
  leave(reason) {
    this.callers -= 1;
    if (this.callers === 0 && !this.isKept && !this.isOver) this.abandon(reason);
  }

  /** Nobody waits any more. */
  abandon(reason) {
    void reason;
  }
}

/** Waits for the loader of another process. */
class Follow extends Run {
  #giveUp = nothing;

  /** The loader is to know that this process does not wait any more. */
  abandon() {
    this.end(AGAIN);
    this.#giveUp();
  }

  /** @param {import('./fetcher').Fetcher} fetcher @param {number} timeout */
  start(fetcher, timeout) {
    const ended = (result) => {
      if (this.followers > 0) fetcher.count({ followers: this.followers });
      this.end(this.#outcomeOf(fetcher.port, result));
    };
    try {
      const told = (giveUp) => {
        this.#giveUp = giveUp;
        if (this.isOver) giveUp();
      };
      const { leases } = fetcher.port;
      leases.wait(this.key, this.token, timeout, told, true).then(ended, () => this.end(LOST));
    } catch {
      this.end(LOST);
    }
    return this;
  }

  #outcomeOf(port, { state, value, error, setAt }) {
    if (state === 'settled' && setAt !== undefined) {
      // Each caller gets a value of its own.
      return entryOf(this.callers > 1 ? port.leases.copier(value) : () => value, setAt);
    }
    if (state === 'unstored') return valueOf(port.leases.copier(value));
    if (state === 'error') return errorOf(decodeError(error));
    return state === 'settled' ? STORED : AGAIN;
  }
}

/** Calls a loader. */
class Load extends Run {
  /** @type {AbortController | undefined} */
  #controller;
  /** @type {() => void} */
  #endWatch = nothing;
  #joined;
  #own;
  #since = 0;
  #isAborted = false;
  #reason;

  /**
   * @param {object} of
   * @param {import('./fetcher').Fetcher} of.fetcher the instance whose loader this is
   * @param {boolean} of.watches whether the loader's signal fires when the lease is void
   */
  constructor(runs, key, token, stale, { fetcher, loader, settings, watches }) {
    super(runs, key, token, stale);
    this.fetcher = fetcher;
    this.loader = loader;
    this.settings = settings;
    this.watches = watches;
    /** What `setTtl` and `setTags` said. */
    this.maxAge = undefined;
    this.tags = undefined;
    /** Another write, or another claim, came before the end. */
    this.isVoid = false;
    /** Milliseconds that the loader took. */
    this.loadTime = 0;
    /** Whether a tag of the value was invalidated while it was loaded. */
    this.isOutdated = false;
    const { leaseTimeout } = settings;
    this.deadline = token === undefined ? Infinity : performance.now() + leaseTimeout;
  }

  get port() {
    return this.fetcher.port;
  }

  /** Whether another may claim by now. */
  get isOverdue() {
    return performance.now() >= this.deadline;
  }

  get isOpen() {
    return super.isOpen && !this.isOverdue;
  }

  /** Others than the one who began the run wait for it no longer than its lease lasts. */
  get joined() {
    if (this.deadline === Infinity) return this.outcome;
    this.#joined ??= new Promise((resolve) => {
      const left = Math.min(this.deadline - performance.now(), LONGEST_TIMER);
      const timer = setTimeout(() => resolve(AGAIN), Math.max(Math.ceil(left), 1));
      this.outcome.then((outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      });
    });
    return this.#joined;
  }

  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort(this.#reason);
      else if (this.token !== undefined && this.watches) this.#watch();
    }
    return this.#controller.signal;
  }

  #watch() {
    const onVoid = () => {
      this.isVoid = true;
      this.#abort(new DOMException('the key was written while its value was loaded', 'AbortError'));
    };
    try {
      this.#endWatch = this.port.leases.watch(this.key, this.token, onVoid) ?? nothing;
    } catch {
      // The store cannot be reached. The loader goes on.
    }
  }

  #abort(reason) {
    if (this.#isAborted || this.isOver) return;
    this.#isAborted = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** The options as an object of the loader's own. */
  ownSettings() {
    this.#own ??= { ...this.settings };
    return this.#own;
  }

  start() {
    this.fetcher.loads.add(this);
    this.#since = performance.now();
    let loaded;
    try {
      loaded = this.loader(this.key, new LoaderContext(this));
    } catch (error) {
      this.#failed(error);
      return this;
    }
    // Whatever the loader gave, this throws nothing.
    new Promise((resolve) => resolve(loaded)).then(
      (value) => this.#loaded(value),
      (error) => this.#failed(error),
    );
    return this;
  }

  end(outcome) {
    this.fetcher.loads.delete(this);
    this.#endWatch();
    super.end(outcome);
  }

  /** The loader has ended: to be counted, after what others wait for. */
  #count(errors) {
    const { followers, loadTime } = this;
    this.fetcher.count({ loads: 1, followers, errors, loadTime });
  }

  #loaded(loaded) {
    this.loadTime = performance.now() - this.#since;
    let outcome;
    let give;
    try {
      outcome = this.#outcomeOf(loaded);
      give = this.port.leases.copier(outcome.value);
    } catch (error) {
      // A function among the options threw, an age is none, or the value has no form.
      this.#failed(error);
      return;
    }
    this.#settle(outcome, valueOf(give), 0);
    this.runs.resume(this.key);
  }

  #failed(error) {
    this.loadTime = performance.now() - this.#since;
    if (this.isVoid) {
      this.#count(1);
      // The loader gave up because the key was written, which is no failure.
      this.release();
      this.end(AGAIN);
      return;
    }
    const { errorTtl = 0, refreshBackoff } = this.settings;
    const rest = this.isKept ? refreshBackoff : 0;
    if (rest > 0) this.runs.pause(this.key, rest);
    const text = encodeError(error);
    const settlement = { kind: 'error', error: text, ttl: errorTtl || undefined, rest };
    this.#settle(settlement, errorOf(error), 1);
  }

  /** Ends the lease, then the run. The loader is counted between: the processes that wait are woken first. */
  #settle(settlement, outcome, errors) {
    let settling;
    try {
      if (!this.isOver && this.token !== undefined) {
        settling = this.port.leases.settle(this.key, this.token, settlement);
      }
    } catch {
      // The store cannot be reached. The lease ends by itself.
    }
    this.#count(errors);
    const end = () => this.end(outcome);
    const settled = ({ isOutdated = false }) => {
      this.isOutdated = isOutdated;
      end();
    };
    if (settling === undefined) end();
    else settling.then(settled, end);
  }

  /** What a loader gave, as the store takes it. */
  #outcomeOf(loaded) {
    const isSkipped = loaded instanceof Skipped;
    const value = isSkipped ? loaded.value : loaded;
    const settings = this.#own ?? this.settings;
    const { negativeTtl = 0, staleWhileRevalidate = 0, staleIfError = 0 } = settings;
    const isNegative = isSkipped || value === undefined;
    const of = (option) => (typeof option === 'function' ? option(value, this.key) : option);
    const tags = this.tags ?? checkTags(of(settings.tags));
    if (isNegative && !(negativeTtl > 0)) return { kind: 'unstored', value, tags };
    if (isNegative) return { kind: 'value', value, maxAge: negativeTtl, tags, grace: 0 };
    const maxAge = this.maxAge ?? ageOf(of(settings.maxAge ?? settings.ttl));
    const grace = Math.max(staleWhileRevalidate, staleIfError);
    return { kind: 'value', value, maxAge, tags, grace };
  }

  /** Gives the lease back. */
  release() {
    if (this.token === undefined) return;
    try {
      this.port.leases.release(this.key, this.token)?.catch?.(nothing);
    } catch {
      // The store cannot be reached. The lease ends by itself.
    }
  }

  /** Nobody waits any more, here; others may. */
  abandon(reason) {
    if (this.callers > 0 || this.isKept || this.isOver) return;
    const { leases } = this.port;
    const stop = (isAwaited) => {
      if (this.callers > 0 || this.isKept || this.isOver) return;
      if (isAwaited) setTimeout(() => this.abandon(reason), AWAITED).unref?.();
      else this.stop(reason);
    };
    let isAwaited;
    try {
      isAwaited = this.token !== undefined && leases.isAwaited?.(this.key, this.token);
    } catch {
      isAwaited = false;
    }
    if (isAwaited instanceof Promise) isAwaited.then(stop, () => stop(false));
    else stop(isAwaited);
  }

  /** Aborts the loader, and lets others have the lease. */
  stop(reason) {
    if (this.isOver) return;
    this.#abort(reason);
    this.release();
    this.end(AGAIN);
  }
}

/** The most keys that are known not to be renewed now. */
const MOST_PAUSED = 1000;

/** The runs of one namespace in this process. */
class Runs {
  /** By key: the run that callers join. @type {Map<any, Run>} */
  #present = new Map();
  /** By key: the run of callers that cannot have a lease. @type {Map<any, Load>} */
  #alone = new Map();
  /** By key: how many callers wait for the end of a run to begin another. @type {Map<any, number>} */
  #queued = new Map();
  /** By key: when a renewal may be tried again. The store has that, too, for all processes. @type {Map<any, number>} */
  #paused = new Map();
  /** By key: claims that are messages, and in which tick each is sent. @type {Map<any, { claim: Promise<any>, tick: number }>} */
  #unsent = new Map();
  /** Keys that are claimed now, to be renewed. */
  renewing = new Set();
  #numbers = 0;

  next() {
    this.#numbers += 1;
    return this.#numbers;
  }

  /** The number of the latest run. */
  get latest() {
    return this.#numbers;
  }

  present(key) {
    return this.#present.get(key);
  }

  alone(key) {
    return this.#alone.get(key);
  }

  /** @param {Run} run */
  add(run) {
    if (run.token === undefined) this.#alone.set(run.key, /** @type {Load} */ (run));
    else this.#present.set(run.key, run);
    return run;
  }

  /** @param {Run} run */
  remove(run) {
    if (this.#present.get(run.key) === run) this.#present.delete(run.key);
    if (this.#alone.get(run.key) === run) this.#alone.delete(run.key);
  }

  /** The claim of a key that is sent at the end of this tick: whoever calls before that may share it. */
  unsent(key, tick) {
    if (tick === undefined) return undefined;
    const unsent = this.#unsent.get(key);
    return unsent !== undefined && unsent.tick === tick ? unsent.claim : undefined;
  }

  keepUnsent(key, tick, claim) {
    const unsent = { claim, tick };
    this.#unsent.set(key, unsent);
    const drop = () => {
      if (this.#unsent.get(key) === unsent) this.#unsent.delete(key);
    };
    claim.then(drop, drop);
  }

  isQueued(key) {
    return this.#queued.has(key);
  }

  /** A caller begins (1) or ends (-1) its wait for the end of a run. */
  queue(key, step) {
    const waiting = (this.#queued.get(key) ?? 0) + step;
    if (waiting > 0) this.#queued.set(key, waiting);
    else this.#queued.delete(key);
  }

  /** A key is not renewed by this process for so many milliseconds: a renewal failed, or another process makes one. */
  pause(key, time) {
    if (this.#paused.size >= MOST_PAUSED) this.#paused.clear();
    this.#paused.set(key, performance.now() + time);
  }

  resume(key) {
    this.#paused.delete(key);
  }

  isPaused(key) {
    const until = this.#paused.get(key);
    if (until === undefined) return false;
    if (performance.now() < until) return true;
    this.#paused.delete(key);
    return false;
  }

  /** Whether a key that is old enough is to be renewed by this process now. */
  mayRenew(key) {
    return !this.renewing.has(key) && !this.#present.has(key) && !this.isPaused(key);
  }
}

/** By namespace. @type {Map<string, Runs>} */
const all = new Map();

/** The runs of a namespace: all instances of this process share them. */
function runsOf(namespace) {
  let runs = all.get(namespace);
  if (runs === undefined) {
    runs = new Runs();
    all.set(namespace, runs);
  }
  return runs;
}

module.exports = { ENTRY, ERROR, Follow, LOST, Load, STORED, Stale, VALUE, runsOf };
