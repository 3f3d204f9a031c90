'use strict';

/**
 * The options of both classes. `readOptions` checks those of the Promise class: first the options of a cache, which
 * `checkOptions` of the addon passes to `src/options.rs`, then `timeout`, `serialization`, `parse` and `stringify` here. The
 * client of the instance throws the error in the primary, and rejects each call with it in a worker. `lruCacheOptions`
 * makes JSON of the options of `new LRUCache()`, which `createCache` of the addon checks.
 */

const { types } = require('util');
const { checkOptions } = require('./native/loader');
const { CODES, makeError } = require('./errors');

/** Milliseconds that a worker's call waits for its answer. */
const DEFAULT_TIMEOUT = 100;

/** The namespace of what the machines of a remote tier know: `lib/remote/machine.js`. It is none of the application. */
const OF_MACHINES = 'lru-cache-for-clusters-as-promised:remote';

/** The longest that a timer can wait, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Milliseconds that a call of an instance waits, as its `timeout` says now. */
function timeoutOf(instance) {
  const timeout = Number(instance.timeout);
  return timeout > 0 ? timeout : DEFAULT_TIMEOUT;
}

/** The options of a cache. `src/options.rs` checks their values. */
const CACHE_OPTIONS = ['max', 'maxSize', 'maxEntrySize', 'maxAge', 'stale', 'prune'];

/** The option of this package's own classes for the `max` of a cache that has no bound by then. */
const DEFAULT_MAX = Symbol('defaultMax');

/** JSON of a number, those included that JSON cannot write. `src/options.rs` reads both. */
function numberJson(number) {
  if (Object.is(number, -0)) return '{"n":"-0"}';
  return Number.isFinite(number) ? String(number) : `{"n":"${number}"}`;
}

/** JSON of an option's value, of any type: Rust checks it, and names it in the error. */
function optionJson(value) {
  switch (typeof value) {
    case 'number':
      return numberJson(value);
    case 'string':
    case 'boolean':
      return JSON.stringify(value);
    case 'undefined':
      return 'null';
    default:
      return value === null ? 'null' : JSON.stringify(Object.prototype.toString.call(value));
  }
}

/** An option's value in a message. */
const shown = (value) => (typeof value === 'number' ? String(value) : optionJson(value));

/** JSON of the options of a cache that `new LRUCache()` makes. */
function lruCacheOptions(options) {
  warnOfUnknown(options, LRU_CACHE_OPTIONS);
  const [read, error] = withOneName(options);
  if (error) throw error;
  return cacheOptionsJson({ ...read, prune: undefined });
}

/** Second names of options of a cache. */
const SECOND_NAMES = { ttl: 'maxAge', allowStale: 'stale' };

/** Options of a cache with second names replaced, and the error where both names are given and differ. */
function withOneName(options) {
  const read = { ...options };
  for (const [second, name] of Object.entries(SECOND_NAMES)) {
    const given = options[second] ?? undefined;
    if (given === undefined) continue;
    if ((options[name] ?? given) !== given) {
      return [read, invalid(`${name} and ${second} are two names of one option`)];
    }
    read[name] = given;
  }
  return [read, undefined];
}

/** JSON of the options that are given and that a cache has. */
function cacheOptionsJson(options) {
  const given = CACHE_OPTIONS.filter(
    (name) => options[name] !== undefined && options[name] !== null,
  );
  const json = (name) => optionJson(name === 'stale' ? Boolean(options.stale) : options[name]);
  const texts = given.map((name) => `"${name}":${json(name)}`);
  if (options[DEFAULT_MAX] > 0) texts.push(`"defaultMax":${options[DEFAULT_MAX]}`);
  return `{${texts.join(',')}}`;
}

/** How long another may not claim a lease, in milliseconds, where a caller does not say. */
const LEASE_TIMEOUT = 30_000;

/** What an option of `fetch` in milliseconds must be; 0 is none. */
const time = (value) =>
  (typeof value === 'number' && value >= 0) || 'a number of milliseconds from 0 on';

