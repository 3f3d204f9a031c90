'use strict';

/**
 * Keys and values on their way between a worker and the primary. The form is described at the head of
 * `src/wire/mod.rs`, which is the other side.
 */

const v8 = require('v8');
const { CODES, makeError } = require('./errors');
const { KIND } = require('./kinds');
const { numberJson } = require('./options');

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

module.exports = { KIND, NOTHING, encodeKey, encodeKeys, decodeKey, encodeValue, decodeValue };
