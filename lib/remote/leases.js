'use strict';

/**
 * The leases of an instance with a remote tier, for `fetch`: one loader of a key runs on all machines.
 *
 * A process that has the lease of its machine asks the server. There the right to load is a placeholder beside the entry, with an
 * owner. The owner has a key of its own that says that it lives, for all its placeholders. Every write of the entry removes the
 * placeholder in the same step, and a value is stored by a script only while the placeholder is there: so a value that was overtaken
 * by a write is not stored.
 *
 * Where another machine has the right, the process keeps the lease of its own machine and waits for all that wait there. What is
 * told of the placeholder ends a lease in the namespace of the machine, which wakes it; and it asks every half second.
 */

const { randomBytes, randomUUID } = require('crypto');
const { CODES } = require('../errors');
const { LEASE_TIMEOUT } = require('../options');
const clock = require('./clock');
const { decodeEntry, keyText } = require('./format');
const { placeholderKey } = require('./machine');
const { CLAIM, LEAVE, SETTLE } = require('./scripts');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setTimeout } = globalThis;

/** This process, among the owners of placeholders. */
const OWNER = randomUUID();

/** How long an owner lives without a sign of life, and how often it gives one, in milliseconds. */
const LIFE = 3000;
const SIGN = 1000;

/** Milliseconds after which a process that waits for another machine asks again. */
const ASK = 500;

/** How long an outcome that is not stored is left for other machines, in milliseconds, and how many bytes it may have. */
const LEFT = 5000;
const MOST_BYTES = 65_536;

/** How often a claim is made again whose key was written meanwhile. */
const MOST_CLAIMS = 3;

const GONE = Object.freeze({ state: 'gone' });

const nothing = () => {};

/** Replies of `CLAIM`. */
const RIGHT = 0;
const ENTRY = 1;
const HELD = 2;

/** Reply of `SETTLE`: a tag was invalidated since the claim. */
const OUTDATED = 2;

class RemoteLeases {
  #tier;
  #leases;
  /** By token of the lease here: the right of the server, and when it was given. */
  #rights = new Map();
  /** By right: how the server is told that it was given up, which could not be told before. */
  #owed = new Map();
  /** By token of the lease here: the end of the wait for another machine. */
  #waits = new Map();
  #isClosed = false;
  #timer;

  /** @param {any} tier @param {any} leases those of the first tier */
  constructor(tier, leases) {
    this.#tier = tier;
    this.#leases = leases;
  }

  async claim(key, options = {}) {
    const tier = this.#tier;
    const due = performance.now() + tier.timeout;
    await tier.inTime(tier.registered, due);
    // Before the first connection the right could not be had, as if the server were away.
    await tier.connected;
    for (let times = 1; ; times += 1) {
      if (!tier.machine.isCurrent()) await tier.inTime(tier.machine.look(), due);
      const claim = await this.#leases.claim(key, options);
      if (claim.state !== 'leased') return claim;
      try {
        const answer = await this.#ask(key, claim, options, times >= MOST_CLAIMS);
        if (answer !== undefined) return answer;
      } catch (error) {
        // Nobody is to wait for a lease that is not used.
        await this.#leases.release(key, claim.token).catch(nothing);
        throw error;
      }
    }
  }

