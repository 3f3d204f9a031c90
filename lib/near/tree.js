'use strict';

/**
 * Copies of decoded JSON values. A copy is what `JSON.parse` of the same text gives: prototypes, order of keys, an own
 * key `__proto__`, kinds of arrays. Copying is faster than parsing because V8 copies the fields of one object at once.
 */

/** Objects deeper than this are not prepared: `copy` recurses, `JSON.parse` does not. */
const DEEPEST = 64;

/** Objects with more keys are not prepared: V8 makes dictionaries of them, which it copies slower than it parses. */
const WIDEST = 64;

/** A key that V8 keeps as an index. Such keys come first, in rising order. */
const INDEX = /^(?:0|[1-9]\d{0,9})$/;

/** Whether V8 makes a table of hashes of an object's indices, which it copies ten times slower than it parses. */
function isSparse(keys) {
  let count = 0;
  while (count < keys.length && INDEX.test(keys[count])) count += 1;
  return count > 0 && Number(keys[count - 1]) > count * 2 + 8;
}

/**
 * V8 remembers up to four shapes of objects for each place in the code that copies one; from the fifth on a copy there
 * takes five times as long. So there are several such places, and each shape has its own.
 *
 * @type {((flat: object) => object)[]}
 */
const PLACES = [
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
  (flat) => ({ ...flat }),
];

/** How many shapes have a place of their own; later ones share the place of the first. */
const SHAPES = PLACES.length * 4;

/** By the keys of a shape: its place. @type {Map<string, (flat: object) => object>} */
const places = new Map();

/** The place that copies objects with these keys. @param {string[]} keys */
function placeOf(keys) {
  const shape = keys.join('\0');
  let place = places.get(shape);
  if (place === undefined) {
    if (places.size >= SHAPES || shape.length > 1024) return PLACES[0];
    place = PLACES[places.size % PLACES.length];
    places.set(shape, place);
  }
  return place;
}

/** One object or array of a decoded value, ready to be copied. */
class Tree {
  /**
   * @param {any} flat the object itself, which nobody changes
   * @param {((flat: object) => object) | undefined} place copies it; `undefined` for an array
   * @param {any[]} keys the keys, or indices, of the objects in it
   * @param {Tree[]} children these objects, in the same order
   */
  constructor(flat, place, keys, children) {
    this.flat = flat;
    this.place = place;
    this.keys = keys;
    this.children = children;
  }
}

/** What most objects have for `keys` and `children`. @type {any[]} */
const NONE = [];

/**
 * Prepares an object for `copy`, which keeps it: nobody may change the object from now on.
 *
 * @param {any} value an object or array as `JSON.parse` gives it
 * @returns {Tree | undefined} `undefined` where parsing is better than copying
 */
function prepare(value, depth = 1) {
  if (depth > DEEPEST) return undefined;
  const isArray = Array.isArray(value);
  const names = isArray ? NONE : Object.keys(value);
  if (names.length > WIDEST || isSparse(names)) return undefined;
  const length = isArray ? value.length : names.length;
  let keys = NONE;
  let children = NONE;
  for (let index = 0; index < length; index += 1) {
    const key = isArray ? index : names[index];
    const child = value[key];
    if (typeof child !== 'object' || child === null) continue;
    const tree = prepare(child, depth + 1);
    if (tree === undefined) return undefined;
    if (children === NONE) {
      keys = [key];
      children = [tree];
    } else {
      keys.push(key);
      children.push(tree);
    }
  }
  if (children.length > 1) {
    // `push` leaves room for more.
    keys = keys.slice();
    children = children.slice();
  }
  return new Tree(value, isArray ? undefined : placeOf(names), keys, children);
}

/**
 * A copy of what was prepared.
 *
 * @param {Tree} tree
 */
function copy(tree) {
  const { flat, place, keys, children } = tree;
  if (place === undefined) {
    const array = flat.slice();
    for (let index = 0; index < children.length; index += 1) {
      array[keys[index]] = copy(children[index]);
    }
    return array;
  }
  const object = place(flat);
  // The keys are own properties already, `__proto__` too: no setter is called.
  for (let index = 0; index < children.length; index += 1) {
    object[keys[index]] = copy(children[index]);
  }
  return object;
}

/** Estimated bytes of an object or array with what `prepare` makes for it, of an item in it, of a string's head. */
const OBJECT_BYTES = 160;
const ITEM_BYTES = 12;
const STRING_BYTES = 24;

/**
 * Estimated bytes of a decoded value, prepared or frozen: 160 for each object and array, 12 for each item in it, and 24
 * and its length for each string.
 *
 * @param {any} value
 */
function sizeOf(value) {
  let bytes = 0;
  const open = [value];
  while (open.length > 0) {
    const object = open.pop();
    const keys = Array.isArray(object) ? object : Object.keys(object);
    bytes += OBJECT_BYTES + keys.length * ITEM_BYTES;
    for (let index = 0; index < keys.length; index += 1) {
      const child = keys === object ? object[index] : object[keys[index]];
      if (typeof child === 'string') bytes += STRING_BYTES + child.length;
      else if (typeof child === 'object' && child !== null) open.push(child);
    }
  }
  return bytes;
}

module.exports = { prepare, copy, sizeOf };