/** What each option of `fetch` must be that an instance may have, too. */
const FETCH_CHECKS = {
  fetchMethod: (value) => typeof value === 'function' || 'a function',
  staleWhileRevalidate: time,
  staleIfError: time,
  refreshAfter: time,
  refreshBackoff: time,
  negativeTtl: time,
  errorTtl: time,
  softTimeout: time,
  hardTimeout: time,
  leaseTimeout: (value) =>
    (typeof value === 'number' && value > 0) || 'a number of milliseconds above 0',
  onError: (value) => value === 'throw' || value === 'retry' || "'throw' or 'retry'",
};

/** The names of these options. */
const FETCH_DEFAULTS = Object.freeze(Object.keys(FETCH_CHECKS));

/** What is wrong with an option of `fetch`, as an error. */
function checkFetchOption(name, value) {
  const needs = FETCH_CHECKS[name](value);
  return needs === true ? undefined : invalid(`${name} must be ${needs}, got ${shown(value)}`);
}

/** The options of `fetch` that an instance is given; the first that is wrong as an error. */
function fetchDefaultsOf(options) {
  const defaults = {};
  for (const name of FETCH_DEFAULTS) {
    const value = options[name] ?? undefined;
    if (value === undefined) continue;
    const error = checkFetchOption(name, value);
    if (error) return [defaults, error];
    defaults[name] = value;
  }
  return [defaults, undefined];
}

/** The options that the class itself knows. */
const CLASS_OPTIONS = [
  'namespace',
  'timeout',
  'failsafe',
  'parse',
  'stringify',
  'serialization',
  'near',
  'freeze',
  'remote',
  ...CACHE_OPTIONS,
  ...Object.keys(SECOND_NAMES),
  ...FETCH_DEFAULTS,
];

/** The options that `new LRUCache()` knows. */
const LRU_CACHE_OPTIONS = [...CACHE_OPTIONS, ...Object.keys(SECOND_NAMES)].filter(
  (name) => name !== 'prune',
);

/** Names that other packages have for an option of ours. */
const SYNONYMS = { name: 'namespace', prefix: 'namespace' };

/** Options of lru-cache 6, on which the original was built, that this package does not have, and what to do instead. */
const NOT_HERE = {
  length: 'entries are counted by their bytes: use maxSize and maxEntrySize',
  dispose: 'no function is called for an entry that goes',
  noDisposeOnSet: 'there is no dispose',
  updateAgeOnGet: 'get never renews an age: set the value again',
};

/** What `failsafe` can be. */
const FAILSAFES = ['resolve', 'reject'];

/** What `failsafe` is. The original took anything that is not `'reject'` for `'resolve'`, so it is no error. */
function failsafeOf(failsafe) {
  if (FAILSAFES.includes(failsafe)) return failsafe;
  const shownAs = shown(failsafe);
  if (failsafe && !warned.has(`failsafe ${shownAs}`)) {
    warned.add(`failsafe ${shownAs}`);
    const like =
      typeof failsafe === 'string' ? `: did you mean '${nearest(failsafe, FAILSAFES)}'?` : '';
    process.emitWarning(
      `failsafe must be 'resolve' or 'reject', got ${shownAs}, which counts as 'resolve'${like}`,
      { type: 'LRUCacheWarning', code: 'LRU_CACHE_UNKNOWN_OPTION' },
    );
  }
  return 'resolve';
}

/** Names that a warning was written for: one each, however many instances are made. */
const warned = new Set();

/** Warns of options that have no effect. The original accepted any option, so they are no error. */
function warnOfUnknown(options, known) {
  for (const name of Object.keys(options)) {
    if (known.includes(name) || warned.has(name) || options[name] === undefined) continue;
    warned.add(name);
    const advice =
      (Object.hasOwn(NOT_HERE, name) && NOT_HERE[name]) ||
      `did you mean ${nearest(name, known)}? Known are ${known.join(', ')}`;
    process.emitWarning(`the option ${name} has no effect: ${advice}`, {
      type: 'LRUCacheWarning',
      code: 'LRU_CACHE_UNKNOWN_OPTION',
    });
  }
}