  /** The lease of this machine is there: asks the server. `undefined`: the key was written meanwhile. */
  async #ask(
    key,
    { token, stale },
    { fresh: isFresh = false, leaseTimeout = LEASE_TIMEOUT },
    isLast,
  ) {
    const tier = this.#tier;
    let fresh = isFresh;
    const leased = { state: 'leased', token, ...(stale && { stale }) };
    const since = clock.now();
    let state;
    let reply;
    const right = randomBytes(8).toString('hex');
    const ends = performance.now() + leaseTimeout;
    let isAsked = false;
    try {
      const due = performance.now() + tier.timeout;
      state = await tier.inTime(tier.machine.look(tier.marksOf(key)), due);
      if (state.marked) return leased;
      isAsked = tier.machine.port.isReady;
      reply = await this.#claimThere(key, { right, leaseTimeout, fresh });
      if (reply[0] === ENTRY && !decodeEntry(reply[1])?.isReadable) {
        // What was stored by a newer version, say, is loaded anew.
        fresh = true;
        reply = await this.#claimThere(key, { right, leaseTimeout, fresh });
      }
    } catch (error) {
      if (error?.code === CODES.INVALID_ARG_TYPE) throw error;
      // The server may have given the right.
      if (isAsked) this.#leave(key, { right, ends }, '');
      // The server is away. A cache never fails a fetch: the loader runs.
      return leased;
    }
    const [what] = reply;
    if (what === RIGHT) {
      this.#rights.set(token, { right, ends, state, at: String(reply[1]) });
      this.#giveSigns();
      return leased;
    }
    if (what === HELD) {
      this.#waits.set(token, this.#await(key, token, String(reply[1]), { leaseTimeout, fresh }));
      return { ...leased, state: 'held' };
    }
    const found = await this.#found(reply, since);
    if (found === undefined) return leased;
    const isOn = tier.machine.mayStore(state);
    if (!(await this.#keep(key, token, found, isOn)) && !isLast) return undefined;
    const { value, setAt, left, isEndless } = found;
    return { state: 'hit', value, setAt, expires: isEndless ? Infinity : Date.now() + left };
  }

  async #found([, bytes, left], since) {
    const entry = decodeEntry(bytes);
    if (!entry?.isReadable) return undefined;
    const { reader } = this.#tier;
    if (entry.tags.length > 0 && (await reader.isEndedHere(entry.tags))) return undefined;
    return { ...entry, left, since, isHeld: false };
  }

  /**
   * Stores an entry of the server here, or leaves it for those who wait. `false`: the lease does not hold, or a tag was invalidated meanwhile,
   * and nothing of the key lies here.
   */
  async #keep(key, token, found, isOn) {
    if (!isOn) {
      const tags = this.#tier.reader.tagsOf(found);
      const outcome = { kind: 'unstored', value: found.value, tags };
      const { isOutdated } = await this.#leases.settle(key, token, outcome);
      return isOutdated !== true;
    }
    if (await this.#tier.reader.store(key, token, found)) return true;
    await this.#tier.forget([key]);
    return found.isHeld;
  }

  /** Runs the script. `looks`: without taking the right. */
  #claimThere(key, { right, leaseTimeout, fresh, awaited = '', looks = false }) {
    const { names } = this.#tier;
    const keys = [names.entry(key), names.placeholder(key), names.owners + OWNER];
    return this.#tier.run(CLAIM, keys, [
      names.owners,
      OWNER,
      right,
      String(Math.min(Math.max(Math.ceil(leaseTimeout), 1), 2 ** 31)),
      String(LIFE),
      awaited,
      fresh ? '1' : '0',
      looks ? '1' : '0',
    ]);
  }

  /** Waits for another machine, with the lease of this one. Resolves as `wait` does. */
  async #await(key, token, first, options) {
    try {
      const ended = await this.#awaitThere(key, token, first, options);
      // Whoever waits here claims anew.
      if (ended === GONE) await this.#leases.release(key, token);
      return ended;
    } catch {
      // The server is away, or the store.
      await this.#leases.release(key, token).catch(nothing);
      return GONE;
    } finally {
      this.#waits.delete(token);
    }
  }

  async #awaitThere(key, token, first, { leaseTimeout, fresh }) {
    const tier = this.#tier;
    const { client, id } = tier.machine;
    const wakeKey = placeholderKey(id, tier.namespace, keyText(key));
    let awaited = first;
    for (;;) {
      const wake = await client.leases.claim(wakeKey, { fresh: true, leaseTimeout: 4 * ASK });
      try {
        const since = clock.now();
        const state = await tier.machine.look();
        // With `fresh` an entry that is there is no end of the wait.
        const how = { right: '', leaseTimeout, fresh, awaited, looks: true };
        const reply = await this.#claimThere(key, how);
        const [what] = reply;
        if (what === RIGHT) return GONE;
        if (what === ENTRY) {
          const found = await this.#found(reply, since);
          const isOn = tier.machine.mayStore(state);
          if (found === undefined || !(await this.#keep(key, token, found, isOn))) return GONE;
          return isOn ? { state: 'settled' } : { state: 'unstored', value: found.value };
        }
        if (what !== HELD) return await this.#takeOutcome(key, token, reply[1]);
        awaited = String(reply[1]);
        if (this.#isClosed || !(await this.#leases.isHeld(key, token))) return GONE;
        await this.#untilTold(key, token, wakeKey, wake);
        if (!(await this.#leases.isHeld(key, token))) return GONE;
      } finally {
        if (wake.state === 'leased') client.leases.release(wakeKey, wake.token).catch(nothing);
      }
    }
  }

  /** Resolves when the placeholder has changed, or the lease of this machine is void, or it is time to ask. */
  #untilTold(key, token, wakeKey, wake) {
    const { client } = this.#tier.machine;
    return new Promise((resolve) => {
      const ends = [];
      const end = () => {
        clearTimeout(timer);
        for (const one of ends) one();
        resolve(undefined);
      };
      const timer = setTimeout(end, ASK);
      if (wake.state === 'leased') ends.push(client.leases.watch(wakeKey, wake.token, end));
      ends.push(this.#leases.watch(key, token, end));
    });
  }

  /** What a loader of another machine has left, which is not stored. */
  async #takeOutcome(key, token, bytes) {
    const rest = bytes.subarray(1);
    if (bytes[0] === 0x45) {
      const error = rest.toString();
      await this.#leases.settle(key, token, { kind: 'error', error });
      return { state: 'error', error };
    }
    const entry = decodeEntry(rest);
    if (!entry?.isReadable) return GONE;
    const { value } = entry;
    await this.#leases.settle(key, token, { kind: 'unstored', value });
    return { state: 'unstored', value };
  }

  async settle(key, token, outcome) {
    try {
      return await this.#settle(key, token, outcome);
    } catch (error) {
      // The value has no form for the server, say. Who waits claims anew.
      await this.release(key, token).catch(nothing);
      throw error;
    }
  }

  async #settle(key, token, outcome) {
    const there = this.#rights.get(token);
    if (there === undefined) return this.#settleHere(key, token, outcome);
    const tier = this.#tier;
    const { names, encoder } = tier;
    if (outcome.kind !== 'value') {
      const isError = outcome.kind === 'error';
      const left = isError ? `E${outcome.error}` : encoder.unstored(outcome.value);
      this.#rights.delete(token);
      this.#leave(key, there, left);
      return this.#leases.settle(key, token, outcome);
    }
    const { right, state, at } = there;
    const { value, maxAge, tags, grace } = outcome;
    const age = encoder.age(maxAge);
    const args = encoder.entry(value, age, false, tags);
    this.#rights.delete(token);
    const since = performance.now();
    let isStored;
    try {
      const stored = [randomBytes(16), ...args, `L${OWNER}${right}`, at];
      isStored = await tier.run(SETTLE, [names.entry(key), names.placeholder(key)], stored);
    } catch {
      this.#leave(key, there, '');
      return this.#settleHere(key, token, outcome);
    }
    if (isStored === OUTDATED) {
      // Who waits may have come after the invalidation: nothing is left.
      await this.#leases.release(key, token);
      return { stored: false, isOutdated: true };
    }
    const left = age.px - (performance.now() - since);
    // As after a read: what the server tells of this very change removes it, and the next read fetches it. Where a write has overtaken it, who
    // waited before that gets it all the same.
    const mayStore = isStored === 1 && left > 0 && tier.machine.mayStore(state);
    const kind = mayStore ? 'value' : 'unstored';
    const ended = { kind, value, maxAge: left, tags, grace };
    const { isOutdated } = await this.#leases.settle(key, token, ended);
    return { stored: isStored === 1, isOutdated };
  }

  /** The server is away: what was loaded is kept here alone, where the instance goes on with the first tier. */
  async #settleHere(key, token, outcome) {
    if (outcome.kind !== 'value') return this.#leases.settle(key, token, outcome);
    if (this.#tier.rejects) {
      const { value, tags } = outcome;
      return this.#leases.settle(key, token, { kind: 'unstored', value, tags });
    }
    await this.#tier.markChanged('e', [keyText(key)]);
    // Where the mark is worked off before that, the lease is void.
    return this.#leases.settle(key, token, outcome);
  }

  /**
   * Gives the right of the server up. Where it cannot be told it is told later: others would wait for it as long as this process lives.
   *
   * @param {any} key
   * @param {{ right: string, ends: number }} of the right, and when it ends by itself
   * @param {string | Buffer} left what is left for those who wait
   */
  #leave(key, { right, ends }, left) {
    const { names } = this.#tier;
    const tell = (outcome) => {
      const args = [`L${OWNER}${right}`, outcome, String(LEFT)];
      this.#tier.run(LEAVE, [names.placeholder(key)], args).catch(() => {
        if (this.#isClosed) return;
        // Who waits by then may have come after the load: nothing is left for them.
        this.#owed.set(right, { ends, tell: () => tell('') });
        this.#giveSigns();
      });
    };
    tell(left.length > MOST_BYTES ? '' : left);
  }

  async release(key, token) {
    const there = this.#rights.get(token);
    this.#rights.delete(token);
    if (there !== undefined) this.#leave(key, there, '');
    await this.#leases.release(key, token);
  }

  async wait(key, token, timeout = Infinity) {
    const waiting = this.#waits.get(token);
    if (waiting === undefined) return this.#leases.wait(key, token, timeout);
    if (timeout === Infinity) return waiting;
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(() => resolve({ state: 'timeout' }), timeout);
    });
    const ended = await Promise.race([waiting, late]);
    clearTimeout(timer);
    return ended;
  }

  watch(key, token, onVoid) {
    return this.#leases.watch(key, token, onVoid);
  }

  isHeld(key, token) {
    return this.#leases.isHeld(key, token);
  }

  isSurelyHeld(key, token) {
    return this.#leases.isSurelyHeld(key, token);
  }

  isAwaited(key, token) {
    return this.#leases.isAwaited(key, token);
  }

  copier(value) {
    return this.#leases.copier(value);
  }

  async close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#rights.clear();
    await this.#leases.close();
  }

  /** Says that this process lives, while it has rights, and what could not be told before. */
  #giveSigns() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#isClosed) return;
      const { port } = this.#tier.machine;
      for (const [right, { ends, tell }] of this.#owed) {
        const isOver = performance.now() > ends;
        if (!isOver && !port.isReady) continue;
        this.#owed.delete(right);
        if (!isOver) tell();
      }
      if (this.#rights.size > 0) {
        const key = this.#tier.names.owners + OWNER;
        port.send(['SET', key, '1', 'PX', String(LIFE)]).catch(nothing);
      }
      if (this.#rights.size > 0 || this.#owed.size > 0) this.#giveSigns();
    }, SIGN).unref();
  }
}

module.exports = { RemoteLeases };
