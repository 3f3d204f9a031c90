'use strict';

/**
 * Keys and values on the server. `docs/machines.md` documents both, for programs in other languages.
 *
 * A key: `<prefix>{<namespace>}:<what>:<type>:<text>`. In the namespace `%`, `{` and `}` are written `%25`, `%7B` and `%7D`. The
 * braces keep a namespace on one shard. What: `e` an entry, `p` the placeholder of a value that is being loaded, `t` a tag (which has no
 * type). `<prefix>o:{<namespace>}:<owner>` says that the owner of placeholders lives; it lies beside what is tracked.
 *
 * An entry, its numbers with the highest byte first:
 *
 * | bytes    |                                                                                                        |
 * | -------- | ------------------------------------------------------------------------------------------------------ |
 * | 0        | 1: this format                                                                                         |
 * | 1        | kind: `s` text as UTF-8, `w` text as UTF-16LE where it is not well-formed, `n` a number as text, `j` JSON, `c` a structured clone of V8, `u` undefined |
 * | 2        | 0: with an age; 1: without; 2: with an age without end                                                 |
 * | 3 to 9   | version                                                                                                |
 * | 10 to 17 | when it was set, in milliseconds since the epoch                                                       |
 * | 18 to 25 | its age in milliseconds                                                                                |
 * | 26 to 27 | how many tags                                                                                          |
 * | from 28  | the tags: 16 bytes that the tag had when the entry was set, the length of the name (2 bytes), the name |
 * | rest     | the value                                                                                              |
 */

const { randomBytes } = require('crypto');
const v8 = require('v8');
const { CODES, makeError } = require('../errors');

const FORMAT = 1;
const HEAD = 28;
const TAG_HEAD = 18;

const AGED = 0;
const AGELESS = 1;
const ENDLESS = 2;

/** The longest age on the server, in milliseconds: ten years. */
const LONGEST_AGE = 315_360_000_000;

const isWellFormed = (text) => !/\p{Surrogate}/u.test(text);

/** Type and text of a key. `undefined` is the key `null`, as in a worker, and -0 is 0. */
function keyText(key) {
  switch (typeof key) {
    case 'string':
      return isWellFormed(key) ? `s:${key}` : `w:${Buffer.from(key, 'utf16le').toString('hex')}`;
    case 'number':
      return `n:${key}`;
    case 'bigint':
      return `i:${key}`;
    case 'boolean':
      return `b:${key}`;
    default:
      if (key === undefined || key === null) return 'z:';
      throw makeError([
        'TypeError',
        `with remote a key must be a string, number, bigint, boolean, null or undefined, got ${typeof key}`,
        CODES.INVALID_ARG_TYPE,
      ]);
  }
}

/** The key of a text that `keyText` gave. */
function keyOf(text) {
  const rest = text.slice(2);
  switch (text[0]) {
    case 's':
      return rest;
    case 'w':
      return Buffer.from(rest, 'hex').toString('utf16le');
    case 'n':
      return Number(rest);
    case 'i':
      return BigInt(rest);
    case 'b':
      return rest === 'true';
    default:
      return null;
  }
}

const ESCAPED = { '%': '%25', '{': '%7B', '}': '%7D' };

/** The names of a namespace on the server. */
class Names {
  /** @param {string} prefix @param {string} namespace */
  constructor(prefix, namespace) {
    const name = `{${namespace.replace(/[%{}]/g, (sign) => ESCAPED[sign])}}:`;
    this.all = `${prefix}${name}`;
    this.entries = `${this.all}e:`;
    this.placeholders = `${this.all}p:`;
    this.tags = `${this.all}t:`;
    this.owners = `${prefix}o:${name}`;
  }

  entry(key) {
    return this.entries + keyText(key);
  }

  placeholder(key) {
    return this.placeholders + keyText(key);
  }

  /** Entries and their placeholders, in turn. `texts`: of keys, as `keyText` gives them. */
  pairs(texts) {
    return texts.flatMap((text) => [this.entries + text, this.placeholders + text]);
  }

  tag(name) {
    return this.tags + tagText(name);
  }
}

/** A tag as it stands on the server: without a zero byte, which ends a tag among the arguments of a script. */
const tagText = (name) => name.replace(/[%\0]/g, (sign) => (sign === '%' ? '%25' : '%00'));

/** The tag of a text that `tagText` gave. */
const tagOf = (text) => text.replace(/%(25|00)/g, (escaped) => (escaped === '%25' ? '%' : '\0'));

/** What is tracked of a prefix: all but the owners. */
const trackedOf = (prefix) => `${prefix}{`;

/**
 * What a key on the server is. `undefined`: nothing of this package.
 *
 * @param {string} prefix
 * @param {string} name
 * @returns {{ namespace: string, what: string, text: string } | undefined}
 */
function parseName(prefix, name) {
  if (!name.startsWith(prefix) || name[prefix.length] !== '{') return undefined;
  const end = name.indexOf('}:', prefix.length);
  if (end < 0 || name[end + 3] !== ':') return undefined;
  const namespace = name
    .slice(prefix.length + 1, end)
    .replace(/%(25|7B|7D)/g, (escaped) => String.fromCharCode(parseInt(escaped.slice(1), 16)));
  const what = name[end + 2];
  const text = name.slice(end + 4);
  // Others may write below the prefix, too.
  if (what === 'e' && text.startsWith('i:') && !/^i:-?\d+$/.test(text)) return undefined;
  return { namespace, what, text };
}

