'use strict';

/**
 * Every command of the 1.x API, once: what it does on a cache of this process (`local`), and how it travels
 * as a message (`encode` gives the text of its arguments, `decode` reads the answer).
 *
 * `keyed` says that the first argument is a key. `direct: false` says that a worker cannot make the call on the
 * store itself: it is encoded even where no message is sent.
 * `visits` says that it calls back for each entry.
 * `keysOf` lists the keys that a call concerns, by its first argument; without it, or where it gives `undefined`,
 * that is the whole cache. `reads` says that the command changes no entry.
 * `snapshot`, where there is one, copies the first argument, which the caller may change meanwhile.
 * `encode` gets `advanced` first: whether values travel as structured clones. `decode` gets the kind and the
 * payload of the answer, and the arguments of the call.
 */

const { types } = require('util');
const {
  KIND,
  NOTHING,
  encodeKey,
  encodeKeys,
  decodeKey,
  encodeValue,
  decodeValue,
} = require('./codec');
const { makeError } = require('./errors');
const { define } = require('./define');
const { bulk, sharedKey } = require('./lru-cache');
const { numberJson, optionJson } = require('./options');

const nothing = () => undefined;
const plain = (kind, payload) => payload;
const noArguments = () => '';
const oneKey = (advanced, key) => encodeKey(key);

/** An age as an argument; what is no number is left to the primary to refuse. Falsy values count as none. */
const age = (maxAge) => (maxAge ? optionJson(maxAge) : 'null');

/** The amount of a counter: falsy values but 0 count as 1 and numbers as text are read, as in 1.x. */
function amountOf(amount) {
  if (amount === 0) return 0;
  if (!amount || amount === true) return 1;
  return typeof amount === 'string' && Number.isFinite(Number(amount)) ? Number(amount) : amount;
}

/** Whether pairs can be read from it: any object, an array too. */
const isObject = (pairs) =>
  (typeof pairs === 'object' && pairs !== null) || typeof pairs === 'function';

/** One value of a list: one that cannot be read (a damaged clone) is `undefined`, and hides no other. */
function decodeListed(kind, payload) {
  try {
    return decodeValue(kind, payload);
  } catch {
    return undefined;
  }
}

/** Values of an answer: kind and payload in turn. */
function decodeValues(list) {
  return Array.from({ length: list.length / 2 }, (_, index) =>
    decodeListed(list[2 * index], list[2 * index + 1]),
  );
}

/** A time of an entry, which JSON has no form for when it is without end. */
const unbounded = (time) => time ?? Infinity;

/** Whether a setting is given a value: as in 1.x nothing, `NaN` and the empty string are none. */
const isGiven = (value) =>
  value !== undefined && value !== null && value !== '' && !Number.isNaN(value);

/** Reads or changes a number among the cache's settings; a call without a value changes nothing. */
function numberSetting(property) {
  const isNumber = (value) => isGiven(value) && value !== false;
  return {
    local(cache, value) {
      if (isNumber(value)) cache[property] = value;
      return cache[property];
    },
    encode: (advanced, value) => (isNumber(value) ? optionJson(value) : 'null'),
    decode: decodeValue,
  };
}

/** Reads or changes whether stale entries are returned. */
const staleSetting = {
  local(cache, value) {
    if (isGiven(value)) cache.allowStale = value;
    return cache.allowStale;
  },
  encode: (advanced, value) => (isGiven(value) ? String(Boolean(value)) : 'null'),
  decode: decodeValue,
};

/** Reads a number of entries. */
const count = {
  local: (cache) => cache.length,
  encode: noArguments,
  decode: plain,
};

/** A command that needs a function, which no message can carry. */
function visitor(name) {
  return {
    direct: false,
    visits: true,
    local: (cache, fn, thisp) => cache[name](fn, thisp),
    encode() {
      throw makeError([
        'TypeError',
        `${name} calls a function, which cannot be sent to the primary: use dump() there`,
        'ERR_INVALID_ARG_TYPE',
      ]);
    },
    decode: nothing,
  };
}

