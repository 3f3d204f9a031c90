'use strict';

/**
 * A double of the store with its leases, in memory, for several processes: what `lib/fetch` sees of a client. Every step
 * happens when it is called, so that tests decide the order of all that races.
 */

/** What a process keeps of a value: a copy, as the store would have it. */
const copies = {
  json: (value) => {
    if (value === undefined) return () => undefined;
    const text = JSON.stringify(value);
    return () => JSON.parse(text);
  },
  reference: (value) => () => value,
};

class LeaseStore {
  entries = new Map();
  errors = new Map();
  /** By key: the lease that new claims find. */
  held = new Map();
  /** By key: until when an entry is not renewed. */
  resting = new Map();
  /** By token: leases whose outcome somebody may wait for. */
  leases = new Map();
  /** The most leases there may be at once. */
  most = Infinity;
  counts = { loads: 0, followers: 0, errors: 0, loadTime: 0 };
  #tokens = 0;
  #processes = 0;

  /** A process: what its `Fetcher` sees, with writes to the store beside. */
  process({ copy = 'json', freezes = false, isSync = true, readsEntries = true } = {}) {
    this.#processes += 1;
    return new Process(
      this,
      `process ${this.#processes} of ${unique()}`,
      copies[copy],
      freezes,
      isSync,
      readsEntries,
    );
  }

  /** An entry that is there, with how it stands: `undefined` past age and grace. */
  look(key) {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    const now = Date.now();
    if (now <= entry.expires) return { ...entry, isFresh: true };
    if (now <= entry.expires + entry.grace) return { ...entry, isFresh: false };
    this.entries.delete(key);
    return undefined;
  }

  put(key, give, maxAge = Infinity, grace = 0, tags = undefined) {
    const now = Date.now();
    this.entries.set(key, { give, setAt: now, expires: now + (maxAge || Infinity), grace, tags });
  }

  claim(owner, key, { fresh = false, renew = false, leaseTimeout }) {
    const entry = this.look(key);
    const of = ({ give, setAt, expires }) => ({ value: give(), setAt, expires });
    if (entry?.isFresh && !fresh) return { state: 'hit', ...of(entry) };
    const stale = entry && of(entry);
    const error = this.errors.get(key);
    if (error && Date.now() <= error.until && !fresh) {
      return { state: 'error', error: error.text, stale };
    }
    const present = this.held.get(key);
    if (present !== undefined && Date.now() < present.deadline && present.owner.isAlive) {
      return { state: 'held', token: present.token, stale };
    }
    if (present !== undefined) this.void(present, false);
    const left = (this.resting.get(key) ?? 0) - Date.now();
    if (renew && left > 0) return { state: 'resting', left, stale };
    this.resting.delete(key);
    if (this.held.size >= this.most) return { state: 'full', stale };
    this.#tokens += 1;
    const lease = {
      key,
      token: this.#tokens,
      owner,
      deadline: Date.now() + leaseTimeout,
      waiters: [],
      watches: new Set(),
      isVoid: false,
    };
    this.held.set(key, lease);
    this.leases.set(lease.token, lease);
    return { state: 'leased', token: lease.token, stale };
  }

  settle(token, outcome) {
    const lease = this.leases.get(token);
    if (lease === undefined) return { stored: false };
    const { key } = lease;
    const isStored = outcome.kind === 'value' && !lease.isVoid;
    if (isStored) {
      const { give, maxAge, grace, tags } = outcome;
      this.put(key, give, maxAge ?? this.maxAge, grace, tags);
      this.errors.delete(key);
      this.#end(lease, (reads) => ({ state: 'settled', ...(reads && this.#read(key)) }));
    } else if (outcome.kind === 'error') {
      if (outcome.ttl && !lease.isVoid) {
        this.errors.set(key, { text: outcome.error, until: Date.now() + outcome.ttl });
      }
      if (outcome.rest > 0 && !lease.isVoid && this.look(key) !== undefined) {
        this.resting.set(key, Date.now() + outcome.rest);
      }
      this.#end(lease, () => ({ state: 'error', error: outcome.error }));
    } else {
      this.#end(lease, () => ({ state: 'unstored', value: outcome.give() }));
    }
    return { stored: isStored };
  }

