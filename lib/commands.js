'use strict';

/**
 * Every command, once. A row has:
 *
 * | field           | meaning                                                                                        |
 * | --------------- | ---------------------------------------------------------------------------------------------- |
 * | `local`         | runs the command on a cache of this process                                                    |
 * | `encode`        | gives the text of the arguments; `advanced` says whether values travel as structured clones    |
 * | `decode`        | reads the answer: its kind, its payload, the arguments of the call                             |
 * | `keyed`         | the first argument is a key                                                                    |
 * | `keysOf`        | lists the keys that a call concerns, by its first argument. Without it, or where it gives `undefined`, the call concerns the whole cache |
 * | `reads`         | the command changes no entry                                                                   |
 * | `direct: false` | a worker always encodes the call, even where the call runs in this process                     |
 * | `visits`        | the command calls a function for each entry                                                    |
 * | `snapshot`      | copies the first argument, which the caller may change before the call runs                    |
 * | `inPrimary`     | the call runs in the primary alone                                                             |
 * | `unanswered`    | what a call without an answer gives under `failsafe: 'resolve'`, by its first argument; `REJECTS`: it rejects |
 * | `creates`       | the command makes a cache                                                                      |
 * | `destroys`      | the command destroys the namespace                                                             |
 *
 * No row of `commands` has `name`: the loop behind the rows adds it, and takes `reads` from `READS` and `keysOf` from
 * `KEYS_OF` or `keyed` where a row does not have them.
 */

const { types } = require('util');
const {
  NOTHING,
  encodeKey,
  encodeKeys,
  decodeKey,
  encodeValue,
  decodeValue,
} = require('./transport/envelope');
const { CODES, REJECTS, makeError } = require('./errors');
const { KIND } = require('./kinds');
const { define } = require('./define');
const { sharedKey } = require('./store/copies');
const { bulk } = require('./store/lru-cache');
const {
  AGE_OPTIONS,
  ageOf,
  agesOf,
  allTermsJson,
  entryList,
  hitOptions,
  isOptions,
  listOf,
  numberJson,
  optionJson,
  prefixOf,
  prefixOption,
  scanOptions,
  tagList,
  termsJson,
} = require('./options');
const { statsOf } = require('./stats');

const nothing = () => undefined;
const plain = (kind, payload) => payload;
const noArguments = () => '';
const oneKey = (advanced, key) => encodeKey(key);

/** JSON of an age. Falsy values count as none. The primary refuses what is no number. */
const age = (maxAge) => (maxAge ? optionJson(maxAge) : 'null');

/** JSON of the arguments that an age, or options, become: the age, and terms where there are any. */
function ageArguments(call, given, known) {
  const [maxAge, keepsAge, tags] = ageOf(call, given, known);
  const terms = termsJson(keepsAge, tags);
  return terms === undefined ? age(maxAge) : `${age(maxAge)},${terms}`;
}

/** JSON of the arguments that the ages and tags of entries become. @param {import('./options').Ages} given */
function agesArguments(given) {
  const { maxAge, ages } = given;
  const list = ages && `[${ages.map((own) => (own === 0 ? '0' : age(own))).join(',')}]`;
  const terms = allTermsJson(given);
  if (terms !== undefined) return `${age(maxAge)},${list ?? '[]'},${terms}`;
  return list ? `${age(maxAge)},${list}` : age(maxAge);
}

/** The amount of a counter. As in 1.x, falsy values but 0 count as 1, and text is read as a number. */
function amountOf(amount) {
  if (amount === 0) return 0;
  if (!amount || amount === true) return 1;
  return typeof amount === 'string' && Number.isFinite(Number(amount)) ? Number(amount) : amount;
}

/** Whether pairs can be read from it: any object, an array too. */
const isObject = (pairs) =>
  (typeof pairs === 'object' && pairs !== null) || typeof pairs === 'function';

/** Whether an element of an array is a pair, or a pair with an age of its own. */
const isPair = (pair) => Array.isArray(pair) && (pair.length === 2 || pair.length === 3);

