'use strict';

/**
 * Errors of loaders as text, which other processes make an error of again: name, message, code and cause. Classes of the
 * platform stay what they are; an error of any other class becomes one of the nearest of these, with its own name.
 */

// Kept, because test suites replace globals.
const { DOMException } = globalThis;

/** A cause within a cause, and so on, no further than this. */
const DEEPEST_CAUSE = 8;
/** The most errors of an `AggregateError` that are written. */
const MOST_ERRORS = 32;

/** Classes that take a message first; those that others are made of come last. */
const CLASSES = {
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
  Error,
};

/** What an error is written as, by what it is an instance of. */
function classOf(error) {
  if (DOMException !== undefined && error instanceof DOMException) return 'DOMException';
  if (error instanceof AggregateError) return 'AggregateError';
  const found = Object.keys(CLASSES).find((name) => error instanceof CLASSES[name]);
  if (found !== undefined) return found;
  // An error of another context, as under jest, has the name of its class.
  const isError = Object.prototype.toString.call(error) === '[object Error]';
  if (!isError) return undefined;
  return Object.hasOwn(CLASSES, String(error.name)) ? String(error.name) : 'Error';
}

/** What JSON makes of a value that was thrown and is no error; `undefined` where JSON has no form for it. */
function plain(value) {
  try {
    return JSON.parse(JSON.stringify(value));
  } catch {
    return undefined;
  }
}

/** A record of what was thrown, which JSON can write. */
function recordOf(thrown, depth) {
  const type = typeof thrown === 'object' && thrown !== null ? classOf(thrown) : undefined;
  if (type === undefined) return { value: plain(thrown) };
  const { name, message, code, cause, errors } = thrown;
  const record = { type, name: String(name), message: String(message) };
  // The code of a DOMException follows from its name.
  if ((typeof code === 'string' || typeof code === 'number') && type !== 'DOMException') {
    record.code = code;
  }
  if (depth >= DEEPEST_CAUSE) return record;
  if (cause !== undefined) record.cause = recordOf(cause, depth + 1);
  if (type === 'AggregateError' && Array.isArray(errors)) {
    record.errors = errors.slice(0, MOST_ERRORS).map((one) => recordOf(one, depth + 1));
  }
  return record;
}

/** What a record is an error of. The record may be anything: it came from another process. */
function thrownOf(record, depth) {
  if (typeof record !== 'object' || record === null) return new Error('a loader failed');
  const { type, name, message, code, cause, errors } = record;
  if (type === undefined) return record.value;
  const text = String(message);
  if (type === 'DOMException' && DOMException !== undefined) {
    const exception = new DOMException(text, String(name));
    if (cause !== undefined && depth < DEEPEST_CAUSE)
      define(exception, 'cause', thrownOf(cause, depth + 1));
    return exception;
  }
  const error =
    type === 'AggregateError'
      ? new AggregateError(
          (Array.isArray(errors) ? errors : []).map((one) => thrownOf(one, depth + 1)),
          text,
        )
      : new (Object.hasOwn(CLASSES, type) ? CLASSES[type] : Error)(text);
  if (typeof name === 'string' && name !== error.name) define(error, 'name', name);
  if (typeof code === 'string' || typeof code === 'number') /** @type {any} */ (error).code = code;
  if (cause !== undefined && depth < DEEPEST_CAUSE)
    define(error, 'cause', thrownOf(cause, depth + 1));
  return error;
}

/** Sets a property as the constructor of an error does: it is not enumerable. */
function define(error, name, value) {
  Object.defineProperty(error, name, { value, configurable: true, writable: true });
}

/** The text of what a loader threw. */
function encodeError(thrown) {
  try {
    return JSON.stringify(recordOf(thrown, 0));
  } catch {
    // A getter of the user threw.
    return JSON.stringify({ type: 'Error', name: 'Error', message: 'a loader failed' });
  }
}

/** What `encodeError` made a text of, as an error of this process. */
function decodeError(text) {
  try {
    return thrownOf(JSON.parse(text), 0);
  } catch {
    return new Error('a loader failed');
  }
}

module.exports = { decodeError, encodeError };