/** Checks the options of a call: an object or nothing, whose names are all known. */
function checkCallOptions(call, options, known) {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw makeError([
      'TypeError',
      `${call} takes options as an object, got ${shown(options)}`,
      CODES.INVALID_ARG_TYPE,
    ]);
  }
  checkNames(call, options, known);
  return options;
}

/** Checks that all options of a call have names that are known. */
function checkNames(call, options, known) {
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw makeError([
    'TypeError',
    `${call} has no option ${unknown}: did you mean ${nearest(unknown, known)}?`,
    CODES.INVALID_ARG_VALUE,
  ]);
}

/** The options of `hit`. */
const HIT_OPTIONS = ['amount', 'ifPresent', 'limit', 'whenOver'];

/** The options of `hit`, checked as far as their types decide. */
function hitOptions(given) {
  const options = checkCallOptions('hit', given, HIT_OPTIONS);
  if (options.whenOver === undefined || typeof options.limit === 'number') return options;
  throw invalid(`hit needs a limit with whenOver, got ${shown(options.limit)}`);
}

/** Checks what keys are to begin with: a string, or nothing. */
function prefixOf(call, prefix) {
  if (prefix === undefined || prefix === null || typeof prefix === 'string') return prefix;
  throw makeError([
    'TypeError',
    `${call} needs a string as the prefix, got ${shown(prefix)}`,
    CODES.INVALID_ARG_TYPE,
  ]);
}

/** Whether an argument is options. As in 1.x, what is none is ignored where a call of 1.x took nothing. */
const isOptions = (given) => typeof given === 'object' && given !== null;

/** The prefix in the options of a call that lists entries. */
function prefixOption(call, given) {
  return prefixOf(call, checkCallOptions(call, given, ['prefix']).prefix);
}

/** The options of `scan`. */
const SCAN_OPTIONS = ['prefix', 'cursor', 'count'];

/** The options of `scan`, checked as far as their types decide. */
function scanOptions(given) {
  const { prefix, cursor, count } = checkCallOptions('scan', given, SCAN_OPTIONS);
  const isText = cursor === undefined || cursor === null || typeof cursor === 'string';
  // Rust refuses every text that is no cursor.
  return { prefix: prefixOf('scan', prefix), cursor: isText ? cursor : '', count };
}

/** The elements of any iterable but a string. */
function listOf(call, list, what = 'keys') {
  if (Array.isArray(list)) return Array.from(list);
  const isText = typeof list === 'string' || types.isStringObject(list);
  if (!isText && typeof list?.[Symbol.iterator] === 'function') return Array.from(list);
  throw makeError([
    'TypeError',
    `${call} needs an iterable of ${what}, got ${shown(list)}`,
    CODES.INVALID_ARG_TYPE,
  ]);
}

/** The entries `[key, value, options?]` of any iterable but a string. */
function entryList(call, entries) {
  const list = listOf(call, entries, 'entries [key, value, options?]');
  const wrong = list.findIndex((entry) => !Array.isArray(entry));
  if (wrong < 0) return list;
  throw makeError([
    'TypeError',
    `${call} needs entries [key, value, options?], got ${shown(list[wrong])}`,
    CODES.INVALID_ARG_TYPE,
  ]);
}

/** The options of a call that changes the age of an entry. */
const AGE_OPTIONS = ['maxAge', 'ttl', 'noUpdateTTL'];

/** The options of a call that stores an entry. */
const SET_OPTIONS = [...AGE_OPTIONS, 'tags'];

/** The most tags of an entry and of a call, and the most characters of a tag; as in `src/extras.rs`. */
const MOST_TAGS = 128;
const LONGEST_TAG = 1024;

/**
 * A list of tags, each once: of a string, or of any iterable of strings.
 *
 * @param {string} call
 * @param {any} given
 * @returns {string[]}
 */
