'use strict';

/** Every code that an error of this package has: those of `Code` in `src/error.rs`, and those of JavaScript alone. */
const CODES = Object.freeze({
  INVALID_ARG_TYPE: 'ERR_INVALID_ARG_TYPE',
  INVALID_ARG_VALUE: 'ERR_INVALID_ARG_VALUE',
  OUT_OF_RANGE: 'ERR_OUT_OF_RANGE',
  OUT_OF_MEMORY: 'ERR_OUT_OF_MEMORY',
  /** A text that no `scan` gave as its cursor. */
  CURSOR: 'ERR_CURSOR',
  BAD_REQUEST: 'ERR_BAD_REQUEST',
  UNKNOWN_COMMAND: 'ERR_UNKNOWN_COMMAND',
  NO_NAMESPACE: 'ERR_NO_NAMESPACE',
  SCHEDULE: 'ERR_SCHEDULE',
  /** Another process has the lock of the segment: try again. */
  BUSY: 'ERR_STORE_BUSY',
  /** The value is kept by reference, in the process that stored it. */
  ELSEWHERE: 'ERR_STORE_ELSEWHERE',
  /** A primary has moved the segment. */
  MOVED: 'ERR_STORE_MOVED',
  /** The namespace was destroyed. */
  GONE: 'ERR_STORE_GONE',
  HELD: 'ERR_STORE_HELD',
  NO_SHARED_MEMORY: 'ERR_STORE_MEMORY',
  UNAVAILABLE: 'ERR_STORE_UNAVAILABLE',
  ATTACH: 'ERR_STORE_ATTACH',
  SIBLINGS: 'ERR_STORE_PEERS',
  /** A call got no answer in time, or another process kept the lock in the middle of it. */
  TIMED_OUT: 'ETIMEDOUT',
  /** JavaScript alone: `getCache` and `getAllCaches` are there in the primary only. */
  NOT_PRIMARY: 'ERR_NOT_PRIMARY',
  /** JavaScript alone: `update` was overtaken by other changes each time. */
  CONFLICT: 'ERR_CONFLICT',
  /** JavaScript alone: the instance was closed. */
  CLOSED: 'ERR_CLOSED',
  /** JavaScript alone: the remote server cannot be asked. */
  REMOTE: 'ERR_REMOTE',
});

/**
 * Failures that pass by themselves: another process has the lock, or there is a lack of file descriptors or of memory.
 * Every other failure to find, make or attach a segment is final.
 */
const PASSING = Object.freeze([CODES.BUSY, CODES.UNAVAILABLE, CODES.OUT_OF_MEMORY]);

/** Whether a failure with this code passes by itself. */
const passes = (code) => PASSING.includes(code);

/** Whether an error with this code concerns the segment, not the call. */
const concernsSegment = (code) => code.startsWith('ERR_STORE');

const CLASSES = { Error, TypeError, RangeError };

/**
 * An error of this context from what Rust or the primary said of it. (An error made by the addon would
 * belong to the context that loaded it, and be no `Error` in another, as under jest.)
 *
 * @param {[name: string, message: string, code?: string]} data
 */
function makeError([name, message, code]) {
  const Class = Object.hasOwn(CLASSES, name) ? CLASSES[name] : Error;
  const error = new Class(message);
  if (name !== Class.name) error.name = name;
  if (code) error.code = code;
  return error;
}

/** The error of `execute` with a name that is no command. */
function unknownCommand(name) {
  return makeError([
    'Error',
    `LRUCache.${String(name)}() is not a valid function`,
    CODES.UNKNOWN_COMMAND,
  ]);
}

/** The `unanswered` of commands that reject without an answer, whatever `failsafe` says. */
const REJECTS = 'reject';

/** The error of a call that got no answer in time. Its text is that of 1.x. */
function timedOut(namespace, command) {
  const error = makeError(['Error', 'Timed out in isFailed()', CODES.TIMED_OUT]);
  error.namespace = namespace;
  error.command = command;
  return error;
}

/**
 * Ends a call that got no answer in time, as `failsafe` of its instance and `unanswered` of the command say. `args` is the first
 * argument.
 */
function failSafe({ failsafe, namespace }, command, { resolve, reject }, args) {
  const { unanswered } = command;
  const answer = typeof unanswered === 'function' ? unanswered(args) : unanswered;
  if (failsafe !== 'reject' && answer !== REJECTS) {
    resolve(answer);
    return;
  }
  reject(timedOut(namespace, command.name));
}

module.exports = {
  CODES,
  REJECTS,
  concernsSegment,
  failSafe,
  makeError,
  passes,
  timedOut,
  unknownCommand,
};
