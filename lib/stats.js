'use strict';

/** The numbers of a cache that all processes share, in the order of `Stats::numbers` in `src/stats.rs`. */
const FIELDS = Object.freeze([
  'hits',
  'misses',
  'staleHits',
  'sets',
  'deletes',
  'evictions',
  'expirations',
  'entries',
  'size',
  'bytes',
  'maxSize',
  'recoveries',
  'droppedEntries',
  'processes',
]);

/**
 * The numbers by name.
 *
 * @param {ArrayLike<number | null>} numbers
 */
function statsOf(numbers) {
  // JSON has no form for a size without bound.
  return Object.fromEntries(FIELDS.map((field, index) => [field, numbers[index] ?? Infinity]));
}

module.exports = { FIELDS, statsOf };
