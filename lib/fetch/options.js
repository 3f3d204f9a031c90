'use strict';

/** The options of one `fetch`: their names, their values, and how they go before those of the instance. */

const { CODES, makeError } = require('../errors');
const {
  FETCH_DEFAULTS,
  checkAge,
  checkFetchOption,
  checkNames,
  checkOneAge,
  invalid,
  shown,
  tagList,
} = require('../options');

/** Names of options of a call. Those of `FETCH_DEFAULTS` are options of the instance, too. */
const CALL_OPTIONS = Object.freeze([
  ...FETCH_DEFAULTS.filter((name) => name !== 'fetchMethod'),
  'ttl',
  'maxAge',
  'tags',
  'forceRefresh',
  'signal',
  'status',
  'context',
]);

const KNOWN = new Set(CALL_OPTIONS);

/** Whether all names are known. It is asked at each call with options, so it makes nothing. */
function hasKnownNames(options) {
  for (const name in options) if (!KNOWN.has(name)) return false;
  return true;
}

/** An age of a call, checked: `undefined` is the cache's. */
function ageOf(age) {
  if (age === undefined || age === null) return undefined;
  checkAge(age);
  return age;
}

/** What an option must be that is of a call alone. */
const CHECKS = {
  ttl: (value) => typeof value === 'function' || (ageOf(value), true),
  maxAge: (value) => typeof value === 'function' || (ageOf(value), true),
  tags: (value) => typeof value === 'function' || (checkTags(value), true),
  forceRefresh: (value) => typeof value === 'boolean' || 'true or false',
  signal: (value) =>
    (typeof value === 'object' &&
      typeof value.aborted === 'boolean' &&
      typeof value.addEventListener === 'function' &&
      typeof value.removeEventListener === 'function') ||
    'an AbortSignal',
  status: (value) => typeof value === 'object' || 'an object',
  context: () => true,
};

/** Tags of a call, checked, as a list. */
function checkTags(tags) {
  if (tags === undefined || tags === null) return undefined;
  const list = typeof tags === 'string' ? [tags] : tags;
  if (Array.isArray(list) && list.every((tag) => typeof tag === 'string')) {
    return tagList('fetch', list);
  }
  throw invalid(`tags must be a string or strings, got ${shown(tags)}`);
}

/**
 * The options of a call, those of the instance where the call has none.
 *
 * @param {object} defaults those of the instance, which are checked
 * @param {any} given
 * @returns {any}
 */
function settingsOf(defaults, given) {
  if (given === undefined || given === null) return defaults;
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw makeError([
      'TypeError',
      `fetch takes options as an object, got ${shown(given)}`,
      CODES.INVALID_ARG_TYPE,
    ]);
  }
  checkNames('fetch', given, CALL_OPTIONS);
  const settings = { ...defaults };
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (value === undefined || value === null) continue;
    if (Object.hasOwn(CHECKS, name)) {
      const needs = CHECKS[name](value);
      if (needs !== true) throw invalid(`${name} must be ${needs}, got ${shown(value)}`);
    } else {
      const error = checkFetchOption(name, value);
      if (error) throw error;
    }
    settings[name] = value;
  }
  checkOneAge(settings.maxAge, settings.ttl);
  return settings;
}

module.exports = { ageOf, checkTags, hasKnownNames, settingsOf };