function tagList(call, given) {
  const list = typeof given === 'string' ? [given] : listOf(call, given, 'tags');
  const wrong = list.findIndex((tag) => typeof tag !== 'string');
  if (wrong >= 0) {
    throw makeError([
      'TypeError',
      `${call}: a tag must be a string, got ${shown(list[wrong])}`,
      CODES.INVALID_ARG_TYPE,
    ]);
  }
  const long = list.find((tag) => tag.length > LONGEST_TAG);
  if (long !== undefined) {
    throw invalid(
      `${call}: a tag must have at most ${LONGEST_TAG} characters, got one of ${long.length}`,
    );
  }
  // Well-formed Unicode, as Rust keeps it: a lone surrogate becomes U+FFFD.
  const tags = Array.from(new Set(list.map((tag) => Buffer.from(tag).toString())));
  if (tags.length <= MOST_TAGS) return tags;
  throw invalid(`${call}: at most ${MOST_TAGS} tags are possible, got ${tags.length}`);
}

/** Checks an age in the options of a call. */
function checkAge(age) {
  if (typeof age === 'number' && age >= 0) return;
  throw invalid(`maxAge must be a number of milliseconds from 0 on, got ${shown(age)}`);
}

/** Checks that a call is given one age, though by both of its names. */
function checkOneAge(maxAge, ttl) {
  if (maxAge === undefined || ttl === undefined || maxAge === ttl) return;
  throw invalid('maxAge and ttl are two names of one option');
}

/**
 * What a call is given as an age: the age, whether that of an entry that is there runs on, and the tags of the entry. A number
 * is as in 1.x. In options 0 is the cache's age; `undefined`: not given.
 *
 * @param {string} call
 * @param {any} age
 * @param {string[]} [known] the options of the call
 * @returns {[maxAge: any, keepsAge: boolean | undefined, tags: string[] | undefined]}
 */
function ageOf(call, age, known = SET_OPTIONS) {
  if (typeof age !== 'object' || age === null) return [age, undefined, undefined];
  const { maxAge, ttl, noUpdateTTL, tags } = checkCallOptions(call, age, known);
  const given = maxAge ?? ttl;
  checkOneAge(maxAge, ttl);
  if (given !== undefined) checkAge(given);
  if (noUpdateTTL !== undefined && typeof noUpdateTTL !== 'boolean') {
    throw invalid(`noUpdateTTL must be true or false, got ${shown(noUpdateTTL)}`);
  }
  const list = tags === undefined || tags === null ? undefined : tagList(call, tags);
  return [given, noUpdateTTL, list];
}

/** Terms of one entry as JSON, for Rust; `undefined` where there is nothing to say. */
function termsJson(keepsAge, tags) {
  if (tags === undefined || tags.length === 0) return keepsAge ? 'true' : undefined;
  return JSON.stringify({ keeps: keepsAge === true, tags });
}

/** As `termsJson`, of entries. @param {Ages} ages */
function allTermsJson({ keeps, tags, own }) {
  return keeps || tags || own ? JSON.stringify({ keeps, tags, own }) : undefined;
}

/**
 * The ages of entries `[key, value, own?]`, and that of the call: `ages` and `keeps` have an element for each entry, where any
 * has one. An element `undefined` of `ages`: that of the call. So it is with `tags` of the call and `own` tags; an element
 * `null` of `own`: those of the call.
 *
 * @typedef {{ maxAge: any, ages?: any[], keeps?: boolean[], tags?: string[], own?: (string[] | null)[] }} Ages
 * @returns {Ages}
 */
function agesOf(call, entries, common) {
  const [maxAge, keepsAll = false, tags] = ageOf(call, common);
  const own = entries.map((entry) => ageOf(call, entry[2] || undefined));
  const keeps = own.map(([, keepsAge = keepsAll]) => keepsAge);
  return {
    maxAge,
    ages: own.some(([age]) => age !== undefined) ? own.map(([age]) => age) : undefined,
    keeps: keeps.includes(true) ? keeps : undefined,
    tags,
    own: own.some(([, , tags]) => tags !== undefined)
      ? own.map(([, , tags]) => tags ?? null)
      : undefined,
  };
}

