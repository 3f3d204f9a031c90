'use strict';

/**
 * What a value is, or what stands in its place: in messages, in results of the addon, in rows of shared memory. The
 * list is `kinds!` in `src/value.rs`, which says what each means; `__test__/lists.test.js` compares the two.
 */
const KIND = Object.freeze({
  JSON: 0,
  UNDEFINED: 1,
  NUMBER: 2,
  CLONE: 3,
  ERROR: 4,
  MISS: 5,
  OWN: 6,
  STRING: 7,
  NULL: 8,
  FALSE: 9,
  TRUE: 10,
  SLOT: 11,
  PLAIN: 12,
  LIST: 13,
  JOINED: 14,
  SPLIT: 15,
  KEY: 16,
  TIME: 17,
});

module.exports = { KIND };