const commands = {
  __proto__: null,

  get: { keyed: true, local: (cache, key) => cache.get(key), encode: oneKey, decode: decodeValue },
  peek: {
    keyed: true,
    local: (cache, key) => cache.peek(key),
    encode: oneKey,
    decode: decodeValue,
  },
  has: { keyed: true, local: (cache, key) => cache.has(key), encode: oneKey, decode: plain },
  set: {
    keyed: true,
    local: (cache, key, value, maxAge) => cache.set(key, value, maxAge),
    encode: (advanced, key, value, maxAge) =>
      `${encodeKey(key)},${encodeValue(value, advanced)},${age(maxAge)}`,
    decode: plain,
  },
  del: { keyed: true, local: (cache, key) => cache.del(key), encode: oneKey, decode: nothing },

  incr: {
    keyed: true,
    local: (cache, key, amount, maxAge) => bulk.incr(cache, key, amountOf(amount), maxAge || 0),
    encode: (advanced, key, amount, maxAge) =>
      `${encodeKey(key)},${optionJson(amountOf(amount))},${age(maxAge)}`,
    decode: decodeValue,
  },
  decr: {
    keyed: true,
    local(cache, key, amount, maxAge) {
      const by = amountOf(amount);
      return bulk.incr(cache, key, typeof by === 'number' ? -by : by, maxAge || 0);
    },
    encode: (advanced, key, amount, maxAge) =>
      `${encodeKey(key)},${optionJson(amountOf(amount))},${age(maxAge)}`,
    decode: decodeValue,
  },

  mGet: {
    local: (cache, keys) => (Array.isArray(keys) ? bulk.getMany(cache, keys) : {}),
    // The answer has the values alone, in the order of the keys: these are kept until then.
    snapshot: (keys) => (Array.isArray(keys) ? Array.from(keys) : []),
    encode: (advanced, keys) => encodeKeys(keys),
    decode(kind, payload, keys) {
      const pairs = {};
      for (let at = 0; at < payload.length; at += 2) {
        if (payload[at] !== KIND.MISS) {
          // `undefined` has travelled as `null`, and is the same key.
          define(pairs, keys[at / 2] ?? null, decodeListed(payload[at], payload[at + 1]));
        }
      }
      return pairs;
    },
  },
  mSet: {
    local(cache, pairs, maxAge) {
      if (isObject(pairs)) bulk.setMany(cache, Object.keys(pairs), Object.values(pairs), maxAge);
      return true;
    },
    encode(advanced, pairs, maxAge) {
      const entries = isObject(pairs) ? Object.entries(pairs) : [];
      // JSON leaves out of an object what it has no form for.
      const text = entries
        .filter(([, value]) => advanced || value !== undefined)
        .map(([key, value]) => [encodeKey(key), encodeValue(value, advanced, NOTHING)])
        .filter(([, value]) => value !== NOTHING);
      return `[${text.join(',')}],${isObject(pairs) ? age(maxAge) : 'null'}`;
    },
    decode: plain,
  },
  mDel: {
    local(cache, keys) {
      if (Array.isArray(keys)) bulk.delMany(cache, keys);
      return true;
    },
    encode: (advanced, keys) => encodeKeys(keys),
    decode: plain,
  },

  reset: { local: (cache) => cache.reset(), encode: noArguments, decode: nothing },
  prune: { local: (cache) => cache.prune(), encode: noArguments, decode: nothing },
  keys: {
    local: (cache) => cache.keys(),
    encode: noArguments,
    decode: (kind, payload) => payload.map(decodeKey),
  },
  values: {
    local: (cache) => cache.values(),
    encode: noArguments,
    decode: (kind, payload) => decodeValues(payload),
  },
  dump: {
    local: (cache) => cache.dump(),
    encode: noArguments,
    decode(kind, payload) {
      const entries = [];
      for (let at = 0; at < payload.length; at += 4) {
        const v = decodeListed(payload[at + 1], payload[at + 2]);
        entries.push({ k: decodeKey(payload[at]), v, e: unbounded(payload[at + 3]) });
      }
      return entries;
    },
  },
  load: {
    direct: false,
    local: (cache, entries) => cache.load(entries),
    encode(advanced, entries) {
      if (!Array.isArray(entries)) {
        throw makeError([
          'TypeError',
          `load needs an array of entries as dump() gives them, got ${optionJson(entries)}`,
          'ERR_INVALID_ARG_TYPE',
        ]);
      }
      const text = Array.from(
        entries,
        ({ k, v, e }) =>
          `${encodeKey(k)},${encodeValue(v, advanced)},${numberJson(Number(e) || 0)}`,
      );
      return `[${text.join(',')}]`;
    },
    decode: nothing,
  },
  pop: {
    local: (cache) => cache.pop(),
    encode: noArguments,
    decode(kind, payload) {
      if (payload === null) return null;
      const [key, valueKind, value, now, maxAge] = payload;
      return {
        key: decodeKey(key),
        value: decodeValue(valueKind, value),
        length: 1,
        now,
        maxAge: unbounded(maxAge),
      };
    },
  },
  forEach: visitor('forEach'),
  rforEach: visitor('rforEach'),

  length: count,
  itemCount: count,
  max: numberSetting('max'),
  maxSize: numberSetting('maxSize'),
  maxAge: numberSetting('maxAge'),
  allowStale: staleSetting,
  stale: staleSetting,
};

/** The commands that change no entry: nobody misses one whose caller waits no more. */
const READS = ['get', 'peek', 'has', 'mGet', 'keys', 'values', 'dump', 'length', 'itemCount'];

const keysOfList = (keys) => (Array.isArray(keys) ? Array.from(keys, sharedKey) : []);

/** What a command's first argument says of the keys it concerns. */
const KEYS_OF = {
  mGet: keysOfList,
  mDel: keysOfList,
  // Lists and maps may be read as pairs.
  mSet: (pairs) =>
    isObject(pairs) && !Array.isArray(pairs) && !types.isMap(pairs)
      ? Object.keys(pairs)
      : undefined,
};

for (const name of Object.keys(commands)) {
  const command = commands[name];
  const keysOf = command.keyed ? (key) => [sharedKey(key)] : KEYS_OF[name];
  commands[name] = { name, keysOf, reads: READS.includes(name), ...command };
}

module.exports = { commands, isObject };