const isObject = (value) => typeof value === 'object' && value !== null;

/** The kind and the bytes of a value. */
function encodeValue(value, how) {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? ['s', Buffer.from(value)] : ['w', Buffer.from(value, 'utf16le')];
    case 'number':
      return ['n', Buffer.from(numberText(value))];
    case 'undefined':
      return ['u', Buffer.alloc(0)];
    default:
      if (how === 'advanced' && (typeof value === 'bigint' || isObject(value))) {
        return ['c', v8.serialize(value)];
      }
      // As in a worker: what JSON has no form for is null.
      return ['j', Buffer.from(JSON.stringify(value) ?? 'null')];
  }
}

const numberText = (number) => (Object.is(number, -0) ? '-0' : String(number));

function decodeValue(kind, bytes) {
  switch (kind) {
    case 's':
      return bytes.toString();
    case 'w':
      return bytes.toString('utf16le');
    case 'n':
      return Number(bytes.toString());
    case 'j':
      return JSON.parse(bytes.toString());
    case 'c':
      return v8.deserialize(bytes);
    case 'u':
      return undefined;
    default:
      throw new Error(`unknown kind ${kind}`);
  }
}

/** A version: a number of 53 bits by chance, and not 0. Chance never gives two writes of a key the same. */
function newVersion() {
  const bytes = randomBytes(7);
  bytes[0] &= 0x1f;
  bytes[6] |= 1;
  return bytes;
}

const versionOf = (bytes) => bytes.readUIntBE(0, 1) * 2 ** 48 + bytes.readUIntBE(1, 6);

/** The bytes of a version that `getEntry` gave; no bytes for what is none. */
function versionBytes(version) {
  if (!Number.isSafeInteger(version) || version <= 0) return Buffer.alloc(0);
  const bytes = Buffer.alloc(7);
  bytes.writeUIntBE(Math.floor(version / 2 ** 48), 0, 1);
  bytes.writeUIntBE(version % 2 ** 48, 1, 6);
  return bytes;
}

function writeUint64(bytes, number, at) {
  bytes.writeUInt32BE(Math.floor(number / 2 ** 32), at);
  bytes.writeUInt32BE(number % 2 ** 32, at + 4);
}

const readUint64 = (bytes, at) => bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);

/**
 * The age of an entry: how it stands in the head, and how long the server keeps it.
 *
 * @param {number | undefined} maxAge `undefined`: none
 * @param {number} ttl how long the server keeps what has no age
 */
function ageOf(maxAge, ttl) {
  if (maxAge === undefined) return { mark: AGELESS, age: 0, px: ttl };
  if (maxAge === Infinity) return { mark: ENDLESS, age: 0, px: ttl };
  // An age that is over at once is over in a millisecond.
  const px = Math.min(Math.max(Math.ceil(maxAge), 1), LONGEST_AGE);
  return { mark: AGED, age: px, px };
}

/** The head of an entry, without tags: scripts add those. */
function encodeHead(kind, { mark, age }) {
  const head = Buffer.alloc(HEAD);
  head[0] = FORMAT;
  head[1] = kind.charCodeAt(0);
  head[2] = mark;
  newVersion().copy(head, 3);
  writeUint64(head, Date.now(), 10);
  writeUint64(head, age, 18);
  return head;
}

/**
 * Reads an entry. `undefined` where it is none, or of a format that this version does not know, as for scripts. A value that cannot
 * be read is `undefined`, and the entry is there: scripts do not read values.
 *
 * @param {Buffer | null} bytes
 */
function decodeEntry(bytes) {
  if (!Buffer.isBuffer(bytes) || bytes.length < HEAD || bytes[0] !== FORMAT) return undefined;
  let at = HEAD;
  const tags = [];
  for (let left = bytes.readUInt16BE(26); left > 0; left -= 1) {
    if (bytes.length < at + TAG_HEAD) return undefined;
    const end = at + TAG_HEAD + bytes.readUInt16BE(at + 16);
    if (bytes.length < end) return undefined;
    const name = tagOf(bytes.toString('utf8', at + TAG_HEAD, end));
    tags.push({ stamp: bytes.subarray(at, at + 16), name });
    at = end;
  }
  let value;
  let isReadable = true;
  try {
    value = decodeValue(String.fromCharCode(bytes[1]), bytes.subarray(at));
  } catch {
    // Of a kind of a newer version, or a clone of a newer V8.
    isReadable = false;
  }
  return {
    value,
    isReadable,
    isEndless: bytes[2] !== AGED,
    version: versionOf(bytes.subarray(3, 10)),
    setAt: readUint64(bytes, 10),
    tags,
  };
}

module.exports = {
  LONGEST_AGE,
  Names,
  ageOf,
  decodeEntry,
  encodeHead,
  encodeValue,
  keyOf,
  keyText,
  numberText,
  parseName,
  tagOf,
  tagText,
  trackedOf,
  versionBytes,
};
