'use strict';

/** What each call of an instance with a remote tier does, by the name of its command. A call without a row is the first tier's alone. */

const { DELETE: DELETE_ONE, amountOf, entriesOf } = require('../commands');
const { define } = require('../define');
const {
  AGE_OPTIONS,
  agesOf,
  ageOf: ageArgument,
  hitOptions,
  invalid,
  prefixOf,
  shown,
} = require('../options');
const { numberArgument, wrong } = require('./arguments');
const { away } = require('./clients/port');
const { decodeEntry, encodeHead, numberText, tagText, versionBytes } = require('./format');
const scripts = require('./scripts');
const { randomBytes } = require('crypto');

// Kept, because test suites replace the globals by timers that stand still.
const { performance } = globalThis;

const nothing = () => {};

/** A Promise of what a function gives or throws. */
async function settled(run) {
  return run();
}

/** A write of one script on one key, which the first tier can make alone. `prepare` reads the arguments, and gives what asks the server. */
const onKey =
  (prepare) =>
  (tier, command, key, ...args) =>
    settled(() => {
      const remote = prepare(tier, key, ...args);
      const local = () => tier.local.call(command, key, ...args);
      return tier.writer.write(command, [key], remote, local);
    });

/**
 * As `onKey`, of a call on a version. The server and the first tier have versions of their own: one of the server fits nothing here, and one of here
 * nothing there. `ask` gives what asks the server for a version that it can have.
 */
const onVersion = (call, ask) =>
  onKey((tier, key, version, ...args) => {
    const { rejects, machine } = tier;
    numberArgument(call, version);
    const expected = version === 0 ? Buffer.alloc(0) : versionBytes(version);
    const asked = ask(tier, key, expected, ...args);
    return async () => {
      const isHere = !rejects && (await machine.look(tier.marksOf(key))).marked;
      if (isHere) throw away('the entry was changed while the server was away');
      if (version === 0 || expected.length > 0) return asked();
      if (!machine.port.isReady) throw away('there is no connection');
      return false;
    };
  });

function ageAndTags(tier, call, given) {
  const [maxAge, keepsAge, tags] = ageArgument(call, given);
  return [tier.encoder.age(maxAge), keepsAge === true, tags];
}

/** The arguments of a script that stores one entry. */
function stored(tier, call, value, given) {
  const [age, keepsAge, tags] = ageAndTags(tier, call, given);
  return [randomBytes(16), ...tier.encoder.entry(value, age, keepsAge, tags)];
}

const counter = (sign, call) =>
  onKey((tier, key, amount, given) => {
    const by = sign * numberArgument(call, amountOf(amount));
    const [maxAge, keeps, tags] = ageArgument(call, given);
    if (tags !== undefined) throw invalid(`${call}: with remote a counter has no tags`);
    const age = tier.encoder.age(maxAge);
    const keepsAge = keeps === true || Boolean(maxAge);
    return async () => {
      const args = [encodeHead('n', age), numberText(by), String(age.px), keepsAge ? '1' : '0'];
      return Number(String(await tier.run(scripts.INCREMENT, tier.keysOf([key]), args)));
    };
  });

/** The entry that the server has of a key, for calls that ask for more than the value. */
async function entryOf(tier, key) {
  return tier.reader.get(tier.names.entry(key), performance.now() + tier.timeout);
}

