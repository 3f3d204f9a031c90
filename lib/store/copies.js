'use strict';

/**
 * Values that lie in Rust as bytes: how a value is copied into a cache (`encode`), and how a copy becomes a value again
 * (`decode`). Objects are copied as JSON, or as structured clones where `how` is `advanced`.
 */

const v8 = require('v8');
const native = require('../native/loader');
const { makeError } = require('../errors');
const { KIND } = require('../kinds');
const { freeze } = require('../freeze');
const { STATE } = require('./value-table');

/**
 * A place is a number that Rust and JavaScript exchange for each value: the slot of a value that is kept by reference, or a
 * number below 0 that encodes the kind of the payload. This is the place of a kind.
 */
const placeOf = (kind) => -1 - kind;

/** Marks a miss in `places`, and a value that is the next one of the joined JSON. */
const MISS = placeOf(KIND.MISS);
const JOINED = placeOf(KIND.JOINED);

/** Whether the value of a place is an object that was made of JSON. */
const isJson = (place) => place === JOINED || place === placeOf(KIND.JSON);

/** Whether a cache without copies keeps a value by reference. Rust keeps the other values itself. */
function isReference(value) {
  switch (typeof value) {
    case 'number':
    case 'boolean':
    case 'undefined':
      return false;
    default:
      return value !== null;
  }
}

/** Whether a value is copied as JSON or as a structured clone. Rust copies the others itself. */
function isEncoded(value) {
  return typeof value !== 'string' && isReference(value);
}

/** The kind and the payload of a copy; `undefined` for a value that JSON has no form for. */
function encode(value, how) {
  if (!isEncoded(value)) return [KIND.PLAIN, value];
  if (how === 'advanced') return [KIND.CLONE, v8.serialize(value)];
  const json = JSON.stringify(value);
  if (json === undefined) return undefined;
  // A Date is a string and a boxed number a number: as such they are stored.
  return json[0] === '{' || json[0] === '[' ? [KIND.JSON, json] : [KIND.PLAIN, JSON.parse(json)];
}

/** The value of a copy; `frozen`: an object that was made of JSON is frozen. */
function decode(kind, payload, frozen) {
  if (kind === KIND.JSON) return frozen ? freeze(JSON.parse(payload)) : JSON.parse(payload);
  return kind === KIND.CLONE ? v8.deserialize(payload) : payload;
}

/** As `decode`, for a list: a value that cannot be read (a damaged clone) is `undefined`, and hides no other. */
function decodeListed(kind, payload, frozen) {
  try {
    return decode(kind, payload, frozen);
  } catch {
    return undefined;
  }
}

/** A key of a cache that keeps copies: `undefined` and `null` are one key there. */
const sharedKey = (key) => (key === undefined ? null : key);

/** Reads the values of a list in turn, as Rust gave them. */
class ListReader {
  #values;
  #payloads;
  #frozen;
  #joined;
  #next = 0;
  #nextJoined = 0;

  /** To be made after the call that gave the list, before any other call. */
  constructor(cache, table, payloads, frozen) {
    this.#values = table.values;
    this.#payloads = payloads;
    this.#frozen = frozen;
    const count = table.state[STATE.SLOT];
    if (count === 0) return;
    try {
      const joined = JSON.parse(payloads[payloads.length - 1]);
      if (joined.length === count) {
        this.#joined = frozen ? freeze(joined) : joined;
        return;
      }
    } catch {
      // Some of the JSON is damaged.
    }
    const apart = native.apart(cache);
    if (table.state[STATE.OUTCOME] === KIND.ERROR) throw makeError(apart);
    this.#payloads = apart;
  }

  /** The next value. `place` is a slot of the table, or `placeOf` a kind. */
  read(place) {
    if (place >= 0) return this.#values[place];
    if (place === MISS) return undefined;
    if (place !== JOINED) {
      return decodeListed(placeOf(place), this.#payloads[this.#next++], this.#frozen);
    }
    if (this.#joined !== undefined) return this.#joined[this.#nextJoined++];
    return decodeListed(KIND.JSON, this.#payloads[this.#next++], this.#frozen);
  }
}

module.exports = {
  ListReader,
  MISS,
  decode,
  encode,
  isEncoded,
  isJson,
  isReference,
  placeOf,
  sharedKey,
};
