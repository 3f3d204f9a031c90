'use strict';

/**
 * Values that lie in Rust as bytes: how a value is copied into a cache (`encode`), and how a copy becomes a value again
 * (`decode`). Objects are copied as JSON, or as structured clones where `how` is `advanced`.
 */

const v8 = require('v8');
const { IS } = require('./value-table');

/** Marks a miss in `places`, and a value that is the next one of the joined JSON. */
const MISS = -1 - IS.MISS;
const JOINED = -1 - IS.JOINED;

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

/** The kind and the payload of a copy; `undefined` for a value that JSON has no form for. */
function encode(value, how) {
  if (!isReference(value) || typeof value === 'string') return [IS.VALUE, value];
  if (how === 'advanced') return [IS.CLONE, v8.serialize(value)];
  const json = JSON.stringify(value);
  if (json === undefined) return undefined;
  // A Date is a string and a boxed number a number: as such they are stored.
  return json[0] === '{' || json[0] === '[' ? [IS.JSON, json] : [IS.VALUE, JSON.parse(json)];
}

/** The value of a copy. */
function decode(outcome, payload) {
  if (outcome === IS.JSON) return JSON.parse(payload);
  return outcome === IS.CLONE ? v8.deserialize(payload) : payload;
}

/** As `decode`, for a list: a value that cannot be read (a damaged clone) is `undefined`, and hides no other. */
function decodeListed(place, payload) {
  try {
    return decode(-1 - place, payload);
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
  #joined;
  #next = 0;
  #nextJoined = 0;

  /** `count` values lie in one JSON text, the last payload. Where it is damaged, `readAgain` reads the value at an index. */
  constructor(values, payloads, count, readAgain) {
    this.#values = values;
    this.#payloads = payloads;
    this.readAgain = readAgain;
    if (count === 0) return;
    try {
      const joined = JSON.parse(payloads[payloads.length - 1]);
      if (joined.length === count) this.#joined = joined;
    } catch {
      // Each value is read on its own.
    }
  }

  /** `place` is a slot of the table, or says below 0 what the value is. */
  read(place, index) {
    if (place >= 0) return this.#values[place];
    if (place !== JOINED) return decodeListed(place, this.#payloads[this.#next++]);
    if (this.#joined !== undefined) return this.#joined[this.#nextJoined++];
    try {
      return this.readAgain(index);
    } catch {
      return undefined;
    }
  }
}

module.exports = { ListReader, MISS, decode, encode, isReference, sharedKey };