const CALLS = {
  __proto__: null,

  // ---- reads

  get: (tier, command, key) => tier.reader.readAny(key),
  has: async (tier, command, key) => {
    if (await tier.reader.here(command, key)) return true;
    // A value `undefined` counts as none.
    return (await tier.reader.read(key)) !== undefined;
  },
  getMany: (tier, command, keys) => tier.reader.readMany(keys),
  hasMany: async (tier, command, keys) =>
    (await tier.reader.readMany(keys)).map((value) => value !== undefined),
  mGet: async (tier, command, keys) => {
    const list = Array.isArray(keys) ? Array.from(keys) : [];
    const values = await tier.reader.readMany(list);
    const pairs = {};
    for (const [at, value] of values.entries()) {
      if (value !== undefined) define(pairs, list[at] ?? null, value);
    }
    return pairs;
  },
  getEntry: async (tier, command, key) => {
    await tier.connected;
    const marks = tier.marksOf(key);
    try {
      const { marked } = await tier.machine.look(marks);
      if (marked) return tier.local.call(command, key);
      const found = await entryOf(tier, key);
      await tier.forget([key]);
      if (found === undefined) return undefined;
      const { value, version, setAt, left, isEndless, tags } = found;
      const expires = isEndless ? Infinity : Date.now() + left;
      return { value, version, setAt, expires, tags: tags.map((tag) => tag.name) };
    } catch (error) {
      tier.failed('getEntry', error);
      return tier.local.call(command, key);
    }
  },
  getRemainingTTL: async (tier, command, key) => {
    await tier.connected;
    const marks = tier.marksOf(key);
    try {
      const { isOn, marked } = await tier.machine.look(marks);
      if (marked || (!isOn && !tier.machine.port.isReady)) return tier.local.call(command, key);
      const found = await entryOf(tier, key);
      if (found === undefined) return 0;
      return found.isEndless ? Infinity : found.left;
    } catch (error) {
      tier.failed('getRemainingTTL', error);
      return tier.local.call(command, key);
    }
  },

  // ---- writes of one entry

  set: onKey((tier, key, value, given) => {
    const keys = tier.keysOf([key]);
    const args = stored(tier, 'set', value, given);
    return async () => {
      await tier.run(scripts.SET, keys, args);
      return true;
    };
  }),
  setIfAbsent: onKey((tier, key, value, given) => {
    const args = stored(tier, 'setIfAbsent', value, given);
    return async () => (await tier.run(scripts.SET_IF_ABSENT, tier.keysOf([key]), args)) === 1;
  }),
  compareAndSet: onVersion('compareAndSet', (tier, key, expected, value, given) => {
    const args = [...stored(tier, 'compareAndSet', value, given), expected];
    return async () => (await tier.run(scripts.COMPARE_AND_SET, tier.keysOf([key]), args)) === 1;
  }),
  compareAndDelete: onVersion(
    'compareAndDelete',
    (tier, key, expected) => async () =>
      (await tier.run(scripts.COMPARE_AND_DELETE, tier.keysOf([key]), [expected])) === 1,
  ),
  getAndDelete: onKey((tier, key) => async () => {
    const bytes = await tier.run(scripts.GET_AND_DELETE, tier.keysOf([key]), []);
    return decodeEntry(bytes)?.value;
  }),
  touch: onKey((tier, key, given) => {
    const [maxAge, keepsAge] = ageArgument('touch', given, AGE_OPTIONS);
    const age = tier.encoder.age(maxAge);
    if (keepsAge) return async () => (await entryOf(tier, key)) !== undefined;
    const px = maxAge ? String(age.px) : '';
    const args = [px, encodeHead('n', age), String(tier.encoder.age().px)];
    return async () => (await tier.run(scripts.TOUCH, tier.keysOf([key]), args)) === 1;
  }),
  del: (tier, command, key) => tier.writer.removeAll(command, [key], nothing),

  // ---- counters

  incr: counter(1, 'incr'),
  decr: counter(-1, 'decr'),
  hit: onKey((tier, key, window, options) => {
    const { amount = 1, ifPresent = false, limit, whenOver } = hitOptions(options);
    if (!(numberArgument('hit', window) > 0)) {
      throw wrong(`hit needs a window above 0, got ${shown(window)}`);
    }
    if (!Number.isFinite(numberArgument('hit', amount))) {
      throw wrong(`hit needs a finite amount, got ${shown(amount)}`);
    }
    if (limit !== undefined) numberArgument('hit', limit);
    const isKnown = [undefined, 'restart', 'double'].includes(whenOver) || whenOver > 0;
    if (!isKnown) {
      throw wrong(
        `hit: whenOver must be 'restart', 'double' or milliseconds, got ${shown(whenOver)}`,
      );
    }
    const args = [
      encodeHead('n', tier.encoder.age(window)),
      numberText(amount),
      window === Infinity ? 'inf' : String(window),
      ifPresent === true ? '1' : '0',
      limit === undefined ? '' : numberText(limit),
      whenOver === undefined ? '' : String(whenOver),
      String(tier.encoder.age(Infinity).px),
    ];
    return async () => {
      const [count, left, first] = await tier.run(scripts.HIT, tier.keysOf([key]), args);
      return { count: Number(String(count)), resetIn: Number(String(left)), first: first === 1 };
    };
  }),

  // ---- writes of many entries

  deleteMany: (tier, command, keys) => {
    const result = command === DELETE_ONE ? ([isThere]) => isThere : (there) => there;
    return tier.writer.removeAll(command, Array.from(keys), result);
  },
  mDel: (tier, command, keys) =>
    tier.writer.removeAll(command, Array.isArray(keys) ? Array.from(keys) : [], () => true),
  mSet: (tier, command, pairs, maxAge) =>
    settled(() => {
      const entries = entriesOf(pairs);
      const encoded = tier.encoder.entries(entries, agesOf('mSet', entries, maxAge));
      if (entries.length === 0) return true;
      const local = () => tier.local.call(command, pairs, maxAge);
      return tier.writer.setAll(command, encoded, true, local);
    }),
  setMany: (tier, command, entries, options) =>
    settled(() => {
      const encoded = tier.encoder.entries(entries, agesOf('setMany', entries, options));
      if (entries.length === 0) return [];
      const local = () => tier.local.call(command, entries, options);
      const result = encoded.map(() => true);
      return tier.writer.setAll(command, encoded, result, local);
    }),
  invalidateTags: async (tier, command, tags) => {
    await tier.connected;
    if (tags.length === 0) return undefined;
    try {
      const names = tags.map((tag) => tier.names.tag(tag));
      await tier.run(scripts.UNTAG, names, [randomBytes(16)]);
    } catch (error) {
      tier.failed('invalidateTags', error);
      await tier.markChanged('t', tags.map(tagText));
    }
    return tier.local.call(command, tags);
  },
  reset: (tier, command) => tier.writer.clear(command),
  deletePrefix: async (tier, command, prefix) => {
    const text = prefixOf('deletePrefix', prefix);
    return text ? tier.writer.removePrefix(text) : tier.local.call(command, prefix);
  },

  // ---- the rest

  healthCheck: async (tier, command) => {
    const done = await tier.local.call(command);
    // Where calls go on without the server, the cache is well without it.
    if (tier.rejects) {
      await tier.connected;
      await tier.ping();
    }
    return done;
  },
  maxAge: async (tier, command, maxAge) => {
    const now = await tier.local.call(command, maxAge);
    tier.encoder.maxAge = now;
    return now;
  },
  load: async () => {
    throw invalid('load is not possible with remote: set the entries');
  },
};

/** Calls that ask the server many times. Each question has `timeout`. */
const IN_PARTS = ['mSet', 'setMany', 'deleteMany', 'mDel', 'deletePrefix', 'reset'];

module.exports = { CALLS, IN_PARTS };
