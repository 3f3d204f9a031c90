'use strict';

const { checkOptions } = require('./native');
const { makeError } = require('./errors');

/** Milliseconds that a worker's call waits for its answer. */
const DEFAULT_TIMEOUT = 100;

/** The longest that a timer can wait, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Milliseconds that a call of an instance waits, as its `timeout` says now. */
function timeoutOf(instance) {
  const timeout = Number(instance.timeout);
  return timeout > 0 ? timeout : DEFAULT_TIMEOUT;
}

/** The options that the store knows. What they may be is decided in `src/options.rs`. */
const STORE_OPTIONS = ['max', 'maxSize', 'maxEntrySize', 'maxAge', 'stale', 'prune'];

/** JSON of a number, those included that JSON cannot write. `src/options.rs` reads both. */
function numberJson(number) {
  if (Object.is(number, -0)) return '{"n":"-0"}';
  return Number.isFinite(number) ? String(number) : `{"n":"${number}"}`;
}

/** JSON of an option's value, whatever it is: Rust says what is wrong with it. */
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

/** JSON of the options that are given and that the store knows. */
function storeOptions(options) {
  const given = STORE_OPTIONS.filter(
    (name) => options[name] !== undefined && options[name] !== null,
  );
  const json = (name) => optionJson(name === 'stale' ? Boolean(options.stale) : options[name]);
  return `{${given.map((name) => `"${name}":${json(name)}`).join(',')}}`;
}

function invalid(message) {
  return makeError(['TypeError', message, 'ERR_INVALID_ARG_VALUE']);
}

/**
 * Options of the class, with their defaults. Options that are wrong leave an `error`; it is for the caller to
 * throw it or to reject with it.
 */
function readOptions(given) {
  const options = given ?? {};
  const read = {
    // Well-formed Unicode, as Rust keeps it: a lone surrogate becomes U+FFFD.
    namespace: Buffer.from(String(options.namespace || 'default')).toString(),
    timeout: options.timeout || DEFAULT_TIMEOUT,
    failsafe: options.failsafe === 'reject' ? 'reject' : 'resolve',
    parse: options.parse || JSON.parse,
    stringify: options.stringify || JSON.stringify,
    serialization: options.serialization,
    store: storeOptions(options),
    error: undefined,
  };
  const wrong = checkOptions(read.store);
  if (wrong) {
    read.error = makeError(wrong);
  } else if (!(Number(read.timeout) > 0)) {
    read.error = invalid(
      `timeout must be a number of milliseconds above 0, got ${optionJson(options.timeout)}`,
    );
  } else if (!['json', 'advanced', undefined, null].includes(read.serialization)) {
    read.error = invalid(
      `serialization must be 'json' or 'advanced', got ${optionJson(read.serialization)}`,
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
  DEFAULT_TIMEOUT,
  LONGEST_TIMER,
  timeoutOf,
  numberJson,
  optionJson,
  storeOptions,
  readOptions,
};