  /** An entry that has not expired, as a claim gives it. */
  #read(key) {
    const entry = this.look(key);
    if (!entry?.isFresh) return undefined;
    return { value: entry.give(), setAt: entry.setAt, expires: entry.expires };
  }

  /** Ends a lease: each who waits is told. `result` is given whether it reads the entry. */
  #end(lease, result) {
    if (this.held.get(lease.key) === lease) this.held.delete(lease.key);
    this.leases.delete(lease.token);
    for (const { resolve, reads } of lease.waiters) resolve(result(reads));
  }

  /** A lease no longer holds; its loader may go on for those who waited. */
  void(lease, isSettled = true) {
    if (this.held.get(lease.key) === lease) this.held.delete(lease.key);
    lease.isVoid = true;
    for (const onVoid of lease.watches) onVoid();
    lease.watches.clear();
    if (!isSettled) this.#end(lease, () => ({ state: 'gone' }));
  }

  /** Voids the lease of a key that is written. */
  write(key) {
    const lease = this.held.get(key);
    if (lease !== undefined) this.void(lease);
    this.errors.delete(key);
    this.resting.delete(key);
  }

  release(token) {
    const lease = this.leases.get(token);
    if (lease !== undefined) this.#end(lease, () => ({ state: 'gone' }));
  }
}

let names = 0;
const unique = () => {
  names += 1;
  return `store ${names}`;
};

class Process {
  near = undefined;
  isAlive = true;
  /** What calls reject with while the store cannot be reached. */
  failure = undefined;
  /** Claims that have looked up wait for this promise before they give what they found. */
  gate = undefined;
  /** How often each call was made. */
  calls = { claim: 0, settle: 0, release: 0, wait: 0 };
  #store;

  /** `readsEntries`: who waits is given the entry, as where it can be read. */
  constructor(store, namespace, copy, freezes, isSync, readsEntries) {
    this.#store = store;
    this.namespace = namespace;
    this.copier = copy;
    this.freezes = freezes;
    const call = async (name, run) => {
      this.calls[name] += 1;
      if (this.failure !== undefined) throw this.failure;
      const result = run();
      if (name === 'claim' && this.gate !== undefined) await this.gate;
      // The answer is on its way: what it has is from before.
      if (name === 'wait') {
        const ended = await result;
        if (this.gate !== undefined) await this.gate;
        return ended;
      }
      return result;
    };
    this.leases = {
      copier: copy,
      claim: (key, options) => call('claim', () => store.claim(this, key, options)),
      settle: (key, token, outcome) =>
        call('settle', () => store.settle(token, { ...outcome, give: copy(outcome.value) })),
      release: (key, token) => call('release', () => store.release(token)),
      wait: (key, token, timeout, told, reads) =>
        call('wait', () => {
          const lease = store.leases.get(token);
          if (lease === undefined) return { state: 'gone' };
          const one = { by: this, reads: reads && readsEntries };
          return new Promise((resolve) => lease.waiters.push({ ...one, resolve }));
        }),
      watch: (key, token, onVoid) => {
        const watches = store.leases.get(token)?.watches;
        watches?.add(onVoid);
        return () => watches?.delete(onVoid);
      },
      isHeld: (key, token) => {
        const isHeld = store.held.get(key)?.token === token;
        return isSync ? isHeld : Promise.resolve(isHeld);
      },
      isSurelyHeld: (key, token) => isSync && store.held.get(key)?.token === token,
      isAwaited: (key, token) =>
        (store.leases.get(token)?.waiters ?? []).some(({ by }) => by !== this && by.isAlive),
    };
  }

  count(loads, followers, errors, loadTime) {
    const { counts } = this.#store;
    counts.loads += loads;
    counts.followers += followers;
    counts.errors += errors;
    counts.loadTime += loadTime;
  }

  set(key, value, maxAge) {
    this.#store.write(key);
    this.#store.put(key, this.copier(value), maxAge);
  }

  del(key) {
    this.#store.write(key);
    this.#store.entries.delete(key);
  }

  /** What `get` gives: an entry past its age is none. */
  get(key) {
    const entry = this.#store.look(key);
    return entry?.isFresh ? entry.give() : undefined;
  }

  /** The process dies. */
  die() {
    this.isAlive = false;
    const { leases } = this.#store;
    for (const lease of leases.values()) {
      if (lease.owner === this) this.#store.release(lease.token);
    }
  }
}

module.exports = { LeaseStore };
