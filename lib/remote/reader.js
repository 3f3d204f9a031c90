'use strict';

/**
 * Reads of an instance with a remote tier: what the first tier does not have is read from the server, under a lease of the key.
 *
 * What a caller is given from the server is either what the first tier has by then, or the first tier has nothing of the key when the
 * caller gets it. So no process of the machine reads something older from the first tier afterwards.
 */

const { commands, varied } = require('../commands');
const clock = require('./clock');
const { decodeEntry, tagText } = require('./format');

// Kept, because test suites replace the globals by timers that stand still.
const { performance } = globalThis;

/** Milliseconds that a read has the lease of a key. */
const LEASE = 5000;

/** Milliseconds that a read waits for another one of its key, at most: a loader of `fetch` may have the lease for long. */
const PATIENCE = 25;

/** How often a read is made again whose key was written meanwhile. */
const MOST_READS = 3;

const MISSED = Symbol('missed');

/** @type {any} */
const decodeGet = commands.get.decode;

const nothing = () => {};

/** A list, say, that others keep under the name of an entry is no entry. */
function ofOtherType(error) {
  if (String(error?.message).startsWith('WRONGTYPE')) return null;
  throw error;
}

class Reader {
  #tier;

  /** @param {any} tier */
  constructor(tier) {
    this.#tier = tier;
  }

  /** `get` of the first tier, which goes on where there is nothing. @type {any} */
  getCommand = varied(commands.get, {
    local: (cache, key) => {
      const value = cache.get(key);
      return value === undefined ? this.read(key) : value;
    },
    // By IPC.
    decode: (kind, payload, key) => {
      const value = decodeGet(kind, payload);
      return value === undefined ? this.read(key) : value;
    },
  });

  /** Reads a key, whatever lies here. */
  async readAny(key) {
    const found = await this.here(commands.get, key);
    return found === undefined ? this.read(key) : found;
  }

  /** Reads keys: first those that lie here, in one call. */
  async readMany(keys) {
    const values = await this.here(commands.getMany, keys);
    const read = (value, at) => (value === undefined ? this.read(keys[at]) : value);
    return Promise.all(Array.from(values, read));
  }

  /** What the first tier has, where that counts. Where nothing is stored that comes from the server, that is what was set here alone. */
  async here(command, argument) {
    const { machine, local } = this.#tier;
    if (!machine.isCurrent()) await machine.look();
    return local.call(command, argument);
  }

  /** Reads a key that the first tier does not have. @returns {Promise<any>} */
  async read(key) {
    const tier = this.#tier;
    try {
      const due = performance.now() + tier.timeout;
      // The first tier may keep it waiting, too: by IPC the primary may be blocked.
      const value = await tier.inTime(this.#read(key, due), due + tier.timeout);
      if (value === MISSED) {
        tier.counts.misses += 1;
        return undefined;
      }
      return value;
    } catch (error) {
      return tier.failed('get', error);
    }
  }

  async #read(key, due) {
    const tier = this.#tier;
    const { leases } = tier.local;
    const name = tier.names.entry(key);
    await tier.inTime(tier.registered, due);
    for (let times = 1; ; times += 1) {
      const claim = await leases.claim(key, { fresh: true, leaseTimeout: LEASE });
      if (claim.state === 'held') {
        const patience = Math.min(PATIENCE, due - performance.now());
        const ended = await leases.wait(key, claim.token, patience);
        // What the other one leaves was read before the key was written, or is no matter of a read.
        if (ended.state !== 'timeout') {
          const value = await this.here(commands.get, key);
          if (value !== undefined) return value;
          if (times < MOST_READS) continue;
        }
        return this.#readPast(key, name, due);
      }
      if (claim.state !== 'leased') return this.#readPast(key, name, due);
      const { token } = claim;
      let isSettled = false;
      try {
        const { isOn, found } = await this.#ask(key, name, due);
        if (found === undefined) return MISSED;
        if (!isOn) return found.value;
        isSettled = true;
        const isStored = await this.store(key, token, found);
        if (isStored) return this.#copyOf(found.value);
        if (times >= MOST_READS || found.isHeld) {
          await tier.forget([key]);
          return found.value;
        }
      } finally {
        if (!isSettled) await leases.release(key, token).catch(nothing);
      }
    }
  }

  /** Reads without a lease: what lies here of the key goes before the value is given. */
  async #readPast(key, name, due) {
    const { found } = await this.#ask(key, name, due);
    if (found === undefined) return MISSED;
    await this.#tier.forget([key]);
    return found.value;
  }

  /** What the server has of a key that was not changed here alone, and whether it may be stored here. */
  async #ask(key, name, due) {
    const tier = this.#tier;
    const state = await tier.machine.look(tier.marksOf(key));
    const found = state.marked ? undefined : await this.get(name, due);
    const isOn = tier.machine.mayStore(state);
    // A value that cannot be read is none; its entry is there for writes.
    if (!found?.isReadable) return { isOn, found: undefined };
    tier.counts.hits += 1;
    return { isOn, found };
  }

  /** What a later read of the first tier gives: frozen, where the instance wants that. */
  #copyOf(value) {
    const { freezes, local } = this.#tier;
    if (!freezes || typeof value !== 'object' || value === null) return value;
    return local.leases.copier(value)();
  }

  /** Stores what the server gave, if the lease still holds. `found.isHeld`: it held just before, so the value itself was refused. */
  async store(key, token, found) {
    const tier = this.#tier;
    const { leases } = tier.local;
    // What has no age stays until the server tells that it is gone.
    const maxAge = found.isEndless
      ? tier.encoder.endless
      : found.left - (clock.now() - found.since);
    if (maxAge !== undefined && maxAge <= 0) {
      await leases.release(key, token);
      await tier.forget([key]);
      return true;
    }
    const isHeld = leases.isSurelyHeld(key, token);
    const outcome = { kind: 'value', value: found.value, maxAge, tags: this.tagsOf(found) };
    const { stored } = await leases.settle(key, token, outcome);
    found.isHeld = !stored && isHeld;
    return stored;
  }

  /** The tags of an entry, as the first tier takes them. */
  tagsOf({ tags }) {
    return tags.length > 0 ? tags.map(({ name }) => name) : undefined;
  }

  /** The entry that the server has under a name; `undefined` where there is none, or a tag of it was invalidated. */
  async get(name, due) {
    const tier = this.#tier;
    const { port } = tier.machine;
    const since = clock.now();
    const asked = Promise.all([
      port.send(['GET', name]).catch(ofOtherType),
      port.send(['PTTL', name]),
    ]);
    const [bytes, left] = await tier.inTime(asked, due);
    const entry = decodeEntry(bytes);
    if (entry === undefined || left === -2) return undefined;
    const { tags } = entry;
    if (tags.length > 0) {
      const keys = tags.map((tag) => tier.names.tag(tag.name));
      const stamps = await tier.inTime(port.send(['MGET', ...keys]), due);
      if (!tags.every(({ stamp }, at) => stamps[at]?.equals(stamp))) return undefined;
      if (await this.isEndedHere(tags)) return undefined;
    }
    return { ...entry, left: left < 0 ? tier.encoder.ttl : left, since, isHeld: false };
  }

  /** Whether a tag was invalidated here while the server was away, which does not know of it yet. */
  async isEndedHere(tags) {
    const { machine, namespace } = this.#tier;
    const marks = tags.map(({ name }) => machine.mark('t', namespace, tagText(name)));
    return (await machine.look(marks)).marked;
  }
}

module.exports = { Reader };
