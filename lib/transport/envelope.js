'use strict';

/**
 * The form of messages between a worker and the primary. `src/wire/mod.rs` is the other side of keys and values; the
 * table at its head describes the kinds.
 *
 * A message is an array that begins with `SOURCE`. An array without names is read and written faster than an object.
 *
 * | message                            | direction         |                                                     |
 * | ---------------------------------- | ----------------- | --------------------------------------------------- |
 * | `[SOURCE, hello]`                  | both              | this copy of the package is there                   |
 * | `[SOURCE, from, batch, timeout]`   | worker to primary | requests, one a line; `timeout` is how many         |
 * |                                    |                   | milliseconds the batch may wait for a locked segment |
 * | `[SOURCE, to, reply]`              | primary to worker | answers; `to` is the `from` of the batch            |
 *
 * A worker says hello once, and sends batches only after the primary has said hello. The primary answers each hello,
 * and says hello to every worker when it loads the package. So nothing is lost on a primary that does not listen yet.
 */

const v8 = require('v8');
const { CODES, makeError } = require('../errors');
const { KIND } = require('../kinds');
const { numberJson } = require('../options');

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

/** Text of a key. `undefined` travels as `null`, as in JSON: in a worker they are one key. */
function encodeKey(key) {
  switch (typeof key) {
    case 'string':
      return JSON.stringify(key);
    case 'number':
      return numberJson(key);
    case 'boolean':
      return String(key);
    case 'bigint':
      return `{"i":"${key}"}`;
    case 'undefined':
      return 'null';
    default:
      if (key === null) return 'null';
      throw makeError([
        'TypeError',
        'a key must be a string, number, bigint, boolean, null or undefined, ' +
          `got ${typeof key === 'object' ? 'an' : 'a'} ${typeof key}`,
        CODES.INVALID_ARG_TYPE,
      ]);
  }
}

/** Text of a list of keys; an empty one for what is no array. */
function encodeKeys(keys) {
  return Array.isArray(keys) ? `[${Array.from(keys, encodeKey).join(',')}]` : '[]';
}

/** A key as the primary wrote it. */
function decodeKey(key) {
  if (key === null || typeof key !== 'object') return key;
  if ('n' in key) return Number(key.n);
  return 'i' in key ? BigInt(key.i) : undefined;
}

/** What stands for a value that JSON has no form for (a function, a symbol) among arguments: null. */
const NULL = `${KIND.JSON},null`;

/** `undefined` */
const UNDEFINED = `${KIND.UNDEFINED},0`;

/** What stands for it in an answer: nothing, as for a miss. */
const NOTHING = `${KIND.MISS},0`;

/**
 * Text of a value: two elements, kind and payload.
 *
 * @param {boolean} advanced whether objects travel as structured clones rather than as JSON
 * @param {string} [formless] what stands for a value that JSON has no form for
 */
function encodeValue(value, advanced, formless = NULL) {
  switch (typeof value) {
    case 'undefined':
      return UNDEFINED;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
        ? `${KIND.JSON},${value}`
        : `${KIND.NUMBER},"${Object.is(value, -0) ? '-0' : value}"`;
    case 'string':
      return `${KIND.JSON},${JSON.stringify(value)}`;
    case 'boolean':
      return `${KIND.JSON},${value}`;
    default:
      if (value === null) return NULL;
      if (advanced) return `${KIND.CLONE},"${v8.serialize(value).toString('base64')}"`;
      return encodeJson(JSON.stringify(value), formless);
  }
}

function encodeJson(json, formless) {
  return json === undefined ? formless : `${KIND.JSON},${json}`;
}

/** A value as the primary wrote it; `undefined` for a miss. */
function decodeValue(kind, payload) {
  switch (kind) {
    case KIND.JSON:
      return payload;
    case KIND.NUMBER:
      return Number(payload);
    case KIND.CLONE:
      return v8.deserialize(Buffer.from(payload, 'base64'));
    default:
      return undefined;
  }
}

module.exports = {
  MESSAGE_LENGTH,
  NOTHING,
  REPLY_LENGTH,
  SOURCE,
  decodeKey,
  decodeValue,
  encodeKey,
  encodeKeys,
  encodeValue,
  isHello,
  isOurs,
};
