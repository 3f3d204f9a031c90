'use strict';

/**
 * What both sides of IPC agree on, besides the batches themselves (`src/wire/`).
 *
 * A message is an array that begins with `SOURCE`: `[SOURCE, hello]`, `[SOURCE, from, batch, timeout]` (worker to
 * primary; `timeout` is how many milliseconds the batch may wait for a store that another worker has locked) or
 * `[SOURCE, to, reply]` (primary to worker; `to` is the batch's `from`). An array without names is read and written
 * faster than an object. A worker says hello once and sends batches only when the primary has said hello too, which it
 * does in answer and, to every worker there is, when it loads the package: so
 * nothing is lost on a primary that does not listen yet.
 */

/** Tells our messages from those of anything else, the original package's included. */
const SOURCE = 'lru-cache-for-clusters-as-promised/3';

/** A message grows no further than this many characters, save by one request or answer that is larger. */
const MESSAGE_LENGTH = 1 << 20;

/** The longest reply to one batch, in characters; as in `src/wire/reply.rs`. */
const REPLY_LENGTH = 1 << 28;

/** Whether a message is one of ours. Its elements may be anything. */
function isOurs(message) {
  return Array.isArray(message) && message[0] === SOURCE;
}

/** Whether a message of ours is a hello. */
function isHello(message) {
  return message.length === 2;
}

module.exports = { SOURCE, MESSAGE_LENGTH, REPLY_LENGTH, isHello, isOurs };