/** The name among `names` that is most like this one. */
function nearest(name, names) {
  if (Object.hasOwn(SYNONYMS, name) && names.includes(SYNONYMS[name])) return SYNONYMS[name];
  const distances = names.map((known) => distance(name.toLowerCase(), known.toLowerCase()));
  return names[distances.indexOf(Math.min(...distances))];
}

/** How many characters have to be added, removed or replaced to make one text of another (Levenshtein's distance). */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < a.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j += 1) {
      const replaced = row[j] + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  return row[b.length];
}

function invalid(message) {
  return makeError(['TypeError', message, CODES.INVALID_ARG_VALUE]);
}

/** Whether a value says how many bytes near reads may have: `undefined` and `true` leave it to the package. */
function isNear(near) {
  return near === undefined || typeof near === 'boolean' || (typeof near === 'number' && near >= 0);
}

/**
 * Options of the class, with their defaults. Options that are wrong leave an `error`; it is for the caller to
 * throw it or to reject with it.
 */
function readOptions(given) {
  const options = given ?? {};
  warnOfUnknown(options, CLASS_OPTIONS);
  const [ofCache, twoNames] = withOneName(options);
  const [ofFetch, wrongFetch] = fetchDefaultsOf(options);
  const read = {
    // Well-formed Unicode, as Rust keeps it: a lone surrogate becomes U+FFFD.
    namespace: Buffer.from(String(options.namespace || 'default')).toString(),
    timeout: options.timeout || DEFAULT_TIMEOUT,
    failsafe: failsafeOf(options.failsafe),
    parse: options.parse || JSON.parse,
    stringify: options.stringify || JSON.stringify,
    serialization: options.serialization,
    near: options.near ?? undefined,
    freeze: options.freeze ?? false,
    /** Those of `fetch`. */
    ofFetch,
    /** Those of the cache, as JSON. */
    cacheOptions: cacheOptionsJson(ofCache),
    error: undefined,
  };
  const wrong = checkOptions(read.cacheOptions);
  if (twoNames) {
    read.error = twoNames;
  } else if (wrong) {
    read.error = makeError(wrong);
  } else if (!(Number(read.timeout) > 0)) {
    read.error = invalid(
      `timeout must be a number of milliseconds above 0, got ${optionJson(options.timeout)}`,
    );
  } else if (!['json', 'advanced', undefined, null].includes(read.serialization)) {
    read.error = invalid(
      `serialization must be 'json' or 'advanced', got ${optionJson(read.serialization)}`,
    );
  } else if (wrongFetch) {
    read.error = wrongFetch;
  } else if (typeof read.freeze !== 'boolean') {
    read.error = invalid(`freeze must be true or false, got ${shown(read.freeze)}`);
  } else if (!isNear(read.near)) {
    read.error = invalid(
      `near must be a number of bytes from 0 on, or false, got ${shown(read.near)}`,
    );
  } else {
    for (const name of ['parse', 'stringify']) {
      if (typeof read[name] !== 'function') {
        read.error = invalid(`${name} must be a function, got ${optionJson(read[name])}`);
      }
    }
  }
  return read;
}

module.exports = {
  AGE_OPTIONS,
  DEFAULT_MAX,
  ageOf,
  agesOf,
  allTermsJson,
  entryList,
  hitOptions,
  isOptions,
  listOf,
  prefixOf,
  prefixOption,
  scanOptions,
  DEFAULT_TIMEOUT,
  FETCH_DEFAULTS,
  LEASE_TIMEOUT,
  LONGEST_TIMER,
  OF_MACHINES,
  checkAge,
  checkFetchOption,
  checkNames,
  checkOneAge,
  invalid,
  shown,
  timeoutOf,
  numberJson,
  optionJson,
  tagList,
  termsJson,
  lruCacheOptions,
  readOptions,
};