/**
 * The entries that `mSet` is given, each `[key, value]` or `[key, value, maxAge]`: those of a `Map` or of an array of
 * pairs, or else the own enumerable properties of an object, an array too; none where it is neither.
 */
function entriesOf(pairs) {
  if (types.isMap(pairs)) return Array.from(pairs);
  if (Array.isArray(pairs) && pairs.every(isPair)) return pairs;
  return isObject(pairs) ? Object.entries(pairs) : [];
}

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

/** A time of an entry. JSON has no form for a time without end. */
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
        CODES.INVALID_ARG_TYPE,
      ]);
    },
    decode: nothing,
  };
}

/**
 * A command on a list of keys, which gives something of each.
 *
 * @type {(name: string, unanswered?: any) => object}
 */
const onMany = (name, unanswered = REJECTS) => ({
  unanswered,
  local: (cache, keys) => cache[name](keys),
  snapshot: (keys) => listOf(name, keys),
  encode: (advanced, keys) => encodeKeys(listOf(name, keys)),
  decode: (kind, payload) => decodeValues(payload),
});

/** JSON of a prefix or a cursor, which travel as keys do. */
const textJson = (text) => (text === undefined || text === null ? 'null' : encodeKey(text));

/** JSON of the options of `scan`. */
function scanJson(options) {
  const { prefix, cursor, count } = scanOptions(options);
  return `${textJson(prefix)},${textJson(cursor)},${optionJson(count)}`;
}

/** Keys and values of an answer, and the cursor that ends the answer of a part of a scan. */
function decodeEntries(payload) {
  const entries = [];
  const end = payload.length - (payload.length % 3);
  for (let at = 0; at < end; at += 3) {
    entries.push([decodeKey(payload[at]), decodeListed(payload[at + 1], payload[at + 2])]);
  }
  return { entries, cursor: end < payload.length ? decodeValue(...payload.slice(end)) : undefined };
}

