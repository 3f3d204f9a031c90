'use strict';

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

/** What a call on a command fails with that the store does not have. */
function unknownCommand(name) {
  return makeError([
    'Error',
    `LRUCache.${String(name)}() is not a valid function`,
    'ERR_UNKNOWN_COMMAND',
  ]);
}

/** Ends a call that got no answer in time, as `failsafe` of its instance says; the error's text is that of 1.x. */
function failSafe({ failsafe, namespace }, command, { resolve, reject }) {
  if (failsafe !== 'reject') {
    resolve(undefined);
    return;
  }
  const error = makeError(['Error', 'Timed out in isFailed()', 'ETIMEDOUT']);
  error.namespace = namespace;
  error.command = command.name;
  reject(error);
}

module.exports = { failSafe, makeError, unknownCommand };