const commands = {
  __proto__: null,

  setIfAbsent: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key, value, options) => cache.setIfAbsent(key, value, options),
    encode: (advanced, key, value, options) =>
      `${encodeKey(key)},${encodeValue(value, advanced)},${ageArguments('setIfAbsent', options)}`,
    decode: plain,
  },
  getEntry: {
    keyed: true,
    unanswered: nothing,
    local: (cache, key) => cache.getEntry(key),
    encode: oneKey,
    decode(kind, payload) {
      if (payload === null) return undefined;
      const [valueKind, value, version, setAt, expires, ...tags] = payload;
      return {
        value: decodeValue(valueKind, value),
        version,
        setAt,
        expires: unbounded(expires),
        tags: decodeValues(tags),
      };
    },
  },
  compareAndSet: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key, version, value, options) =>
      cache.compareAndSet(key, version, value, options),
    encode(advanced, key, version, value, options) {
      const stored = `${encodeValue(value, advanced)},${ageArguments('compareAndSet', options)}`;
      return `${encodeKey(key)},${optionJson(version)},${stored}`;
    },
    decode: (kind, payload) => payload === true,
  },
  compareAndDelete: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key, version) => cache.compareAndDelete(key, version),
    encode: (advanced, key, version) => `${encodeKey(key)},${optionJson(version)}`,
    decode: plain,
  },
  getAndDelete: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key) => cache.getAndDelete(key),
    encode: oneKey,
    decode: decodeValue,
  },
  touch: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key, maxAge) => cache.touch(key, maxAge),
    encode: (advanced, key, maxAge) =>
      `${encodeKey(key)},${ageArguments('touch', maxAge, AGE_OPTIONS)}`,
    decode: plain,
  },
  getRemainingTTL: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key) => cache.getRemainingTTL(key),
    encode: oneKey,
    decode: decodeValue,
  },
  hit: {
    keyed: true,
    unanswered: REJECTS,
    local: (cache, key, window, options) => cache.hit(key, window, options),
    encode(advanced, key, window, options) {
      const { amount, ifPresent, limit, whenOver } = hitOptions(options);
      const numbers = `${optionJson(window)},${optionJson(amount)}`;
      const over = `${optionJson(limit)},${optionJson(whenOver)}`;
      return `${encodeKey(key)},${numbers},${ifPresent === true},${over}`;
    },
    decode: (kind, [count, resetIn, , first]) => ({
      count: unbounded(count),
      resetIn: unbounded(resetIn),
      first,
    }),
  },
  getMany: onMany('getMany', (keys) => Array.from(keys, () => undefined)),
  hasMany: onMany('hasMany'),
  deleteMany: onMany('deleteMany'),
  deletePrefix: {
    unanswered: REJECTS,
    local: (cache, prefix) => cache.deletePrefix(prefix),
    encode: (advanced, prefix) => textJson(prefixOf('deletePrefix', prefix)),
    decode: plain,
  },
  scan: {
    unanswered: REJECTS,
    local: (cache, options) => cache.scan(options),
    encode: (advanced, options) => scanJson(options),
    decode: (kind, payload) => ({
      keys: payload.slice(0, -2).map(decodeKey),
      cursor: decodeValue(payload.at(-2), payload.at(-1)),
    }),
  },
  entries: {
    unanswered: REJECTS,
    local: (cache, options) => cache.entries(options),
    encode: (advanced, options) => textJson(prefixOption('entries', options)),
    decode: (kind, payload) => decodeEntries(payload).entries,
  },
  setMany: {
    unanswered: REJECTS,
    local: (cache, entries, options) => cache.setMany(entries, options),
    snapshot: (entries) => entryList('setMany', entries),
    encode(advanced, entries, options) {
      const list = entryList('setMany', entries);
      const texts = list.map(([key, value]) => `${encodeKey(key)},${encodeValue(value, advanced)}`);
      return `[${texts.join(',')}],${agesArguments(agesOf('setMany', list, options))}`;
    },
    decode: (kind, payload) => decodeValues(payload),
  },

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
      `${encodeKey(key)},${encodeValue(value, advanced)},${ageArguments('set', maxAge)}`,
    decode: plain,
  },
  del: { keyed: true, local: (cache, key) => cache.del(key), encode: oneKey, decode: nothing },

  incr: {
    keyed: true,
    local: (cache, key, amount, maxAge) => bulk.incr(cache, 'incr', key, amountOf(amount), maxAge),
    encode: (advanced, key, amount, maxAge) =>
      `${encodeKey(key)},${optionJson(amountOf(amount))},${ageArguments('incr', maxAge)}`,
    decode: decodeValue,
  },
  decr: {
    keyed: true,
    local(cache, key, amount, maxAge) {
      const by = amountOf(amount);
      return bulk.incr(cache, 'decr', key, by, maxAge);
    },
    encode: (advanced, key, amount, maxAge) =>
      `${encodeKey(key)},${optionJson(amountOf(amount))},${ageArguments('decr', maxAge)}`,
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
      const entries = entriesOf(pairs);
      const keys = entries.map(([key]) => key);
      const values = entries.map(([, value]) => value);
      if (isObject(pairs)) bulk.setMany(cache, keys, values, agesOf('mSet', entries, maxAge));
      return true;
    },
    encode(advanced, pairs, maxAge) {
      const texts = [];
      const stored = [];
      for (const entry of entriesOf(pairs)) {
        const [key, value] = entry;
        // JSON leaves out of an object what it has no form for.
        if (value === undefined && !advanced) continue;
        const encoded = encodeValue(value, advanced, NOTHING);
        if (encoded === NOTHING) continue;
        texts.push(encodeKey(key), encoded);
        stored.push(entry);
      }
      const ages = isObject(pairs) ? agesArguments(agesOf('mSet', stored, maxAge)) : 'null';
      return `[${texts.join(',')}],${ages}`;
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
  invalidateTags: {
    unanswered: REJECTS,
    local: (cache, tags) => cache.invalidateTags(tags),
    snapshot: (tags) => tagList('invalidateTags', tags),
    encode: (advanced, tags) => JSON.stringify(tagList('invalidateTags', tags)),
    decode: nothing,
  },
  prune: { local: (cache) => cache.prune(), encode: noArguments, decode: nothing },
  keys: {
    unanswered: (options) => (isOptions(options) ? REJECTS : undefined),
    local: (cache, options) => cache.keys(options),
    encode: (advanced, options) =>
      isOptions(options) ? `true,${textJson(prefixOption('keys', options))}` : '',
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
          CODES.INVALID_ARG_TYPE,
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

  stats: {
    unanswered: REJECTS,
    local: (cache) => cache.stats(),
    encode: noArguments,
    decode: (kind, payload) => statsOf(payload),
  },
};

/** The commands that change no entry. Such a call can be dropped when its caller no longer waits. */
const READS = [
  'get',
  'peek',
  'has',
  'getRemainingTTL',
  'getEntry',
  'getMany',
  'hasMany',
  'scan',
  'entries',
  'mGet',
  'keys',
  'values',
  'dump',
  'length',
  'itemCount',
  'stats',
];

const keysOfList = (keys) => (Array.isArray(keys) ? Array.from(keys, sharedKey) : []);

/** The keys that a call concerns, from its first argument, for commands without `keyed`. */
const KEYS_OF = {
  getMany: keysOfList,
  hasMany: keysOfList,
  deleteMany: keysOfList,
  mGet: keysOfList,
  mDel: keysOfList,
  mSet: (pairs) => entriesOf(pairs).map(([key]) => sharedKey(key)),
  setMany: (entries) =>
    Array.isArray(entries) ? entries.map(([key]) => sharedKey(key)) : undefined,
};

/**
 * A command. Each has all fields, in one order: V8 reads a field faster where the objects that it sees have one form.
 *
 * @param {any} row
 * @returns {any}
 */
function commandOf(row) {
  const { name, wire, local, encode, decode, keyed, keysOf, reads, direct, visits } = row;
  const { snapshot, inPrimary, unanswered, creates, destroys } = row;
  const call = { name, wire, local, encode, decode, keyed, keysOf, reads, direct, visits };
  return { ...call, snapshot, inPrimary, unanswered, creates, destroys };
}

/**
 * A command that differs from another one.
 *
 * @param {any} command
 * @param {object} changes
 */
const varied = (command, changes) => commandOf({ ...command, ...changes });

for (const name of Object.keys(commands)) {
  const command = commands[name];
  const keysOf = command.keyed ? (key) => [sharedKey(key)] : KEYS_OF[name];
  commands[name] = commandOf({ name, keysOf, reads: READS.includes(name), ...command });
}

/** `getEntry` for `update`: without an answer it is not known that there is no entry. */
const GET_TO_UPDATE = varied(commands.getEntry, { unanswered: REJECTS });

/** `compareAndSet` for `update`: `false` where another change came between alone. */
const SET_TO_UPDATE = varied(commands.compareAndSet, {
  local: (cache, key, version, value, options) =>
    bulk.compareAndSet(cache, key, version, value, options),
  decode: plain,
});

/** A part of a scan with the values, for iteration. */
const SCAN_ENTRIES = varied(commands.scan, {
  local: (cache, options) => bulk.scanEntries(cache, options),
  encode: (advanced, options) => `${scanJson(options)},true`,
  decode: (kind, payload) => decodeEntries(payload),
});

/** `del` of 2.x: whether there was an entry. One key is a list of one. */
const DELETE = varied(commands.deleteMany, {
  unanswered: nothing,
  local: (cache, [key]) => cache.deleteMany([key])[0],
  decode: (kind, payload) => decodeValues(payload)[0],
});

/** `mDel` of 2.x. */
const DELETE_MANY = varied(commands.deleteMany, { unanswered: nothing });

/** `prune` of 2.x: whether an entry was removed. */
const PURGE_STALE = varied(commands.prune, { local: bulk.command('prune'), decode: plain });

/** Makes the cache of a namespace, or changes its options. The class has no such member. */
const CREATE = commandOf({
  name: 'open',
  creates: true,
  // Without keys, the command goes before calls on keys that are in flight, and stops no direct call.
  keysOf: () => [],
  /** `options` and `ticket` are JSON. `ticket` is that of the segment there is, or `true` where one is wanted. */
  encode: (advanced, options, ticket) => (ticket === undefined ? options : `${options},${ticket}`),
  decode: nothing,
});

/** Counts what `fetch` did: loads, followers, errors, microseconds. The class has no such member. */
const COUNT_FETCHES = commandOf({
  name: 'countFetches',
  unanswered: nothing,
  // No call waits for it, and it waits for none.
  keysOf: () => [],
  reads: true,
  local: bulk.command('countFetches'),
  encode: (advanced, ...counts) => counts.join(','),
  decode: nothing,
});

/** Destroys a namespace, in the primary or, where siblings have it, here. The clients know how. */
const DESTROY = commandOf({
  name: 'destroy',
  destroys: true,
  unanswered: REJECTS,
  encode: noArguments,
  decode: plain,
});

/**
 * Runs a command on a cache of this process. Both clients make their direct calls through this function. Near reads are
 * asked before, in the class.
 */
function runHere(command, cache, a, b, c, d) {
  return command.local(cache, a, b, c, d);
}

/**
 * The arguments of a call that may be made more than once: an iterable gives its elements once.
 *
 * @param {any} command
 * @param {any[]} args
 */
function snapshotOf(command, args) {
  return command.snapshot ? [command.snapshot(args[0]), ...args.slice(1)] : args;
}

/**
 * The call of `execute(name, ...args)` in a worker. The primary decides what is called: a function that the
 * application put on the cache under this name, or else the command. So the arguments travel in both forms.
 */
function executeCommand(name) {
  const builtIn = commands[name];
  return commandOf({
    name: String(name),
    wire: 'execute',
    inPrimary: true,
    unanswered:
      typeof builtIn?.unanswered === 'function'
        ? (args) => builtIn.unanswered(args[0])
        : builtIn?.unanswered,
    snapshot(args) {
      try {
        return builtIn === undefined ? args : snapshotOf(builtIn, args);
      } catch {
        // Arguments for a function of the application. If there is none, `encode` finds what is wrong with them.
        return args;
      }
    },
    encode(advanced, args) {
      const parts = [JSON.stringify(String(name)), encodeArguments(advanced, args)];
      if (builtIn) {
        const encoded = encodeOrRefuse(builtIn, advanced, args);
        if (encoded !== '') parts.push(encoded);
      }
      return parts.join(',');
    },
    decode(kind, payload, args) {
      if (kind === KIND.OWN) return decodeValue(payload[0], payload[1]);
      return builtIn.decode(kind, payload, args[0]);
    },
  });
}

/** Arguments for a function of the application, as values in a list; `null` where one of them has no form. */
function encodeArguments(advanced, args) {
  try {
    return `[${args.map((value) => encodeValue(value, advanced)).join(',')}]`;
  } catch {
    return 'null';
  }
}

/**
 * JSON of the arguments of a command, or a record of the error in them: the primary rejects with that error if there is no
 * function of the application under the name.
 */
function encodeOrRefuse(command, advanced, args) {
  try {
    return command.encode(advanced, ...args);
  } catch (error) {
    const { name, message, code = '' } = Object(error);
    return JSON.stringify({ refused: [String(name), String(message), String(code)] });
  }
}

module.exports = {
  COUNT_FETCHES,
  CREATE,
  DELETE,
  DELETE_MANY,
  DESTROY,
  GET_TO_UPDATE,
  PURGE_STALE,
  SCAN_ENTRIES,
  SET_TO_UPDATE,
  amountOf,
  commandOf,
  commands,
  entriesOf,
  executeCommand,
  runHere,
  snapshotOf,
  varied,
};
